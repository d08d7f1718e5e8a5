"""Whatever a file holds, its reader reads it or raises one of the project's own errors.

Hypothesis changes small valid files; tests/support/fuzz.py does so for as long as one likes.
"""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.readers import READERS, change
from toolkit.core.errors import CbtoolError

# In all about 15 seconds; derandomized, so that a failure is one for everybody.
SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FEW = settings(SETTINGS, max_examples=12)  # where each read starts a process
SECONDS = 5


@pytest.mark.parametrize("name", READERS)
def test_a_valid_file_is_read(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(READERS[name].make())
    READERS[name].read(path)


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused(name, tmp_path):
    reader = READERS[name]
    valid = reader.make()

    @(FEW if reader.starts_process else SETTINGS)
    @given(st.data())
    def read_changed(data):
        content = change(valid, lambda count: data.draw(st.integers(0, count - 1)))
        path = tmp_path / "file"
        path.write_bytes(content)
        started = time.monotonic()
        try:
            reader.read(path)
        except CbtoolError as error:
            assert "\n" not in error.sentence and len(error.sentence) < 2000
        assert time.monotonic() - started < SECONDS

    read_changed()
