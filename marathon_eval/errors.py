"""Mistakes that a user can repair.

MarathonError      printed in one line, exit code 2
└── RowError       something wrong with one row: becomes an error row, the run goes on, exit code 3
    └── AudioError its audio is missing, unreadable, empty or outside the dataset's root
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MarathonError(Exception):
    """A mistake in flags, files or settings: says what was wrong, where, and what is allowed."""


class RowError(MarathonError):
    """One document cannot be asked or scored; the others can."""


class AudioError(RowError):
    """The audio of one document cannot be heard as the task says."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean dart?"`, or the empty string when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""


def unknown(where: str, kind: str, name: str, known: Iterable[str]) -> MarathonError:
    """The one wording for a name that does not exist: `--tasks: no task 'gtzam'. Did you mean gtzan? Known: …`."""
    names = sorted(known)
    return MarathonError(
        f"{where}: no {kind} '{name}'.{did_you_mean(name, names)} Known: {', '.join(names) or 'none'}"
    )
