"""Bounds the replies of a hub: the bytes of a file by the size that the hub announced, an answer's by a limit, all in time.

huggingface_hub compares a file's size with the announced one when the last byte has come, and reads an answer of any
length into memory; a server that lies could fill the disk or the memory before that. The bounds lie in the HTTP
client's response hook, which every request passes. Source: huggingface_hub/file_download.py, `http_get`.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from marathon_eval.api.unpacked_reply import reply_unpacker, unpacked_parts

#: Limit in bytes of an answer about a repository, unpacked; the names of 500,000 files take about 50 MB.
MAX_ANSWER_BYTES = 256 << 20
#: A reply that has sent less than LEAST_RATE bytes a second on average, after PATIENCE_S seconds, is given up.
PATIENCE_S, LEAST_RATE = 60.0, 1024
#: Sizes in bytes that the hub announced, by address.
_announced: dict[str, int] = {}


class HubLie(OSError):
    """Reports a reply that no hub sends; an OSError, as the hub's own errors are."""


def note_size(response: Any) -> None:
    """Remember the size that a reply announces for its file. Raises HubLie for a size that is none."""
    address = str(response.url)
    size = response.headers.get("x-linked-size")
    if size is None and response.request.method == "HEAD" and response.status_code == 200:
        size = response.headers.get("content-length")
    if size is not None:
        _announced[address] = _size(size, "size")
    if (target := response.headers.get("location")) is not None and address in _announced:
        _announced[str(response.url.join(target))] = _announced[address]


def bound_body(response: Any) -> None:
    """Replace the body by one with bounds, which also unpacks it. Raises HubLie for a body that is too large."""
    if response.request.method == "HEAD":
        return
    headers, announced = response.headers, _announced.get(str(response.url))
    try:
        unpacker = reply_unpacker(headers.pop("content-encoding", "identity").strip().lower())
    except ValueError as error:
        raise HubLie(str(error)) from None
    announced = _asked_bytes(response.request) or announced
    length, limit = headers.get("content-length"), MAX_ANSWER_BYTES if announced is None else announced
    if unpacker is not None:
        headers.pop("content-length", None)  # of the packed bytes
    elif length is not None and (announced is not None or "/api/" not in response.url.path):
        size = _size(length, "length")
        if announced is not None and size > announced:
            raise HubLie(f"the hub sends {size} bytes where {announced} were announced or asked for")
        _check_disk(size)
        limit = size
    package = type(response).__module__.partition(".")[0]
    response.stream = _stream_class(package)(response.stream, limit, unpacker)


def _asked_bytes(request: Any) -> int | None:
    """Return the number of bytes that a request for a range asks for; None for one without an end."""
    match = re.fullmatch(r"bytes=(\d{1,19})-(\d{1,19})", request.headers.get("range", ""))
    return None if match is None else max(0, int(match[2]) - int(match[1]) + 1)


def _size(text: str, what: str) -> int:
    """Return the number of bytes that a header states. Raises HubLie for one that states none."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise HubLie(f"the hub's reply states no {what}: {text[:80]!r}")
    return int(text)


def _check_disk(size: int) -> None:
    """Raise HubLie for a body that the disk of the hub's cache has no room for."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cache_folder = Path(HF_HUB_CACHE).absolute()
    folder = next(path for path in (cache_folder, *cache_folder.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise HubLie(
            f"the hub sends a file of {size / 1e9:.1f} GB, but {folder} has room for {free / 1e9:.1f} GB"
        )


@cache
def _stream_class(package: str) -> type[Any]:
    """Return the class of bounded bodies for an HTTP client's package, which is httpx or httpx2."""
    base = import_module(package).SyncByteStream

    class BoundedBody(base):  # type: ignore[misc, valid-type]  # the class is the client's
        def __init__(self, stream: Any, limit: int, unpacker: Any) -> None:
            self._stream, self._limit, self._unpacker = stream, limit, unpacker

        def __iter__(self) -> Iterator[bytes]:
            began, received, left = time.monotonic(), 0, self._limit
            for chunk in self._stream:
                received += len(chunk)
                seconds = time.monotonic() - began
                if seconds > PATIENCE_S and received < LEAST_RATE * seconds:
                    raise HubLie(f"the hub sent {received} bytes in {seconds:.0f} s")
                try:
                    for part in unpacked_parts(self._unpacker, chunk):
                        left -= len(part)
                        if left < 0:
                            raise HubLie(
                                f"the hub sends more than {self._limit} bytes, which is the limit of this reply"
                            )
                        yield part
                except ValueError as error:
                    raise HubLie(str(error)) from None

        def close(self) -> None:
            self._stream.close()

    return BoundedBody
