"""What is shown to people: pictures of data, augmentations and results, and the page of a run."""
