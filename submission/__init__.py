"""The file that is judged: `model.py`, copied as it is into every submission zip."""
