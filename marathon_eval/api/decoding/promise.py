"""What the structure of an audio file says before anything is decoded: its length, its parts, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass

#: Programs that stream write these instead of a length.
UNKNOWN_LENGTHS = (0xFFFFFFFF, 0x7FFFFFFF, 0)
#: Texts of errors that doctor lists as faults of their own kind.
HOLDS_NONE = "holds no audio"
NOT_FINITE = "damaged (it holds samples that are not numbers)"


@dataclass(frozen=True)
class Promise:
    """Holds the result of examining a file's structure.

    `fault` says why the file is not whole; None if nothing speaks against it. `parts` are the byte ranges of files
    that were joined into one; a single part covers the file. `libsndfile` is whether that library reads the whole
    of it; `frames` the number of sample frames that the structure proves, None if only decoding can tell.
    """

    container: str
    fault: str | None = None
    parts: tuple[tuple[int, int], ...] = ()
    libsndfile: bool = True
    frames: int | None = None
