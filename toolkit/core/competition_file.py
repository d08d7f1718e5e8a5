"""competition.toml: a competition described in one file, which every command follows."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from toolkit.core import documents
from toolkit.core.config import describe_error
from toolkit.core.contract import (
    AN2DL2024,
    NEED_PROBABILITIES,
    Contract,
    MetricName,
    Returns,
    Style,
)
from toolkit.core.errors import InputError
from toolkit.core.files import write_text

FILE = "competition.toml"
STRICT = ConfigDict(extra="forbid")
HINT = "Correct the key or the value; docs/competition.md lists all keys."
Side = Annotated[int, Field(ge=8, le=1024)]
Text = Annotated[str, Field(min_length=1, max_length=100)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){1,2}$", max_length=20)]
# A name and a version, and nothing that pip would take for an option, an address or a file.
Requirement = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9,-]+\])?(==[0-9][0-9A-Za-z.]*)?$")
]
Bytes = Annotated[int, Field(ge=1_000_000)]


@dataclass(frozen=True, config=STRICT)
class Images:
    """The images that predict is given. channels: 1 (grey), 3 (RGB) or 4 (RGBA). hidden: how many
    hidden images there are, if that is known."""

    height: Side
    width: Side
    channels: Annotated[int, Field(ge=1, le=4)] = 3
    hidden: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.channels == 2:
            raise ValueError("images have 1, 3 or 4 channels")


@dataclass(frozen=True, config=STRICT)
class Classes:
    """How many classes there are, and their names in the order of the labels."""

    count: Annotated[int, Field(ge=2, le=256)]
    names: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        if self.names and len(self.names) != self.count:
            raise ValueError(f"{self.count} classes need {self.count} names, not {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError("two classes have one name")


@dataclass(frozen=True, config=STRICT)
class Interface:
    """What model.py offers, and what predict returns."""

    style: Style = "class"
    class_name: Identifier = "Model"
    method: Identifier = "predict"
    returns: Returns = "labels"
    csv_columns: tuple[Text, Text] = AN2DL2024.csv_columns

    def __post_init__(self) -> None:
        if self.csv_columns[0] == self.csv_columns[1]:
            raise ValueError("the two columns of a CSV file need two names")


@dataclass(frozen=True, config=STRICT)
class Environment:
    """The versions that the evaluator runs submissions with; none where nobody knows them."""

    tensorflow: Version | None = None
    keras: Version | None = None
    packages: tuple[Requirement, ...] = ()

    def __post_init__(self) -> None:
        if self.packages and not self.tensorflow:
            raise ValueError("an environment needs its version of tensorflow")


@dataclass(frozen=True, config=STRICT)
class Limits:
    """Seconds for all hidden images; bytes of the zip, and of memory."""

    seconds: Annotated[float, Field(ge=1)] = AN2DL2024.time_limit
    zip_bytes: Bytes | None = None
    memory_bytes: Bytes | None = None


@dataclass(frozen=True, config=STRICT)
class CodaBench:
    """Where the competition is."""

    server: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=200)] | None = None
    competition: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, config=STRICT)
class Description:
    """The whole file. metric: what the competition scores by. corrupted: whether the hidden images
    are noisy, blurred, recoloured and so on, as the training's are not."""

    name: Text
    images: Images
    classes: Classes
    metric: MetricName = "accuracy"
    corrupted: bool = True
    interface: Interface = Interface()
    environment: Environment = Environment()
    limits: Limits = Limits()
    codabench: CodaBench = CodaBench()

    def __post_init__(self) -> None:
        known = self.interface.returns in ("probabilities", "logits")
        if self.metric in NEED_PROBABILITIES and not known:
            raise ValueError(
                f"the metric {self.metric} needs interface.returns = probabilities or logits"
            )


def read(path: Path) -> Contract:
    """The competition that the file at `path` describes. Raises InputError, with the key, when it
    describes none."""
    return make_contract(documents.parse_toml(documents.read_text(path), str(path)), str(path))


def make_contract(values: dict[str, Any], source: str) -> Contract:
    """The competition that the `values` of a file describe. Raises InputError, with the name
    `source`, when they describe none."""
    try:
        described = TypeAdapter(Description).validate_python(values)
    except ValidationError as error:
        raise InputError(describe_error(error, source, Description), HINT) from error
    images, interface, limits = described.images, described.interface, described.limits
    evaluator, packages = _name_environment(described.environment)
    keras = described.environment.keras or ""
    return Contract(
        name=described.name,
        style=interface.style,
        classes=described.classes.count,
        image_shape=(images.height, images.width, images.channels),
        time_limit=limits.seconds,
        evaluator=evaluator,
        tensorflow=described.environment.tensorflow or "",
        keras=keras,
        newest_keras=_find_newest_keras(keras),
        packages=packages,
        class_name=interface.class_name,
        method=interface.method,
        returns=interface.returns,
        csv_columns=interface.csv_columns,
        class_names=described.classes.names,
        metric=described.metric,
        corrupted=described.corrupted,
        memory_limit=limits.memory_bytes,
        size_limit=limits.zip_bytes,
        server=described.codabench.server,
        competition=described.codabench.competition,
        hidden_images=images.hidden,
    )


def _name_environment(environment: Environment) -> tuple[str | None, tuple[str, ...]]:
    """The name of an evaluator's environment, under which it is kept, and what pip installs."""
    if environment.tensorflow is None:
        return None, ()
    versions = (environment.tensorflow, environment.keras or "")
    if versions == (AN2DL2024.tensorflow, AN2DL2024.keras) and not environment.packages:
        return AN2DL2024.evaluator, ()
    packages = [f"tensorflow=={environment.tensorflow}", *environment.packages]
    if environment.keras:
        packages.append(f"keras=={environment.keras}")
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()
    return f"tensorflow-{environment.tensorflow}-{digest[:8]}", tuple(packages)


def _find_newest_keras(keras: str) -> tuple[int, int]:
    """The version (major, minor) itself: of other competitions nobody has reported more."""
    if not keras:
        return (0, 0)
    if keras == AN2DL2024.keras:
        return AN2DL2024.newest_keras
    major, minor = keras.split(".")[:2]
    return (int(major), int(minor))


def describe(contract: Contract) -> Description:
    """`contract` as the file describes it."""
    height, width, channels = contract.image_shape
    known = [each.partition("==")[0] for each in contract.packages]
    extra = [
        package
        for name, package in zip(known, contract.packages)
        if name not in ("tensorflow", "keras")
    ]
    return Description(
        name=contract.name,
        metric=contract.metric,
        corrupted=contract.corrupted,
        images=Images(height, width, channels, contract.hidden_images),
        classes=Classes(contract.classes, contract.class_names),
        interface=Interface(
            contract.style,
            contract.class_name,
            contract.method,
            contract.returns,
            contract.csv_columns,
        ),
        environment=Environment(contract.tensorflow or None, contract.keras or None, tuple(extra)),
        limits=Limits(contract.time_limit, contract.size_limit, contract.memory_limit),
        codabench=CodaBench(contract.server, contract.competition),
    )


def to_text(contract: Contract) -> str:
    """The text of the file that describes `contract`."""
    values = dataclasses.asdict(describe(contract))
    return tomli_w.dumps(_without_nothing(values))


def write(contract: Contract, path: Path) -> None:
    """Writes the file that describes `contract`."""
    write_text(path, to_text(contract))


def _without_nothing(values: dict[str, Any]) -> dict[str, Any]:
    """`values` without None and empty lists and tables: TOML has no word for nothing."""
    kept = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = _without_nothing(value)
        if value not in (None, (), {}):
            kept[key] = value
    return kept
