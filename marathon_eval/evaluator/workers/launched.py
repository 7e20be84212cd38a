"""Reads from the environment whether a launcher started several processes of this command, and which one this is.

`accelerate launch`, torchrun and MPI start the same command several times; what each is told stands in variables:
https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from marathon_eval.errors import MarathonError

#: World size, rank, rank on this node: torch's launchers (accelerate's among them), Open MPI, Intel MPI and MPICH.
VARIABLES = (
    ("WORLD_SIZE", "RANK", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
)
MEETING_POINT = ("MASTER_ADDR", "MASTER_PORT")


class Ranks(NamedTuple):
    """Says which of `world` processes this one is; `local` is its number on its node."""

    rank: int
    world: int
    local: int


def launched(environment: Mapping[str, str] = os.environ) -> Ranks | None:
    """Return this process's place among several; None for a run of one. Raises MarathonError."""
    for names in VARIABLES:
        size, rank, local = (environment.get(name) for name in names)
        if size is None or size == "1":
            continue
        absent = [name for name in (names[1], *MEETING_POINT) if not environment.get(name)]
        if absent:
            raise MarathonError(
                f"{names[0]}={size} says that several processes were launched, but {absent[0]} is not set: "
                f"launch them by `accelerate launch`, or unset {names[0]}"
            )
        try:
            place = Ranks(int(rank or ""), int(size), int(local or rank or ""))
        except ValueError:
            place = Ranks(-1, 0, -1)
        if not 0 <= place.rank < place.world or place.local < 0:
            raise MarathonError(f"{names[0]}={size}, {names[1]}={rank}: no place among several processes")
        return place
    return None


def started_alone(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether `accelerate launch --cpu --num_processes N` started one process, as it does without MPI."""
    told = environment.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    return told and "MASTER_PORT" in environment and not any(names[0] in environment for names in VARIABLES)
