"""The competition that a command is about: that of --competition-file, or of competition.toml in
the working folder, or AN2DL 2024."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError
from tools import output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import address as addresses
    from toolkit.codabench import credentials
    from toolkit.core import competition_file
    from toolkit.training import run_folder

FILE = "competition.toml"
VARIABLE = "CBTOOL_COMPETITION_FILE"

competition_option = click.option(
    "--competition-file",
    type=click.Path(path_type=Path),
    envvar=VARIABLE,
    metavar="FILE",
    help=f"The competition. [default: {FILE} in this folder, else AN2DL 2024]",
)


def current() -> Contract:
    """The competition of the running command, which a person is told where it is not AN2DL 2024.
    Raises InputError when its file describes none."""
    chosen: Path | None = click.get_current_context().find_root().params.get("competition_file")
    path = chosen or Path(FILE)
    if chosen is None and not path.is_file():
        return AN2DL2024
    contract = competition_file.read(path)
    output.hint(f"Competition: {contract.name} ({path}).")
    return contract


def find_address(contract: Contract) -> addresses.CompetitionAddress | None:
    """Where `contract` says that its competition is on CodaBench; None where it does not."""
    if contract.competition is None:
        return None
    server = credentials.normalise_url(contract.server) if contract.server else None
    return addresses.CompetitionAddress(contract.competition, server)


def of_run(run: run_folder.Run) -> Contract:
    """The competition of the running command, or else that which `run` was trained for. Raises
    InputError for a competition of other images or classes than the run's."""
    contract = current()
    if contract == AN2DL2024:
        return run_folder.read_contract(run)
    provenance = run_folder.read_provenance(run)
    size, classes = tuple(provenance["image_shape"][:2]), len(provenance["class_names"])
    if size != contract.image_shape[:2] or classes != contract.classes:
        raise InputError(
            f"{run.folder} was trained on images of {size[0]}×{size[1]} pixels in {classes} "
            f"classes, which are not those of {contract.name}.",
            "Train a run for that competition; or name the run's: --competition-file FILE.",
        )
    return contract
