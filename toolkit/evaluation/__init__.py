"""What a network scores, how sure that is, and what it will score on a hidden test set."""
