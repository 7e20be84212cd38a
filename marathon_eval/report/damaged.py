"""Leaves damaged runs out of what is made of several runs, so that one of them does not stop a whole report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from marathon_eval.errors import DamagedRunError

T = TypeVar("T")


def without_damaged(
    named: Iterable[str | Path], make: Callable[[Mapping[Path, str]], T]
) -> tuple[T, list[str]]:
    """Return what `make` returns, and an error message for each run that it had to leave out.

    `make` takes the folders to leave out and raises DamagedRunError at the first other run that can't be read; it is
    then called again. Raises that error if the run's folder is one of those that the user named.
    """
    paths = {Path(path) for path in named}
    damaged: dict[Path, str] = {}
    while True:
        try:
            return make(damaged), list(damaged.values())
        except DamagedRunError as error:
            if error.folder in paths or error.folder in damaged:
                raise
            damaged[error.folder] = str(error)
