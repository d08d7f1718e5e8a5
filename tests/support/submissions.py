"""Submissions to test with."""

import zipfile

GOOD = """
import numpy as np

class Model:
    def __init__(self):
        with open("weights.txt") as file:
            self.label = int(file.read())

    def predict(self, X):
        return np.full(len(X), self.label)
"""


def made(path, source=GOOD, files=(("weights.txt", "3"),), folder=""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}model.py", source)
        for name, content in files:
            archive.writestr(
                name if isinstance(name, zipfile.ZipInfo) else f"{folder}{name}", content
            )
    return path
