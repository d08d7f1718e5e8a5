"""What a zip did when it was run in the sandbox."""

import math

import numpy as np

from toolkit.runtime.checks.check import Check, Subject, failed, passed, skipped, warning
from toolkit.runtime.isolation import INSTALL_HINT
from toolkit.runtime.returns import find_fault

STAGES_BEFORE_PREDICT = (
    "process",
    "time",
    "memory",
    "output",
    "processes",
    "disk",
    "import",
    "load",
)  # stages before predict has returned
# What the check of each limit says where the submission kept to it.
WITHIN_LIMIT = {
    "time": "within the limit",
    "memory": "within the limit",
    "output": "within the limit",
}
IMAGE_COUNTS = (1, 7, 300)  # images in a call; fewer in the last where they are large
LEAST_IMAGES = 8  # in the last call
IMAGES_LIMIT = 200_000_000  # bytes of the last call's images as float32
# Share of labels that rounding may tip: products of other sizes add up in another order.
TIPPED_SHARE = 0.01
RETURNED = {
    "labels": "integers of shape (n,) within the classes",
    "one-hot": "one-hot labels of shape (n, classes)",
    "probabilities": "probabilities of shape (n, classes)",
    "logits": "logits of shape (n, classes)",
    "csv": "a CSV file of n labels within the classes",
}
RETURN_HINTS = {
    "labels": "Return labels, for example: probabilities.argmax(axis=1).",
    "one-hot": "Return one 1 a row, for example: np.eye(classes)[probabilities.argmax(axis=1)].",
    "probabilities": "Return what the softmax gives.",
    "logits": "Return the scores before the softmax, or the logarithms of probabilities.",
    "csv": "Write one row an image, with its number, from 0 on, and its label; return the path.",
}
RUN_HINT = (
    "In the folder of the unzipped files, run, with that environment's Python: python -c "
    "'import model; model.Model()'."
)


def count_images(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """How many images of `image_shape`, (height, width, channels), are shown in each call."""
    *few, most = IMAGE_COUNTS
    fitting = IMAGES_LIMIT // (4 * math.prod(image_shape))
    return (*few, max(LEAST_IMAGES, min(most, fitting)))


def check_isolation(subject: Subject) -> Check:
    """It ran where it can reach nothing of this machine."""
    if subject.outcome is None or subject.outcome.isolation is None:
        return skipped("isolation", "not run")
    isolation = subject.outcome.isolation
    if isolation.isolated:
        return passed("isolation", isolation.statement)
    return warning("isolation", isolation.statement, INSTALL_HINT)


def check_start(subject: Subject) -> Check:
    """The module imports and Model() works in a clean process whose folder is the unzipped zip."""
    outcome = subject.outcome
    if outcome is None:
        return skipped("start", "not run")
    if outcome.stage in ("process", "import", "load"):
        return failed("start", f"{outcome.stage} failed: {outcome.error}", RUN_HINT)
    if outcome.stage != "done":
        return passed("start", f"it started; then it was stopped: {outcome.error}")
    return passed(
        "start", f"import {outcome.import_seconds:.1f} s, Model() {outcome.load_seconds:.1f} s"
    )


def check_time(subject: Subject) -> Check:
    """It came to its end within the time limit."""
    return _check_not_stopped(
        subject, "time", "Look for an endless loop; measure the time with: cbtool time."
    )


def check_memory(subject: Subject) -> Check:
    """The system did not kill it because memory ran out."""
    return _check_not_stopped(subject, "memory", "Predict X in slices, not all at once.")


def check_output(subject: Subject) -> Check:
    """It wrote no more than a log can hold."""
    return _check_not_stopped(
        subject, "output", "Print less: predict(..., verbose=0), and nothing for each image."
    )


def _check_not_stopped(subject: Subject, reason: str, hint: str) -> Check:
    if subject.outcome is None:
        return skipped(reason, "not run")
    if subject.outcome.stage == reason:
        return failed(reason, subject.outcome.error or reason, hint)
    return passed(reason, WITHIN_LIMIT[reason])


def check_predict(subject: Subject) -> Check:
    """predict runs for each kind and number of images."""
    outcome = subject.outcome
    if outcome is None or outcome.stage in STAGES_BEFORE_PREDICT:
        return skipped("predict", "it did not come so far")
    sides = ", ".join(map(str, subject.image_shape))
    hint = f"Call predict yourself on uint8 images of shape (n, {sides})."
    if outcome.error:
        return failed("predict", outcome.error, hint)
    for name, call in outcome.calls.items():
        if call.error:
            return failed("predict", f"{_describe_images(name)}: {call.error}", hint)
    counts = map(str, count_images(subject.image_shape))
    return passed("predict", f"n = {', '.join(counts)} as uint8 and float32")


def check_returns(subject: Subject) -> Check:
    """predict returns what the competition asks for: see `Contract.returns`."""
    if subject.outcome is None or check_predict(subject).status != "ok":
        return skipped("returns", "predict returned nothing")
    hint = RETURN_HINTS[subject.contract.returns]
    for name, call in subject.outcome.calls.items():
        images, n = _describe_images(name), int(name.split("-")[1])
        if call.output is None:
            return failed(
                "returns", f"{images}: returned {call.kind}, not a numpy array of numbers", hint
            )
        fault = find_fault(call.output, subject.contract.returns, n, subject.class_count)
        if fault:
            return failed("returns", f"{images}: returned {fault}", hint)
    return passed("returns", RETURNED[subject.contract.returns])


def check_slices(subject: Subject) -> Check:
    """The labels of an image depend neither on its neighbours in the call nor on its number
    type."""
    if subject.outcome is None or check_returns(subject).status != "ok":
        return skipped("slices", "predict returned no labels")
    outputs = {name: subject.outcome.labels(name) for name in subject.outcome.calls}
    whole = outputs[f"uint8-{count_images(subject.image_shape)[-1]}"]
    differing = {
        name: int(np.count_nonzero(labels != whole[: len(labels)]))
        for name, labels in outputs.items()
    }
    worst = max(differing, key=lambda name: differing[name])
    found = (
        f"{worst}: {differing[worst]} labels differ from those of the same images in one call of "
        f"{len(whole)}"
    )
    if differing[worst] > TIPPED_SHARE * len(outputs[worst]):
        hint = (
            "Process each image independently, use batch norm in inference mode, and convert X to "
            "float32 first."
        )
        return failed("slices", found, hint)
    if differing[worst]:
        return warning(
            "slices",
            found,
            "Rounding can change a label when two classes are nearly equal; more than 1 % would be "
            "an error.",
        )
    return passed("slices", "the same labels in one call and in slices, as uint8 and as float32")


def check_network(subject: Subject) -> Check:
    """It opened no connection."""
    return _check_none(
        subject,
        "network",
        "connections",
        "it tried to connect",
        "Put the files that it downloads into the zip.",
    )


def check_writes(subject: Subject) -> Check:
    """It wrote no file outside of its folder and the temporary one."""
    return _check_none(
        subject,
        "writes",
        "writes",
        "it tried to write",
        "Write no files, or only in the folder of tempfile.",
    )


def check_processes(subject: Subject) -> Check:
    """It started no other process."""
    return _check_none(
        subject,
        "processes",
        "processes",
        "it tried to start another process",
        "Do the work in one process.",
    )


def _check_none(subject: Subject, name: str, what: str, deed: str, hint: str) -> Check:
    if subject.outcome is None:
        return skipped(name, "not run")
    found = getattr(subject.outcome, what)
    return failed(name, f"{deed}: {found[0]}", hint) if found else passed(name, "none noticed")


def _describe_images(name: str) -> str:
    kind, n = name.split("-")
    return f"{n} {kind} image{'s' if n != '1' else ''}"
