"""Which images of each batch a process trains on: where batches have to be of one size, or where
several processes share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Part:
    """A part of each batch.

    number: of the process that reads it, from 0 on. processes: among which a batch is divided
    evenly. full: whether an epoch's last batch is filled up to the size of the others, with images
    of its own that weigh nothing; always so for several processes.
    """

    number: int = 0
    processes: int = 1
    full: bool = False

    def choose(
        self, count: tf.Tensor, size: int, weight: float | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places in a batch of `count` images, of the `size` of a full one, and the factor of the
        weight of each, float32: 0 for those that fill it up.

        weight: of those that count; by default such that a loss averaged over `size` is that
        averaged over `count`.
        """
        if not self.full:
            return tf.range(count), tf.ones([count])
        share = size // self.processes
        places = tf.range(self.number * share, (self.number + 1) * share)
        counted = size / count if weight is None else tf.constant(weight, tf.float64)
        return places % count, tf.where(places < count, tf.cast(counted, tf.float32), 0.0)

    def cut(
        self, batches: tf.data.Dataset, size: int, weight: float | None = None
    ) -> tf.data.Dataset:
        """This part of each of `batches`, tuples whose last tensor is the weights; as `choose`."""
        if not self.full:
            return batches

        def take(*batch: tf.Tensor) -> Sequence[Any]:
            *tensors, weights = batch
            places, factors = self.choose(tf.shape(weights)[0], size, weight)
            chosen = [tf.gather(tensor, places) for tensor in tensors]
            return (*chosen, tf.gather(weights, places) * factors)

        return batches.map(take)


WHOLE = Part()
