"""Tests when a cache file is read whole on opening: after an unclean end or a change from outside, and only then."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from helpers.filled_cache import Said, cache, fill
from marathon_eval.api.model import Request
from marathon_eval.cache import opening
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import faults


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every check of a whole file."""
    made: list[str] = []
    check = opening.interruptible

    def noted(connection: sqlite3.Connection, sql: str) -> object:
        made.append(sql)
        return check(connection, sql)

    monkeypatch.setattr(opening, "interruptible", noted)
    return made


def test_a_file_that_was_closed_is_not_read_whole(tmp_path: Path, checks: list[str]) -> None:
    fill(tmp_path)
    first = len(checks)
    fill(tmp_path)
    fill(tmp_path, "no")
    assert cache("ls", folder=tmp_path) == 0
    fill(tmp_path, "no")
    assert len(checks) == first


def test_a_copy_a_change_and_an_earlier_versions_file_are_read_whole_once(
    tmp_path: Path, checks: list[str]
) -> None:
    path = fill(tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.copy2(path, tmp_path / "b")
    checks.clear()
    for folder in ("b", "b", "a"):
        fill(tmp_path / folder)
    assert len(checks) == 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO entries VALUES ('audio/x', '[]')")
    fill(tmp_path / "a")
    fill(tmp_path / "a")
    assert len(checks) == 2


def test_a_file_in_use_is_not_read_whole_again(tmp_path: Path, checks: list[str]) -> None:
    with ResponseCache(tmp_path) as running:
        running.put("audio/x", ["a", 1.0], at_once=True)
        checks.clear()
        fill(tmp_path)
        running.put("audio/y", ["a", 1.0], at_once=True)
    assert checks == []
    fill(tmp_path)
    assert checks == []


KILLED = """
import os, sys
from pathlib import Path
from marathon_eval.cache.answers import ResponseCache
cache = ResponseCache(Path(sys.argv[1]))
cache.put("audio/x", ["a", 1.0], at_once=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_a_file_that_is_read_whole(tmp_path: Path, checks: list[str]) -> None:
    fill(tmp_path)
    checks.clear()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    with ResponseCache(tmp_path) as again:
        assert again.get_many(["audio/x"]) == {"audio/x": ["a", 1.0]}
    assert len(checks) == 1
    fill(tmp_path)
    assert len(checks) == 1


def test_a_disk_without_locks_is_read_whole_each_time(
    tmp_path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    for _ in range(3):
        fill(tmp_path)
    assert len(checks) == 3


@pytest.mark.parametrize("seed", range(4))
def test_damage_that_opening_did_not_look_for_is_mended_where_it_is_met(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The times are put back, as a failing disk leaves them; the mark of this content then fits."""
    prompts = [f"question {number} " + "word " * (number % 50) for number in range(300)]
    path = fill(tmp_path, prompts=prompts)
    content, stat = bytearray(path.read_bytes()), path.stat()
    start = 4096 * (1 + seed * 3)
    content[start : start + 2500] = bytes(range(250)) * 10
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    mark = path.with_name(f".{path.name}.closed")
    mark.write_text(mark.read_text().rpartition(" ")[0] + f" {path.stat().st_ctime_ns}")
    with ResponseCache(tmp_path) as again:
        new = [f"new {number}" for number in range(300)]
        found = list(
            again.answer(Said.from_args({"says": "yes"}), [Request(prompt) for prompt in [*prompts, *new]])
        )
    assert {one.request.prompt: one.response.text for one in found} == {p: f"yes {p}" for p in prompts + new}
    assert "Traceback" not in capsys.readouterr().err
    with ResponseCache(tmp_path) as again:
        stored = list(
            again.answer(Said.from_args({"says": "yes"}), [Request(prompt) for prompt in prompts + new])
        )
    assert all(one.cached for one in stored)
    assert not list(faults(tmp_path / FILE_NAME))


LONG = """
import sqlite3, sys
from marathon_eval.cache.database import Connection, interruptible
from marathon_eval.cli.main import Termination
Termination().listen()
connection = sqlite3.connect(sys.argv[1], factory=Connection, check_same_thread=False)
print("begun", flush=True)
try:
    while True:
        interruptible(connection, "PRAGMA quick_check(1)")
except KeyboardInterrupt:
    print("ended")
"""


def test_sigterm_ends_the_check_of_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "large.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB)")
        rows = ((f"{number:064}", "x" * 200) for number in range(100_000))
        connection.executemany("INSERT INTO entries VALUES (?, ?)", rows)
    process = subprocess.Popen([sys.executable, "-c", LONG, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "ended\n"
