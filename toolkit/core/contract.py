"""What a competition asks of a submission: its images, its interface, its environment, its limits,
and the metric that it is scored by."""

from dataclasses import dataclass
from typing import Literal, get_args

MetricName = Literal["accuracy", "macro-f1", "balanced-accuracy", "log-loss", "quadratic-kappa"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
NEED_PROBABILITIES = ("log-loss",)
# The values that a metric can have, but for shares of 0 to 1.
RANGES = {"log-loss": (0.0, float("inf")), "quadratic-kappa": (-1.0, 1.0)}
Style = Literal["class", "function", "fit"]
Returns = Literal["labels", "one-hot", "probabilities", "logits", "csv"]


def metric_range(metric: MetricName) -> tuple[float, float]:
    """The lowest and the highest value that `metric` can have."""
    return RANGES.get(metric, (0.0, 1.0))


@dataclass(frozen=True)
class Contract:
    """A competition's contract with its submissions.

    style: what model.py offers. "class": `Model()`, then `predict(X)`; "function": `predict(X)` in
    the module; "fit": a class `Model` with `fit(X, y)`, which is called first, and `predict(X)`.
    class_name, method: where they have other names than Model and predict. returns: what predict
    gives; "csv" is the path of a CSV file that it has written, with the number of each image, from
    0 on, and its label, under csv_columns. classes: labels are 0..classes - 1; class_names: where
    the competition names them. image_shape: (height, width, channels) of what predict is given, 1
    (grey), 3 (RGB) or 4 (RGBA) channels. metric: what the competition scores by. corrupted: whether
    the hidden images are noisy, blurred, recoloured and so on, as the training's are not.
    time_limit: seconds for all. memory_limit, size_limit: bytes of memory, and of the zip; None
    where the competition names none. evaluator: the name of its environment
    (`runtime.environments`), packages: what pip installs there, where that is not known by the
    name; None and none where the competition names no environment. tensorflow, keras: the versions
    there. newest_keras: the latest version whose `.keras` files are known to load there. server,
    competition: its address on CodaBench. hidden_images: how many there are, None where nobody
    knows.
    """

    name: str
    style: Style
    classes: int
    image_shape: tuple[int, int, int]
    time_limit: float
    evaluator: str | None = None
    tensorflow: str = ""
    keras: str = ""
    newest_keras: tuple[int, int] = (0, 0)
    packages: tuple[str, ...] = ()
    class_name: str = "Model"
    method: str = "predict"
    returns: Returns = "labels"
    csv_columns: tuple[str, str] = ("id", "label")
    class_names: tuple[str, ...] = ()
    metric: MetricName = "accuracy"
    corrupted: bool = True
    memory_limit: int | None = None
    size_limit: int | None = None
    server: str | None = None
    competition: int | None = None
    hidden_images: int | None = None

    @property
    def interface(self) -> str:
        """What model.py has to offer, for a person."""
        call = f"{self.method}(X)" if self.style == "function" else f"{self.method}(self, X)"
        offered = {
            "class": f"a class {self.class_name} with {call}",
            "function": f"a function {call}",
            "fit": f"a class {self.class_name} with fit(self, X, y) and {call}",
        }[self.style]
        return offered if self.returns == "labels" else f"{offered} that returns {self.returned}"

    @property
    def returned(self) -> str:
        """What predict returns, for a person."""
        return "the path of a CSV file" if self.returns == "csv" else self.returns

    @property
    def score_range(self) -> tuple[float, float]:
        """The lowest and the highest score that there can be."""
        return metric_range(self.metric)

    @property
    def channels(self) -> int:
        """Of the images that predict is given."""
        return self.image_shape[2]


# Politecnico di Milano's challenge of 2024. Teams wrote the versions down; a file that Keras 3.5.0
# saved was scored there.
AN2DL2024 = Contract(
    name="AN2DL 2024",
    style="class",
    classes=8,
    image_shape=(96, 96, 3),
    time_limit=600.0,
    evaluator="an2dl2024",
    tensorflow="2.17.0",
    keras="3.4.1",
    newest_keras=(3, 5),
    class_names=(
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocyte",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    hidden_images=3421,  # of the final phase
)
