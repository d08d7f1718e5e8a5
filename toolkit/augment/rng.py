"""Random numbers that depend on a seed alone, for keras-cv layers that would use hidden state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras_cv.core import FactorSampler, NormalFactorSampler, UniformFactorSampler

Shape = Any  # of tensors: a tuple, a list or a tensor


class SeededRng:
    """A stand-in for `tf.random.Generator` whose numbers depend on a seed and the order of the
    calls alone.

    A generator keeps a counter that parallel calls race for, so that one seed gives other pixels
    every time. Here the seed comes from outside, a new one each step: the numbers of a step are the
    same whichever thread works on it.
    """

    def __init__(self) -> None:
        self._seed: tf.Tensor | None = None
        self._count = 0

    @contextmanager
    def use_seed(self, seed: tf.Tensor) -> Iterator[None]:
        """Within the block, numbers depend on `seed`, int32 [2]; after it, the outer sequence
        continues."""
        outer = self._seed, self._count
        self._seed, self._count = seed, 0
        try:
            yield
        finally:
            self._seed, self._count = outer

    def seed(self) -> tf.Tensor:
        """The next seed of the sequence, int32 [2]."""
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._count)

    def seeds(self, n: tf.Tensor) -> tf.Tensor:
        """n seeds, int32 [n, 2]."""
        return self.uniform([n, 2], minval=None, maxval=None, dtype=tf.int32)

    def uniform(
        self, shape: Shape, minval: Any = 0, maxval: Any = 1, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """As `tf.random.Generator.uniform`."""
        return tf.random.stateless_uniform(shape, self.seed(), minval, maxval, dtype)

    def normal(
        self, shape: Shape, mean: float = 0.0, stddev: float = 1.0, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """As `tf.random.Generator.normal`."""
        return tf.random.stateless_normal(shape, self.seed(), mean, stddev, dtype)

    def beta(self, alpha: float, n: tf.Tensor) -> tf.Tensor:
        """n numbers of the distribution Beta(alpha, alpha), float32 [n]."""
        return self.dirichlet(alpha, n, 2)[:, 0]

    def dirichlet(self, alpha: float, n: tf.Tensor, size: int) -> tf.Tensor:
        """n points of the symmetric Dirichlet distribution in `size` dimensions, float32 [n,
        size]."""
        gammas = tf.random.stateless_gamma([n, size], self.seed(), alpha)
        # Tiny alphas can draw zeros only: an even mixture then, not 0 / 0.
        return (gammas + 1e-30) / tf.reduce_sum(gammas + 1e-30, axis=1, keepdims=True)

    def permutation(self, n: tf.Tensor) -> tf.Tensor:
        """0..n-1 in random order, int32 [n]."""
        return tf.random.experimental.stateless_shuffle(tf.range(n), self.seed())


class _Sampler(FactorSampler):
    """keras-cv's uniform or normal factor, drawn from a `SeededRng`."""

    def __init__(self, sampler: UniformFactorSampler | NormalFactorSampler, rng: SeededRng):
        self._sampler, self._rng = sampler, rng

    def __call__(self, shape: Shape = (), dtype: str = "float32") -> tf.Tensor:
        limits = self._sampler
        if isinstance(limits, UniformFactorSampler):
            return self._rng.uniform(shape, limits.lower, limits.upper, dtype)
        normal = self._rng.normal(shape, limits.mean, limits.stddev, dtype)
        return tf.clip_by_value(normal, limits.min_value, limits.max_value)


def bind(layer: keras.layers.Layer, rng: SeededRng) -> keras.layers.Layer:
    """Makes a keras-cv augmentation layer, and the layers it holds, draw from `rng`. Returns it."""
    layer._random_generator = rng
    # keras-cv has no public way to do this: the samplers are attributes of whatever name.
    for name, value in list(vars(layer).items()):
        if isinstance(value, (UniformFactorSampler, NormalFactorSampler)):
            setattr(layer, name, _Sampler(value, rng))
        elif isinstance(value, keras.layers.Layer):
            bind(value, rng)
    return layer
