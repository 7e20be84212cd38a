"""Defines the errors that a user can repair.

MarathonError      the command prints it in one line and exits with code 2
├── DamagedRunError the files of a finished run are damaged; reports of several runs leave it out and exit with code 3
└── RowError       a document can't be evaluated: it becomes an error row, the run goes on and exits with code 3
    └── AudioError the document's audio is missing, unreadable, empty or outside the dataset's root
"""

from __future__ import annotations

# `from typing import TYPE_CHECKING` would take a tenth of `marathon-eval --help`, and difflib is for mistakes only
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


#: Above this number of known names an error lists only this many, the nearest.
_MOST_NAMES, _NEAREST_NAMES = 20, 5


class MarathonError(Exception):
    """Reports a mistake in flags, files or settings: what is wrong, where, and what is allowed."""


class DamagedRunError(MarathonError):
    """Reports that results.json or the samples in `folder`, a run's folder, can't be read."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class RowError(MarathonError):
    """Reports that one document can't be sent to the model or scored; the others can."""


class AudioError(RowError):
    """Reports that the audio of one document can't be decoded as the task describes it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion such as `" Did you mean dart?"`, or the empty string when no known name is similar."""
    import difflib

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]}?" if matches else ""


def install_hint(extra: str) -> str:
    """Return how an extra is installed: `pip install 'marathon-eval[api]' (in a checkout: pip install '.[api]')`."""
    return f"pip install 'marathon-eval[{extra}]' (in a checkout: pip install '.[{extra}]')"


def unknown(where: str, kind: str, name: str, known: Iterable[str]) -> MarathonError:
    """Build the error for a name that does not exist: `--tasks: no task 'gtzam'. Did you mean gtzan? Known: …`."""
    names = sorted(known)
    return MarathonError(
        f"{where}: no {kind} '{name}'.{did_you_mean(name, names)} Known: {', '.join(names) or 'none'}"
    )


def unknown_of_many(where: str, kind: str, name: str, known: Iterable[str], listed_by: str) -> MarathonError:
    """Build the error of `unknown`; for more than 20 names it lists only the nearest and the command that prints all."""
    names = sorted(known)
    if len(names) <= _MOST_NAMES:
        return unknown(where, kind, name, names)
    import difflib

    nearest = difflib.get_close_matches(name, names, n=_NEAREST_NAMES, cutoff=0.3)
    said = f" Nearest: {', '.join(nearest)};" if nearest else ""
    return MarathonError(
        f"{where}: no {kind} '{name}'.{did_you_mean(name, names)}{said or ' None is like it;'} {listed_by} lists all "
        f"{len(names)}"
    )
