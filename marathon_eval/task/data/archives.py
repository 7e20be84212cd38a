"""Finds audio in the archives that a data set is published in; each is unpacked once, when a file is missing beside it."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from marathon_eval.api.file_identity import file_identity
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.files import default_folder
from marathon_eval.task.data.sources import LocalFolder, Source

#: An archive is refused if it unpacks to more than both these bytes and this multiple of its size, or to more files.
ARCHIVE_BYTES, ARCHIVE_TIMES, ARCHIVE_FILES = 1 << 30, 20, 10_000_000


class ArchivedFiles:
    """Reads files of a data set, and those that it lacks from its archives."""

    def __init__(self, inner: Source, archives: Sequence[str], where: str) -> None:
        self.label = inner.label
        self.inner = inner
        self.archives = archives
        self.where = where
        self._folders: list[LocalFolder] | None = None

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of all files below a folder, outside and inside the archives."""
        sources: list[Source] = [self.inner, *self._unpacked()]
        yield from dict.fromkeys(name for source in sources for name in source.names(folder))

    def exists(self, name: str) -> bool:
        """Return whether the file exists; only for one that does not, the archives are unpacked."""
        return self.inner.exists(name) or any(folder.exists(name) for folder in self._unpacked())

    def fetch(self, names: Sequence[str]) -> None:
        """Download the files that are outside of archives."""
        self.inner.fetch([name for name in names if self.inner.exists(name)])

    def path(self, name: str) -> str:
        """Return the file's path on this machine. Raises AudioError if it is missing or outside the root."""
        if self.inner.exists(name):
            return self.inner.path(name)
        found = next((folder for folder in self._unpacked() if folder.exists(name)), None)
        return self.inner.path(name) if found is None else found.path(name)

    def _unpacked(self) -> list[LocalFolder]:
        if self._folders is None:
            present = [name for name in self.archives if self.inner.exists(name)]
            self._folders = [
                LocalFolder(unpacked(Path(self.inner.path(name)), self.where)) for name in present
            ]
        return self._folders


def unpacked(archive: Path, where: str) -> Path:
    """Return the folder with an archive's files below the cache folder; unpack it first if needed.

    Raises MarathonError, whose text `where` begins, for a damaged archive, one that leads outside of its folder, and one
    that unpacks to far more than its size.
    """
    real = Path(os.path.realpath(archive))
    identity = hashlib.sha256(f"{real}|{file_identity(str(real)).text}".encode(errors="surrogateescape"))
    target = default_folder() / "unpacked" / identity.hexdigest()[:32]
    if target.is_dir():
        return target
    print(f"marathon-eval: unpacking {archive.name} to {target}", file=sys.stderr)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # renamed when it is whole: a kill leaves a folder that nothing reads
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as folder:
            inner = Path(folder, "files")
            inner.mkdir()
            _extract(real, inner)
            inner.rename(target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, OSError, AudioError) as error:
        if target.is_dir():  # another process was faster
            return target
        raise MarathonError(f"{where}: archives: {archive.name}: cannot be unpacked ({error})") from None
    return target


def _extract(archive: Path, folder: Path) -> None:
    most = max(ARCHIVE_BYTES, ARCHIVE_TIMES * archive.stat().st_size)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            _hold(sum(entry.file_size for entry in entries), len(entries), most)
            for entry in entries:
                zipped.extract(entry, folder)
        return
    total = 0
    with tarfile.open(archive) as tarred:
        for count, member in enumerate(tarred):
            total += member.size
            _hold(total, count, most)
            if member.isfile():  # links and devices are no audio
                tarred.extract(member, folder, filter="data")


def _hold(total: int, files: int, most: int) -> None:
    if total > most or files > ARCHIVE_FILES:
        raise AudioError(f"it unpacks to more than the limit of {most} bytes or {ARCHIVE_FILES} files")
