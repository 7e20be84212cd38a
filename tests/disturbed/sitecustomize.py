"""What happens to a process of the fault tests: Python runs this file when it starts and finds it on PYTHONPATH.

CLOCK_SEED    the wall clock jumps by up to a year, back or forth, every 50 ms
READ_ONLY     nothing below this folder can be written, not by root either
"""

import datetime
import errno
import os
import random
import sys
import time

YEAR = 31_536_000.0
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _jumping(seed: str) -> None:
    right, began, localised = time.time, time.monotonic(), (time.gmtime, time.localtime)

    def now() -> float:
        jump = random.Random(f"{seed} {int((time.monotonic() - began) / 0.05)}").uniform(-YEAR, YEAR)
        return right() + jump

    gmtime, localtime = localised
    time.time = now
    time.time_ns = lambda: int(now() * 1e9)
    time.gmtime = lambda seconds=None: gmtime(now() if seconds is None else seconds)
    time.localtime = lambda seconds=None: localtime(now() if seconds is None else seconds)


def _read_only(folder: str) -> None:
    below = os.path.abspath(folder)

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        writes = event in ("os.mkdir", "os.rename", "os.remove", "tempfile.mkstemp") or (
            event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        )
        if writes and isinstance(arguments[0], str) and os.path.abspath(arguments[0]).startswith(below):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])

    sys.addaudithook(refuse)


if "CLOCK_SEED" in os.environ:
    _jumping(os.environ["CLOCK_SEED"])
    assert abs(time.time() - datetime.datetime.now().timestamp()) > 0
if "READ_ONLY" in os.environ:
    _read_only(os.environ["READ_ONLY"])
