"""Tests the sqlite connection: a signal ends a long statement, and a disk without locks is told apart from a lock."""

from __future__ import annotations

import errno
import fcntl
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from marathon_eval.cache import opening
from marathon_eval.errors import MarathonError

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
SCRIPT = f"""
import sqlite3
from marathon_eval.cache.database import Connection
from marathon_eval.cli.main import Termination
termination = Termination()
termination.listen()
connection = sqlite3.connect(":memory:", factory=Connection)
print("begun", flush=True)
try:
    connection.execute("{ENDLESS}")
except KeyboardInterrupt:
    print("ended", termination.received)
"""


@pytest.mark.parametrize(("number", "said"), [(signal.SIGTERM, "ended True"), (signal.SIGINT, "ended False")])
def test_a_signal_ends_a_long_statement(number: signal.Signals, said: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert out.strip() == said


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.sqlite"
    opening.prepare(path)
    monkeypatch.setattr(opening, "OPEN_SECONDS", 0.05)

    def refused(*arguments: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(MarathonError, match=r"\(database is locked\)"):
            opening.prepare(path)
        monkeypatch.setattr(fcntl, "lockf", refused)
        with pytest.raises(MarathonError, match=r"locked; its disk has no file locks \(No locks available\)"):
            opening.prepare(path)
