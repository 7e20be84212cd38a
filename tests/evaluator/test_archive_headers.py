"""Tests that extended tar headers, which tarfile reads whole, are bounded when an archive is read."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.archive import read_archive


def entry(name: str, kind: bytes) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    return made


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_unpacks_to_a_gigabyte_is_refused_unread(kind: bytes, tmp_path: Path) -> None:
    bomb = entry("a", kind)
    bomb.size = 1 << 30
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(bomb.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20)))
    with pytest.raises(MarathonError, match="a header of 1073741824 bytes"):
        read_archive(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_headers_before_headers_without_end_are_one_error(kind: bytes, tmp_path: Path) -> None:
    further = entry("a", kind)
    content = b"a\0" if kind == tarfile.GNUTYPE_LONGNAME else b"9 path=a\n"
    further.size = len(content)
    one = further.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0")
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(one * 3000 + bytes(1024)))
    with pytest.raises(MarathonError, match="is damaged"):
        read_archive(path)


def test_a_length_of_four_hundred_digits_is_one_error(tmp_path: Path) -> None:
    further = entry("a", tarfile.XHDTYPE)
    content = b"9" * 400 + b" path=a\n"
    further.size = len(content)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(
        gzip.compress(further.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0") + bytes(1024))
    )
    with pytest.raises(MarathonError, match="is damaged"):
        read_archive(path)
