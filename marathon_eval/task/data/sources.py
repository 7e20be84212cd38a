"""Locates a dataset's files in a local folder or hub repository. Names are relative to its root, with slashes."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from marathon_eval.errors import AudioError, MarathonError

#: Phrases in error messages of rows by which `doctor` classifies faults (here: the audio file is missing or outside).
NO_SUCH_FILE = "no such audio file"
OUTSIDE_ROOT = ("leads outside the dataset's root", "is no path inside the dataset's root")
_CAPTURE = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


class EmbeddedAudio(str):
    """Names audio that stood inside the table. A type of its own, which text in a row cannot imitate."""

    __slots__ = ()


class Source(Protocol):
    """Gives access to the files of one dataset."""

    #: Name of the source in results and messages.
    label: str

    def names(self, folder: str) -> Iterable[str]:
        """Return the names of all files below a folder."""

    def exists(self, name: str) -> bool:
        """Return whether the file exists, without fetching its content."""

    def fetch(self, names: Sequence[str]) -> None:
        """Download files ahead of use, several at a time; files that do not exist are skipped."""

    def path(self, name: str) -> str:
        """Return the file's path on this machine. Raises AudioError if it is missing or outside the root."""


class LocalFolder:
    """Reads a dataset's files from a local folder."""

    def __init__(self, root: Path) -> None:
        self.label = str(root)
        self.root = root
        self._allowed = _allowed_roots(root)
        #: Whether each folder that was looked at lies inside the root.
        self._inside: dict[str, bool] = {}
        #: The files that were found, and are no links.
        self._regular: set[str] = set()

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of all files below a folder, sorted, so that no result depends on the file system."""
        for parent, folders, files in os.walk(self.root / folder, followlinks=True):
            folders[:] = [name for name in sorted(folders) if walks(self.root, parent, name)]
            below = Path(parent).relative_to(self.root).as_posix()
            yield from (posixpath.join("" if below == "." else below, name) for name in sorted(files))

    def exists(self, name: str) -> bool:
        """Return whether the file exists."""
        path = f"{self.label}/{name}"
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            return False
        if stat.S_ISREG(mode):
            self._regular.add(name)
            return True
        return stat.S_ISLNK(mode) and os.path.isfile(path)

    def fetch(self, names: Sequence[str]) -> None:
        """Do nothing: the files are local."""

    def path(self, name: str) -> str:
        """Return the file's path. Raises AudioError if it leads outside the root.

        Each folder is looked at only once, since thousands of clips share it. Paths are text, since Path is slow.
        """
        clean = inside(name)
        path = f"{self.label}/{clean}"
        folder = path.rpartition("/")[0]
        is_link = clean not in self._regular and os.path.islink(path)
        if not self._folder_inside(folder) or (is_link and not self._leads_inside(path)):
            raise AudioError(f"{name}: leads outside the dataset's root {self.root}")
        return path

    def _folder_inside(self, folder: str) -> bool:
        if folder not in self._inside:
            self._inside[folder] = self._beside_others(folder) or self._leads_inside(folder)
        return self._inside[folder]

    def _beside_others(self, folder: str) -> bool:
        """Return whether a folder is no link and the one around it lies inside: a dataset may have one for every speaker."""
        around = folder.rpartition("/")[0]
        if folder == self.label or os.path.islink(folder):
            return False
        if around not in self._inside:
            self._inside[around] = self._leads_inside(around)
        return self._inside[around]

    def _leads_inside(self, path: str) -> bool:
        return f"{os.path.realpath(path)}{os.sep}".startswith(self._allowed)


class SeveralFolders:
    """Reads files from the first of several folders that has them: --data_dir, then the folder of the rows."""

    def __init__(self, folders: Sequence[LocalFolder]) -> None:
        self.label = " or ".join(folder.label for folder in folders)
        self.folders = tuple(folders)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the files of every folder, those of an earlier folder first."""
        yield from dict.fromkeys(name for one in self.folders for name in one.names(folder))

    def exists(self, name: str) -> bool:
        """Return whether one of the folders has the file."""
        return any(folder.exists(name) for folder in self.folders)

    def fetch(self, names: Sequence[str]) -> None:
        """Do nothing: the files are local."""

    def path(self, name: str) -> str:
        """Return the file's path in the first folder that has it. Raises AudioError if it leads outside that folder."""
        found = next((folder for folder in self.folders if folder.exists(name)), self.folders[0])
        return found.path(name)


class StoredFiles:
    """Gives access to the audio of rows that `datasets` loaded, whose paths may be absolute: only below `folders`."""

    def __init__(self, label: str, folders: Sequence[Path]) -> None:
        self.label = label
        self.folders = tuple(folders)

    def names(self, folder: str) -> Iterable[str]:
        """Return nothing: the rows name their files."""
        return ()

    def exists(self, name: str) -> bool:
        """Return whether the file exists below the folders."""
        try:
            return os.path.isfile(self.path(name))
        except AudioError:
            return False

    def fetch(self, names: Sequence[str]) -> None:
        """Do nothing: `datasets` has stored the files."""

    def path(self, name: str) -> str:
        """Return the file's path; a relative name starts at the first folder. Raises AudioError if it leads outside."""
        if not name or "\0" in name:
            raise AudioError(f"{name!r}: is no path inside the dataset's root")
        path = os.path.join(self.folders[0], name)
        if not within(path, self.folders):
            allowed = " or ".join(map(str, self.folders))
            raise AudioError(
                f"{name}: leads outside the dataset's root {allowed}; --data_dir allows its folder"
            )
        return path


def walks(root: Path, parent: str, name: str) -> bool:
    """Return whether a folder below the root is walked: a link is, if it leads to another place inside the root."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return True
    # a link to a folder above itself would be walked for ever
    return within(path, [root]) and not within(parent, [Path(path)])


def within(path: str | Path, folders: Iterable[Path]) -> bool:
    """Return whether a path, with links followed, is one of the folders or lies below one."""
    real = os.path.join(os.path.realpath(path), "")
    return any(real.startswith(os.path.join(os.path.realpath(folder), "")) for folder in folders)


def names_folder(path: str) -> bool:
    """Return whether a dataset_path is a folder's path, and not a repository's name on the hub."""
    return path.startswith((".", "/", "~")) or "\\" in path or path.count("/") > 1 or os.path.isabs(path)


def allowed_path(name: str, folders: Sequence[Path], where: str) -> Path:
    """Return the first existing path of `name` below one of the folders; `where` begins the message.

    A task file is not trusted: it may name what lies beside it, in the current folder or below --data_dir. Raises
    MarathonError for a path outside of all folders, and for one that does not exist.
    """
    if "\0" in name:
        raise MarathonError(f"{where}: {name!r}: is no path")
    paths = [folder / name for folder in folders]
    allowed = [path for path in paths if within(path, folders)]
    if not allowed:
        raise MarathonError(
            f"{where}: {name}: lies outside --data_dir, the task's folder and the current folder; "
            f"allow it with --data_dir {paths[0].parent}"
        )
    # not Path.exists, which raises for a name that is too long
    found = next((path for path in allowed if os.path.exists(path)), None)
    if found is None:
        raise MarathonError(f"{where}: {name}: no such file or folder below {' or '.join(map(str, folders))}")
    return found


def inside(name: str, root: str = "") -> str:
    """Return a relative name in normal form. Raises AudioError if it is absolute or leads out of the root.

    `root` is what the message calls the root, and the hint with it says how a path elsewhere is written.
    """
    clean = posixpath.normpath(name.replace("\\", "/"))
    if not name or "\0" in name or clean.startswith(("/", "../")) or clean in (".", "..") or ":" in clean[:3]:
        hint = f" {root}: write it relative to the folder that --data_dir names" if root else ""
        raise AudioError(f"{name!r}: is no path inside the dataset's root{hint}")
    return clean


def locate(source: Source, folder: str, name: str) -> str | None:
    """Find a clip beside its metadata file or in `wav/` there; return its name relative to the root, or None.

    The AudioMarathon release has some tasks' clips in `wav/`, which their metadata omit. Audio that stood inside the
    table has its own name. Raises AudioError.
    """
    if isinstance(name, EmbeddedAudio):
        return str(name)
    for parent in (folder, f"{folder}/wav" if folder else "wav"):
        clean = inside(name if name.startswith("/") or not parent else f"{parent}/{name}", source.label)
        if source.exists(clean):
            return clean
    if folder and not isinstance(source, LocalFolder):
        # the rows' own folder need not exist below --data_dir or in an archive
        clean = inside(name, source.label)
        return clean if source.exists(clean) else None
    return None


def match_tree(source: Source, patterns: Sequence[str], where: str) -> list[dict[str, str]]:
    """Make rows from file names: the captures of each matching file and its `path`, sorted by path.

    `{name}` captures one path component or a part of one, `{name:real|fake}` only these words. The first
    pattern that matches any file is used. Raises MarathonError if none does.
    """
    for pattern in patterns:
        expression = re.compile(_expression(pattern))
        folder = posixpath.dirname(pattern.split("{", 1)[0])
        try:
            inside(pattern)
        except AudioError as error:
            raise MarathonError(f"{where}: file_tree: {error}") from None
        matches = ((name, expression.fullmatch(name)) for name in source.names(folder))
        rows = [{"path": name, **match.groupdict()} for name, match in matches if match]
        if rows:
            return sorted(rows, key=lambda row: row["path"])
    raise MarathonError(f"{where}: {source.label} holds no file like {' or '.join(patterns)}")


def _expression(pattern: str) -> str:
    """Convert a file_tree pattern to a regular expression; text outside of captures is literal."""
    parts, position = [], 0
    for capture in _CAPTURE.finditer(pattern):
        name, words = capture.groups()
        inner = "|".join(map(re.escape, words.split("|"))) if words else "[^/]+"
        parts += [re.escape(pattern[position : capture.start()]), f"(?P<{name}>{inner})"]
        position = capture.end()
    return "".join([*parts, re.escape(pattern[position:])])


def _allowed_roots(root: Path) -> tuple[str, ...]:
    """Return the root with a trailing slash; for a snapshot in the hub's cache also the folder of its blobs."""
    real = root.resolve()
    roots = [real, real.parent.parent / "blobs"] if real.parent.name == "snapshots" else [real]
    return tuple(os.path.join(folder, "") for folder in roots)
