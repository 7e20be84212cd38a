"""Where a dataset's files are: a local folder or a hub repository; names are relative to its root, with slashes."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from marathon_eval.errors import AudioError, MarathonError

_CAPTURE = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


class Source(Protocol):
    """The files of one dataset."""

    #: What the results call it.
    label: str

    def names(self, folder: str) -> Iterable[str]:
        """Every file below a folder."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file; asks for no content."""

    def fetch(self, names: Sequence[str]) -> None:
        """Get files that will soon be asked for, several at a time; those that are not there are left out."""

    def path(self, name: str) -> str:
        """A file on this machine. Raises AudioError when it is missing or outside the root."""


class LocalFolder:
    """A folder that the user named."""

    def __init__(self, root: Path) -> None:
        self.label = str(root)
        self.root = root
        self._allowed = _allowed_roots(root)
        self._checked: set[str] = set()

    def names(self, folder: str) -> Iterator[str]:
        """Sorted, so that no result depends on the file system."""
        for parent, folders, files in os.walk(self.root / folder):
            folders.sort()
            below = Path(parent).relative_to(self.root).as_posix()
            yield from (posixpath.join("" if below == "." else below, name) for name in sorted(files))

    def exists(self, name: str) -> bool:
        return os.path.isfile(f"{self.label}/{name}")

    def fetch(self, names: Sequence[str]) -> None:
        """Nothing to get: the files are here."""

    def path(self, name: str) -> str:
        """The file; its folder is resolved once, since thousands of clips share it (and text, since Path is slow)."""
        path = f"{self.label}/{inside(name)}"
        folder = path.rpartition("/")[0]
        if folder not in self._checked:
            self._check(folder, name)
            self._checked.add(folder)
        if os.path.islink(path):
            self._check(path, name)
        return path

    def _check(self, path: str, name: str) -> None:
        # text again: a dataset may have a folder for every speaker
        real = f"{os.path.realpath(path)}{os.sep}"
        if not real.startswith(self._allowed):
            raise AudioError(f"{name}: leads outside the dataset's root {self.root}")


def inside(name: str) -> str:
    """A relative name without detours. Raises AudioError where it is absolute or climbs out of the root."""
    clean = posixpath.normpath(name.replace("\\", "/"))
    if not name or "\0" in name or clean.startswith(("/", "../")) or clean in (".", "..") or ":" in clean[:3]:
        raise AudioError(f"{name!r}: is no path inside the dataset's root")
    return clean


def locate(source: Source, folder: str, name: str) -> str | None:
    """A clip's name below the root: beside its metadata, or in `wav/` there; None where it is at neither.

    The release keeps some tasks' clips in `wav/` without saying so in the metadata. Raises AudioError.
    """
    for parent in (folder, posixpath.join(folder, "wav")):
        clean = inside(name if name.startswith("/") else posixpath.join(parent, name))
        if source.exists(clean):
            return clean
    return None


def match_tree(source: Source, patterns: Sequence[str], where: str) -> list[dict[str, str]]:
    """Rows from file names: the captures of each matching file and its `path`, sorted by path.

    `{name}` captures one path part or a piece of one, `{name:real|fake}` only these words. The first
    pattern that matches any file is used. Raises MarathonError when none does.
    """
    for pattern in patterns:
        expression = re.compile(_expression(pattern))
        folder = posixpath.dirname(pattern.split("{", 1)[0])
        try:
            inside(pattern)
        except AudioError as error:
            raise MarathonError(f"{where}: file_tree: {error}") from None
        found = ((name, expression.fullmatch(name)) for name in source.names(folder))
        rows = [{"path": name, **match.groupdict()} for name, match in found if match]
        if rows:
            return sorted(rows, key=lambda row: row["path"])
    raise MarathonError(f"{where}: {source.label} holds no file like {' or '.join(patterns)}")


def _expression(pattern: str) -> str:
    """The regular expression of a pattern; everything outside the captures is literal."""
    parts, position = [], 0
    for capture in _CAPTURE.finditer(pattern):
        name, words = capture.groups()
        inner = "|".join(map(re.escape, words.split("|"))) if words else "[^/]+"
        parts += [re.escape(pattern[position : capture.start()]), f"(?P<{name}>{inner})"]
        position = capture.end()
    return "".join([*parts, re.escape(pattern[position:])])


def _allowed_roots(root: Path) -> tuple[str, ...]:
    """The root itself, ending in a slash; for a snapshot in the hub's cache also the blobs that its links point to."""
    real = root.resolve()
    roots = [real, real.parent.parent / "blobs"] if real.parent.name == "snapshots" else [real]
    return tuple(os.path.join(one, "") for one in roots)
