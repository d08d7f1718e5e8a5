"""What a competition asks of a submission: its interface, its environment, its limits."""

from dataclasses import dataclass
from typing import Literal

Style = Literal["class", "function", "fit"]


@dataclass(frozen=True)
class Contract:
    """A competition's contract with its submissions.

    style: what model.py offers. "class": `Model()`, then `predict(X)`; "function": `predict(X)` in
    the module; "fit": a class `Model` with `fit(X, y)`, which is called first, and `predict(X)`.
    classes: labels are 0..classes - 1. image_shape: (height, width, channels). time_limit: seconds
    for all. evaluator: the name of its environment (`runtime.environments`), with the versions in
    it; None where the competition names none. newest_keras: the latest version whose `.keras` files
    are known to load there.
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

    @property
    def interface(self) -> str:
        """What model.py has to offer, for a person."""
        return {
            "class": "a class Model with predict(self, X)",
            "function": "a function predict(X)",
            "fit": "a class Model with fit(self, X, y) and predict(self, X)",
        }[self.style]


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
)
