"""Writes and reads a run's archive: a tar.gz of regular files, reproducible byte by byte from equal contents.

Reading treats the archive as untrusted: no entry is extracted to disk, links and devices are refused, sizes are
bounded, and every file must have the sha256 that the archive's MANIFEST.json lists.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from marathon_eval.errors import MarathonError
from marathon_eval.files import replaced_atomically

#: Version of the archive's format.
FORMAT = 1
#: Name of the entry that lists the files' hashes.
LIST = "MANIFEST.json"
#: Limits of an archive that is read: files, and bytes in total.
MAX_FILES = 10_000
MAX_BYTES = 512 << 20
#: Limit in bytes of an extended tar header (long names, PAX records), which tarfile reads whole.
MAX_HEADER = 1 << 16
_EXTENDED_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_NAME = re.compile(r"\w[\w.~+@-]*(/\w[\w.~+@-]*)*", re.ASCII)


class _Entry(tarfile.TarInfo):
    """Refuses an entry with an extended header above MAX_HEADER before tarfile reads it; `pack` writes short ones."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _EXTENDED_HEADERS and not 0 <= entry.size <= MAX_HEADER:
            raise tarfile.HeaderError(f"a header of {entry.size} bytes")
        return entry


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files and the list of their hashes to a temporary file, and rename it to `path`.

    Raises MarathonError for a file name that `read_archive` would refuse, and if the file cannot be written.
    """
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    listed = json.dumps({"marathon_eval_archive": FORMAT, "sha256": hashes}, indent=1).encode()
    try:
        with (
            replaced_atomically(path) as temporary,
            temporary.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, content in [(LIST, listed), *((name, files[name]) for name in hashes)]:
                entry = tarfile.TarInfo(_checked_name(name, path))
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise MarathonError(f"{path}: cannot write ({error.strerror})") from None


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the content of the files by name, after checking every hash. Raises MarathonError."""
    try:
        with tarfile.open(path, mode="r:gz", tarinfo=_Entry) as tar:
            files = _members(tar, path)
    except OSError as error:
        raise MarathonError(f"{path}: cannot read ({error.strerror or error})") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError) as error:
        raise MarathonError(f"{path}: is no archive of `pack`, or is damaged ({error})") from None
    hashes = _listed(files.pop(LIST, b""), path)
    if set(hashes) != set(files):
        unmatched = sorted(set(hashes) ^ set(files))
        raise MarathonError(f"{path}: its list and its files differ: {unmatched[0]}")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
            raise MarathonError(f"{path}: {name} is not what was packed: its sha256 differs")
    return files


def _members(tar: tarfile.TarFile, path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    bytes_left = MAX_BYTES
    for entry in tar:
        name = _checked_name(entry.name, path)
        bytes_left -= entry.size
        if not entry.isreg() or entry.issparse() or name in files:
            raise MarathonError(f"{path}: {name!r} is no plain file, or comes twice")
        if bytes_left < 0 or len(files) >= MAX_FILES:
            raise MarathonError(f"{path}: holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
        content = tar.extractfile(entry)
        files[name] = b"" if content is None else content.read()
    return files


def _checked_name(name: str, path: Path) -> str:
    """Return the name; raise MarathonError unless it is a short relative path of plain characters."""
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise MarathonError(f"{path}: {name!r} is no plain name for a file in an archive")
    return name


def _listed(content: bytes, path: Path) -> dict[str, str]:
    try:
        listed = json.loads(content)
        hashes = listed["sha256"] if listed["marathon_eval_archive"] == FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError):
        hashes = None
    if not isinstance(hashes, dict):
        raise MarathonError(f"{path}: has no {LIST} of format {FORMAT}: it was not made by `pack`")
    return hashes
