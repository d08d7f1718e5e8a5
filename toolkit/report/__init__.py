"""What is shown to people: pictures of data, augmentations and results."""
