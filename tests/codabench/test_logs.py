"""Which logs explain a failure."""

import pytest

from toolkit.codabench.logs import drop_noise, find_failure_logs

CRASH = "Traceback (most recent call last):\nValueError: no weights\n"
COMPLAINT = "There are no predictions: read what the ingestion wrote to its log.\n"
REASON = "There is no model.py at the top of the zip.\n"
NOISE = (
    "2026-01-01 10:00:00.1: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.\n"
    "I0000 00:00:1795 port.cc:153] oneDNN custom operations are on.\n"
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "/usr/lib/x.py:3: UserWarning: slow\n  warnings.warn(\n"
    "TensorFlow 2.17.0, float32: 3421 images in 204.1 s\n"
)
INGESTION, SCORING = "prediction_ingestion_stderr", "scoring_stderr"


@pytest.mark.parametrize(
    ("logs", "names"),
    [
        # The ingestion ended with a sentence, and the scoring complains of what it did not leave.
        ({SCORING: COMPLAINT, INGESTION: REASON}, [INGESTION, SCORING]),
        ({SCORING: CRASH, INGESTION: CRASH}, [INGESTION]),
        ({SCORING: CRASH, INGESTION: REASON}, [SCORING]),
        ({SCORING: COMPLAINT, INGESTION: CRASH}, [INGESTION]),
        # A sound ingestion writes to stderr, too.
        ({SCORING: "wrong key\n", INGESTION: NOISE}, [SCORING]),
        ({INGESTION: NOISE, "scoring_stdout": "y\n"}, ["scoring_stdout"]),
        ({"prediction_ingestion_stdout": "x", "scoring_stdout": "y"}, ["scoring_stdout"]),
        ({"scoring_stdout": " "}, []),
        ({}, []),
    ],
)
def test_the_step_that_failed_first_explains_the_failure(logs, names):
    assert find_failure_logs(logs) == names


def test_the_notices_of_libraries_can_be_left_out():
    assert drop_noise(NOISE).strip() == ""
    text = f"{NOISE}Fontconfig error: Cannot load default config file\nloaded\n\npredicted\n"
    assert drop_noise(text).lstrip() == "loaded\n\npredicted\n"
    assert drop_noise("a\n\nb") == "a\n\nb"
