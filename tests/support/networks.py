"""Networks to test with."""

import keras
import numpy as np


def worked(model: keras.Model) -> keras.Model:
    """`model` with norms and layer scales as training leaves them: none of their weights is a plain
    0, 1 or 1e-6."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.LayerNormalization)):
            gamma, beta, *statistics = values
            shaken = [
                gamma * rng.uniform(0.5, 1.5, gamma.shape),
                beta + rng.normal(0, 0.1, beta.shape),
            ]
            if statistics:
                mean, variance = statistics
                shaken += [
                    mean + rng.normal(0, 0.1, mean.shape),
                    variance * rng.uniform(0.5, 1.5, variance.shape),
                ]
            layer.set_weights(shaken)
        elif type(layer).__name__ == "LayerScale":
            layer.set_weights([rng.uniform(0.1, 0.5, values[0].shape)])
    return model
