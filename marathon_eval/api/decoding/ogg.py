"""Examines Ogg (RFC 3533): pages one after another, chained streams, and whether the last page is there."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from marathon_eval.api.decoding.promise import Promise

_FIRST, _LAST = 2, 4  # flags of a page that begins or ends a logical stream


class Page(NamedTuple):
    """Holds a page's place, its end, and the fields that order it."""

    at: int
    end: int
    flags: int
    serial: int
    number: int


def examine_ogg(file: BinaryIO, size: int) -> Promise:
    """Return the chained parts of an Ogg file, or what is missing of it."""
    starts: list[int] = []
    numbers: dict[int, int] = {}
    at, lost, flags, begun = 0, 0, 0, False
    while at < size:
        page = _page(file, at)
        if page is None or page.end > size:
            break
        if page.flags & _FIRST:
            if not begun:
                starts.append(page.at)
                numbers = {}
            begun = True
        else:
            begun = False
            lost += max(0, page.number - numbers.get(page.serial, page.number - 1) - 1)
        numbers[page.serial] = page.number
        at, flags = page.end, page.flags
    parts = tuple(zip(starts, [*starts[1:], at], strict=False))
    return Promise("OGG", _fault(file, at, size, flags, lost), parts, libsndfile=len(parts) < 2)


def _fault(file: BinaryIO, at: int, size: int, flags: int, lost: int) -> str | None:
    if lost:
        return f"damaged ({lost} of its pages are missing)"
    if at < size:
        file.seek(at)
        rest = file.read()
        if b"OggS" in rest[:4] or b"OggS" in rest[4:]:
            return f"damaged or cut at byte {at} of {size}"
    return None if flags & _LAST else "the stream lacks its last page"


def _page(file: BinaryIO, at: int) -> Page | None:
    file.seek(at)
    head = file.read(27 + 255)
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    segments = head[26]
    body = sum(head[27 : 27 + segments])
    serial, number = (int.from_bytes(head[place : place + 4], "little") for place in (14, 18))
    return Page(at, at + 27 + segments + body, head[5], serial, number)
