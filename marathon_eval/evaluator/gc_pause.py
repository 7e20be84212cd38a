"""Python's cycle collector, told to look seldom while rows are made: they hold no cycles, and there are thousands.

Counting references frees every row as before; only the search for rings of objects is put off. Looking at the usual pace costs
a fifth of a rescoring run, for each full search walks over all rows that are held.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: New containers between two searches among the young ones; Python's own figure is 700.
SELDOM = 20_000


@contextmanager
def seldom_collected() -> Iterator[Callable[[], None]]:
    """Within, the collector looks seldom; the callable given goes back to the usual pace before the end."""
    usual = gc.get_threshold()

    def as_usual() -> None:
        gc.set_threshold(*usual)

    # a program that switched the collector off (0), or made it rarer than this, keeps its own pace
    if 0 < usual[0] < SELDOM:
        gc.set_threshold(SELDOM, *usual[1:])
    try:
        yield as_usual
    finally:
        as_usual()
