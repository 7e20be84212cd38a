"""Checks that files are replaced as a whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marathon_eval.errors import MarathonError
from marathon_eval.files import replaced_atomically, write_atomically


def test_text_and_bytes_replace_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, ["é", "\n"])
    assert path.read_bytes() == "é\n".encode()
    write_atomically(path, [b"\0", b"\1"])
    assert path.read_bytes() == b"\0\1"
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def parts() -> Iterator[str]:
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, parts())
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, ["\ud800"])
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from marathon_eval.files import replaced_atomically
with replaced_atomically(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    for target in (path, other):
        subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False, timeout=60)
    assert len([*tmp_path.iterdir()]) == 2, "each left a file"
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (left,) = (name for name in tmp_path.iterdir() if name.name.startswith(".a.txt"))
        in_use = left.with_name(f"{left.name.rpartition('.')[0]}.{living.pid}")
        in_use.write_text("of a process that still writes")
        write_atomically(path, ["whole"])
        assert path.read_text() == "whole"
        assert not left.exists()
        assert in_use.exists()
        assert len([*tmp_path.iterdir()]) == 3, "the other file's rest is the other file's"
    finally:
        living.communicate(b"\n")


def test_a_temporary_name_of_the_callers_choice(tmp_path: Path) -> None:
    path, part = tmp_path / "a.txt", tmp_path / "a.txt.part"
    with replaced_atomically(path, part) as temporary:
        assert temporary == part
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert not part.exists()


def test_a_folder_that_is_not_there_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MarathonError, match=r"cannot write \(No such file or directory\)"):
        write_atomically(tmp_path / "none" / "a.txt", ["new"])
    with pytest.raises(MarathonError, match=r"cannot write \(Not a directory\)"):
        write_atomically(tmp_path / "file" / "a.txt", ["new"])
