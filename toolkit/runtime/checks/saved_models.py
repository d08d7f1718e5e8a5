"""Which Keras saved the models in a zip, and whether the evaluator's can read them. Nothing of a
model is executed or imported."""

import re

from toolkit.runtime.checks.check import Check, Subject, failed, passed, skipped, warning
from toolkit.runtime.checks.outlines import read_outlines

REBUILD_HINT = (
    "Build the network in code in model.py and load a .weights.h5 file: weights load in every "
    "Keras 3. A network that cbtool trained: cbtool build --run DIR."
)


def check_saved_models(subject: Subject) -> Check:
    """Every saved model was written by a Keras that the evaluator's can read, of its own layers."""
    contract = subject.contract
    if not contract.keras:
        return skipped("keras", "the competition names no version of Keras")
    found: list[str] = []
    judged: list[Check] = []
    for name, outline in read_outlines(subject.path, frozenset(subject.names)).items():
        if outline.custom:
            layers = ", ".join(outline.custom)
            said = f"{name} has layers that Keras does not know by itself: {layers}"
            hint = "model.py must define them, and pass them as custom_objects."
            judged.append(warning("keras", said, hint))
        if outline.keras_version is None:
            continue
        found.append(f"{name} by Keras {outline.keras_version}")
        judged += _judge(subject, name, outline.keras_version)
    # The gravest of all, whichever model it is of.
    for status in ("failed", "warning", "ok"):
        for check in judged:
            if check.status == status:
                return check
    if not found:
        return passed("keras", "no saved model: nothing depends on the version of Keras")
    return passed("keras", f"{', '.join(found)}; the evaluator has {contract.keras}")


def _judge(subject: Subject, name: str, version: str) -> list[Check]:
    """What is to be told of a model that Keras `version` saved; nothing where that is no newer than
    what is known to load."""
    contract = subject.contract
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    said = f"{name} was saved by Keras {version}, the evaluator has {contract.keras}"
    if numbers[:1] < (3,):
        return [warning("keras", f"{said}: older files often do not load", REBUILD_HINT)]
    if numbers <= contract.newest_keras:
        return []
    # Simple models may load all the same: the evaluator's own environment knows.
    loaded = subject.outcome is not None and subject.outcome.stage in ("predict", "done")
    if subject.in_evaluator and loaded:
        return [passed("keras", f"{said}; it loads there all the same")]
    return [failed("keras", f"{said}, which cannot read it", REBUILD_HINT)]
