"""The submission that comes with cbtool: trained weights and their manifest, beside model.py.

docs/champion.md says how it was trained, and how another one takes its place.
"""

from pathlib import Path

from submission import model
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError
from toolkit.export import package

FOLDER = Path(model.__file__).parent


def write_zip(
    path: Path, time_limit: float, images: int = 0, contract: Contract = AN2DL2024
) -> str:
    """Writes the champion as the zip at `path`; returns its SHA-256.

    time_limit, images: as for `package.write_zip`. Raises InputError for another competition than
    the champion was trained for.
    """
    if (contract.image_shape, contract.class_names) != (
        AN2DL2024.image_shape,
        AN2DL2024.class_names,
    ):
        raise InputError(
            f"the trained network that comes with cbtool is not for {contract.name}.",
            "Train one: cbtool train --preset lite --data FILE.",
        )
    return package.write_zip([FOLDER], path, time_limit, images, contract)
