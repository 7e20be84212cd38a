"""A run as one file: a tar.gz of plain files with plain names, written so that equal contents give equal bytes.

Reading trusts nothing: no entry is ever extracted by its name, links and devices are refused, sizes are bounded,
and every file has to have the hash that the archive's list says.
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

FORMAT = 1
LIST = "MANIFEST.json"
MAX_FILES = 10_000
MAX_BYTES = 512 << 20
#: What tar says of an entry beyond its header's fixed fields.
MAX_HEADER = 1 << 16
_FURTHER = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_PLAIN = re.compile(r"\w[\w.~+@-]*(/\w[\w.~+@-]*)*", re.ASCII)


class _Entry(tarfile.TarInfo):
    """An entry whose long name or further header is short, as `pack` writes them: tarfile reads those whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _FURTHER and not 0 <= entry.size <= MAX_HEADER:
            raise tarfile.HeaderError(f"a header of {entry.size} bytes")
        return entry


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files and a list of their hashes, by rename. Raises MarathonError for a name that reading would refuse."""
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
                entry = tarfile.TarInfo(_plain(name, path))
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise MarathonError(f"{path}: cannot write ({error.strerror})") from None


def read_archive(path: Path) -> dict[str, bytes]:
    """The files by name, every hash checked. Raises MarathonError."""
    try:
        with tarfile.open(path, mode="r:gz", tarinfo=_Entry) as tar:
            files = _members(tar, path)
    except OSError as error:
        raise MarathonError(f"{path}: cannot read ({error.strerror or error})") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError) as error:
        raise MarathonError(f"{path}: is no archive of `pack`, or is damaged ({error})") from None
    hashes = _listed(files.pop(LIST, b""), path)
    if set(hashes) != set(files):
        odd = sorted(set(hashes) ^ set(files))
        raise MarathonError(f"{path}: its list and its files differ: {odd[0]}")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
            raise MarathonError(f"{path}: {name} is not what was packed: its sha256 differs")
    return files


def _members(tar: tarfile.TarFile, path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    for entry in tar:
        name = _plain(entry.name, path)
        left -= entry.size
        if not entry.isreg() or entry.issparse() or name in files:
            raise MarathonError(f"{path}: {name!r} is no plain file, or comes twice")
        if left < 0 or len(files) >= MAX_FILES:
            raise MarathonError(f"{path}: holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
        content = tar.extractfile(entry)
        files[name] = b"" if content is None else content.read()
    return files


def _plain(name: str, path: Path) -> str:
    if not _PLAIN.fullmatch(name) or len(name) > 200:
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
