"""Uploads to the stand-in, as a user makes them."""

from tests.support.commands import in_process
from toolkit.core import files
from toolkit.export import zip_ledger

# A light submission that passes `validate`.
MODEL = (
    "import numpy as np\nclass Model:\n    def predict(self, X):\n        return np.zeros(len(X), "
    "int)\n"
)


def sent(zip_file, *arguments, competition=1):
    return in_process(
        "upload",
        "--evaluator",
        "none",
        zip_file,
        "--competition",
        competition,
        "--yes",
        "--runs",
        zip_file.parent / "runs",
        *arguments,
    )


def noted(zip_file):
    """Puts the zip into a ledger, as a build would."""
    folder = zip_file.parent / "runs"
    zip_ledger._write(
        folder,
        [
            zip_ledger.Entry(
                files.digest(zip_file), zip_file.name, "2026-01-01", ("run",), estimated_score=0.6
            )
        ],
    )
    return folder
