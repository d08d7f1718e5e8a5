"""Runs in a process of its own: takes two updates of each phase of a training, on noise, and
answers whether they fit into memory."""

from dataclasses import replace

import numpy as np

from toolkit.core.config import without_weights
from toolkit.models import backend
from toolkit.training import child, trainer
from toolkit.training.batch_size import TrialRequest

UPDATES = 2  # the optimiser makes its variables in the first


def take_steps(request: TrialRequest) -> bool:
    """Whether two updates of each phase fit into memory. Raises InputError for what does not exist
    or does not fit the images."""
    # Random weights take as much memory as others, and need no download.
    settings = replace(request.settings, model=without_weights(request.settings.model))
    size = settings.train.images_per_step
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (size, *request.shape)).astype(np.float32)
    labels = np.eye(request.classes, dtype=np.float32)[rng.integers(0, request.classes, size)]
    try:
        network = trainer.build_seeded_shape(settings, request.shape, request.classes)
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


if __name__ == "__main__":
    child.serve(TrialRequest, take_steps)
