"""Learning rates by step: of the callback, and of the form that JAX compiles into its step."""

import keras
import pytest

from toolkit.core.config import Phase
from toolkit.training import schedule

STEPS = 10  # in an epoch


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, [1.0, 1.0, 1.0]),
        ({"schedule": "cosine"}, [1.0, 0.5, 0.0]),
        ({"schedule": "exponential", "decay": 0.5}, [1.0, 0.25, 0.0625]),
        ({"schedule": "cosine", "warmup": 2.0}, [0.005, 1.0, 0.0]),
    ],
)
def test_schedules(options, rates):
    phase = Phase(trainable="all", epochs=4, learning_rate=0.5, **options)
    assert [schedule.compute_factor(phase, epochs) for epochs in (0, 2, 4)] == pytest.approx(rates)
    compiled = schedule.CompiledSchedule(phase, STEPS)
    for step in range(4 * STEPS + 1):
        wanted = 0.5 * schedule.compute_factor(phase, step / STEPS)
        assert float(compiled(step)) == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_an_optimiser_follows_the_compiled_schedule():
    phase = Phase(trainable="all", epochs=4, learning_rate=0.5, schedule="cosine", warmup=1.0)
    weight = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(schedule.CompiledSchedule(phase, STEPS))
    for step in range(15):
        before = float(weight[0])
        optimizer.apply([keras.ops.ones(1)], [weight])
        rate = 0.5 * schedule.compute_factor(phase, step / STEPS)
        assert before - float(weight[0]) == pytest.approx(rate, rel=1e-3, abs=1e-6)
