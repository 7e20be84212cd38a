"""Finds files of a checkpoint that are not there in full, before anything is loaded; reads a few kilobytes of each.

Two causes are common: a clone without git-lfs, which leaves pointers of three lines in place of the files
(https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md), and a download that broke off.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from marathon_eval.errors import MarathonError

_POINTER = b"version https://git-lfs"
#: No pointer is longer.
_POINTER_BYTES = 1024
#: The longest header that the safetensors library accepts.
_HEADER_BYTES = 100_000_000


def refuse_pointers(folder: Path, files: Iterable[Path], flag: str) -> None:
    """Raise MarathonError that names the git-lfs pointers among `files`."""
    pointers = [file.name for file in files if _is_pointer(file)]
    if pointers:
        raise MarathonError(
            f"{flag}: pretrained={folder}: {', '.join(sorted(pointers))}: git-lfs pointers, not the files themselves: run "
            "'git lfs install' and 'git lfs pull' in that folder"
        )


def refuse_truncated(files: Iterable[Path]) -> None:
    """Raise MarathonError for the first weight file that is shorter or longer than its own table of contents says."""
    for file in files:
        fault = _safetensors_fault(file) if file.suffix == ".safetensors" else _pickle_fault(file)
        if fault is not None:
            raise MarathonError(f"{file}: {fault}: download it again")


def _is_pointer(file: Path) -> bool:
    if file.stat().st_size > _POINTER_BYTES:
        return False
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER


def _safetensors_fault(file: Path) -> str | None:
    """Return what is wrong with a file of https://huggingface.co/docs/safetensors, as far as its header tells."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(_HEADER_BYTES, max(size - 8, 0)):
            return f"is no whole safetensors file ({size:,} bytes, with a header of {length:,})"
        try:
            header = json.loads(opened.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            promised = 8 + length + max(ends, default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            return f"is no safetensors file (header: {type(error).__name__})"
    if size == promised:
        return None
    return (
        f"is cut short: its header promises {promised:,} bytes, it has {size:,}"
        if size < promised
        else (f"has {size:,} bytes, {size - promised:,} more than its header promises")
    )


def _pickle_fault(file: Path) -> str | None:
    """Return what is wrong with a file of torch.save: a zip archive since torch 1.6, whose table stands at the end."""
    with file.open("rb") as opened:
        begins_as_zip = opened.read(2) == b"PK"
    if begins_as_zip and not zipfile.is_zipfile(file):
        return f"is cut short: the end of the archive is missing ({file.stat().st_size:,} bytes)"
    return None if file.stat().st_size else "is empty"
