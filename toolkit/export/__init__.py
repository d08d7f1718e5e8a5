"""From a trained run to submission.zip: operations instead of Keras layers, fewer of them, checked,
packed and noted."""
