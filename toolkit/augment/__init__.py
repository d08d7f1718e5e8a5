"""Augmentation: each operation is a keras-cv layer with its own rate and strength."""
