"""Runs a task's own regular expressions under a time limit: endless backtracking fails one row, not the run.

Python's regex engine checks for signals while it searches, so a timer can stop it. The timer counts processor time of
this process, not wall time, so that results do not depend on other load. There is no limit on Windows, in threads
other than the main one, and in a program that uses this timer itself.
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

#: Processor seconds that one search in one text may take.
LIMIT_S = 2.0


class _OverdueError(Exception):
    """Signals that the timer has run out."""


def find_all(pattern: re.Pattern[str], text: str) -> list[Any]:
    """Return `pattern.findall(text)`. Raises RowError where that takes longer than `LIMIT_S`."""
    return _limited(lambda: pattern.findall(text), pattern.pattern)


def substitute(pattern: re.Pattern[str] | str, replacement: str, text: str, count: int = 0) -> str:
    """Return `re.sub` of the same arguments. Raises RowError where that takes longer than `LIMIT_S`."""
    source = pattern if isinstance(pattern, str) else pattern.pattern
    return _limited(lambda: re.sub(pattern, replacement, text, count=count), source)


def _limited(search: Callable[[], _T], pattern: str) -> _T:
    if threading.current_thread() is not threading.main_thread() or not _timer_is_ours():
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
def _timer_is_ours() -> bool:
    """Install the timer's signal handler once; False where the program uses the signal or the system lacks it."""
    if not hasattr(signal, "SIGVTALRM") or signal.getsignal(signal.SIGVTALRM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGVTALRM, _on_timer)
    return True


def _on_timer(*_: object) -> None:
    raise _OverdueError
