"""Writes files atomically (a temporary file is renamed), and records which files a build has finished."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.files import replaced_atomically, write_synced

#: Suffix of an unfinished file; the next build removes those that a killed build left.
PART_SUFFIX = ".part"


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole file or nothing. Raises MarathonError: disk full, not writable."""
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(path, part):
            write_synced(part, [data])
    except OSError as error:
        raise MarathonError(f"{path}: cannot write: {error.strerror}") from None


def entries_as_json(content: Any) -> bytes:
    """Encode JSON with one line per entry; equal content gives equal bytes. Undecodable file names are escaped."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, read block by block. Raises MarathonError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MarathonError(f"{path}: cannot read ({error.strerror})") from None


def remove_parts(paths: Iterable[Path]) -> None:
    """Remove the unfinished versions of these files that a killed build left."""
    for path in paths:
        path.with_name(path.name + PART_SUFFIX).unlink(missing_ok=True)


class Journal:
    """Records the files that a build has finished, one JSON line per file, so that the next build can continue.

    The first line names all files of the plan; files with these names belong to this build and may be overwritten.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.planned: list[str] = []
        self.done: dict[str, dict[str, Any]] = {}
        for line in self._lines():
            if "planned" in line:
                self.planned += line["planned"]
            else:
                self.done[line["path"]] = line

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield the complete lines; if the build was killed, the last line may be incomplete."""
        if not self.path.is_file():
            return
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                return

    def restart(self, planned: list[str]) -> None:
        """Add a plan's names and rewrite the journal, so that an incomplete last line does not damage the next."""
        self.planned = sorted({*self.planned, *planned})
        lines: list[dict[str, Any]] = [{"planned": self.planned}, *self.done.values()]
        write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def add(self, line: dict[str, Any]) -> None:
        """Append one line and write it to disk at once. Raises MarathonError."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise MarathonError(f"{self.path}: cannot write: {error.strerror}") from None


@contextmanager
def only_one(folder: Path, name: str) -> Iterator[None]:
    """Lock a recipe's output folder. Raises MarathonError if another build of the same recipe has locked it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{name}.lock").open("w")
    except OSError as error:
        raise MarathonError(f"--output_path: {folder}: cannot write ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MarathonError(f"--output_path: another build of {name} is writing to {folder}") from None
        yield
