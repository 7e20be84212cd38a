"""A task's own regular expressions, each with a limit: one that backtracks without end costs its row, not the run.

Python's engine looks for signals while it searches, so a timer can end it. The timer counts this process's computing
and not the clock, so that a machine with other work finds what an idle one does. In another thread than the main one,
on Windows, and in a program that uses this timer itself there is no limit.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from marathon_eval.errors import RowError

_T = TypeVar("_T")

#: Processor seconds for one search in one text.
LIMIT_S = 2.0


class _OverdueError(Exception):
    """The timer has run out."""


def find_all(pattern: re.Pattern[str], text: str) -> list[Any]:
    """`pattern.findall(text)`. Raises RowError where that takes too long."""
    return _limited(lambda: pattern.findall(text), pattern.pattern)


def substitute(pattern: re.Pattern[str] | str, replacement: str, text: str, count: int = 0) -> str:
    """`re.sub`. Raises RowError where that takes too long."""
    known = pattern if isinstance(pattern, str) else pattern.pattern
    return _limited(lambda: re.sub(pattern, replacement, text, count=count), known)


def _limited(search: Callable[[], _T], pattern: str) -> _T:
    if threading.current_thread() is not threading.main_thread() or not _listening():
        return search()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
        try:
            return search()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _OverdueError:
        raise RowError(
            f"the regular expression {pattern[:80]!r} takes over {LIMIT_S:g} s to look through one text"
        ) from None


@cache
def _listening() -> bool:
    """Whether the timer is ours, from now on."""
    if not hasattr(signal, "SIGVTALRM") or signal.getsignal(signal.SIGVTALRM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGVTALRM, _ring)
    return True


def _ring(*_: object) -> None:
    raise _OverdueError
