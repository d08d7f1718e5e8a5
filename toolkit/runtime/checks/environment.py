"""Where a zip is checked: in the competition's own environment, where there is one."""

import sys
from dataclasses import dataclass
from pathlib import Path

from toolkit.core import archives
from toolkit.core.archives import open_zip
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, end_sentence
from toolkit.core.progress import Progress, silent
from toolkit.export import manifest as manifests
from toolkit.export.interface import write_source
from toolkit.runtime import environments
from toolkit.runtime.checks.check import Check, failed, passed, skipped, warning


@dataclass(frozen=True)
class Place:
    """The interpreter that a zip is checked with. in_evaluator: whether it is the competition's.
    check: what to tell about that."""

    python: str
    in_evaluator: bool
    check: Check


def choose_place(
    path: Path,
    evaluator: str | None = None,
    python: str | None = None,
    contract: Contract = AN2DL2024,
    progress: Progress = silent,
) -> Place:
    """Where the zip at `path` is checked.

    evaluator: an environment's name, or that of this interpreter; python: an interpreter. Without
    either it is the environment that the competition names, which is installed on first use. Where
    that cannot be, the check says so: it fails, unless the zip's code is cbtool's own, which is
    tested there. Raises InputError for an evaluator that does not exist or cannot be installed.
    """
    own = contract.evaluator
    if python or evaluator == environments.NONE or not (evaluator or own):
        # As the user wants it, or the competition has no environment of its own.
        detail = f"run with {python or 'this Python'}, not in the competition's environment"
        return Place(python or sys.executable, False, skipped("environment", detail))
    if evaluator:
        found = environments.find_python(evaluator, progress)
        return Place(found, evaluator == own, passed("environment", f"run in that of {evaluator}"))
    assert own is not None
    try:
        found = environments.find_python(own, progress, contract.packages)
    except InputError as error:
        detail = end_sentence(f"not run in the competition's environment: {error.sentence}")
        if is_built_by_cbtool(path, contract):
            hint = "model.py is cbtool's own, which is tested there. To check it again: connect."
            return Place(sys.executable, False, warning("environment", detail, hint))
        hint = f"{error.hint} What loads here may not load there; --force accepts that."
        return Place(sys.executable, False, failed("environment", detail, hint))
    versions = f"TensorFlow {contract.tensorflow}"
    if contract.keras:
        versions += f", Keras {contract.keras}"
    return Place(found, True, passed("environment", f"run in that of {own}: {versions}"))


def is_built_by_cbtool(path: Path, contract: Contract = AN2DL2024) -> bool:
    """Whether all code in the zip at `path` is this version's own model.py for `contract`, beside a
    manifest and the weights files that it names.

    Code of anybody else needs a test of its own, whatever manifest lies beside it. Raises
    InputError when `path` is no zip.
    """
    manifest = manifests.read_zip_manifest(path)
    if manifest is None:
        return False
    weights = {network.weights.file for network in manifest.networks}
    source = write_source(contract)
    with open_zip(path) as archive:
        if set(archive.namelist()) != {"model.py", manifests.FILE, *weights}:
            return False
        if archive.getinfo("model.py").file_size != len(source):
            return False
        try:
            return archives.read_entry(path, archive, "model.py", len(source)) == source
        except InputError:
            return False
