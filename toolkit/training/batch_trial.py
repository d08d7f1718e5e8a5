"""Runs in a process of its own: takes two updates of each phase of a training, on noise, and says
whether they fit into memory.

Usage: python -m toolkit.training.batch_trial DIR; in DIR are config.toml and data.json. Prints a
JSON text: whether they fit, and the sentence and the hint of an error in the settings, or null.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from toolkit.core import config
from toolkit.core.config import Config, without_weights
from toolkit.core.errors import CbtoolError
from toolkit.models import backend
from toolkit.training import trainer

UPDATES = 2  # the optimiser makes its variables in the first


def take_steps(settings: Config, shape: tuple[int, int, int], classes: int) -> bool:
    """Whether two updates of each phase of `settings`, on images of `shape` with `classes`, fit
    into memory. Raises InputError for what does not exist or does not fit."""
    # Random weights take as much memory as others, and need no download.
    settings = replace(settings, model=without_weights(settings.model))
    size = settings.train.images_per_step
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (size, *shape)).astype(np.float32)
    labels = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, size)]
    try:
        network = trainer.build_seeded_shape(settings, shape, classes)
        for number, phase in enumerate(settings.train.phases):
            # More sums of gradients take no more memory than two.
            short = replace(phase, accumulate=min(phase.accumulate, 2))
            trainer.begin_phase(network, network.model, number, short, settings)
            for _ in range(UPDATES * short.accumulate):
                network.model.train_on_batch(images, labels)
    except Exception as error:
        if backend.is_out_of_memory(error):
            return False
        raise
    return True


def main() -> None:
    folder = Path(sys.argv[1])
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    fits, fault = False, None
    try:
        settings = config.read(folder / "config.toml")
        fits = take_steps(settings, tuple(data["shape"]), data["classes"])
    except CbtoolError as error:
        fault = (error.sentence, error.hint)
    json.dump({"fits": fits, "error": fault}, sys.stdout)


if __name__ == "__main__":
    main()
