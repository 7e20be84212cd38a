"""Paths of the installed package."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError

#: marathon_eval/ itself: it holds data/ and the links models, presses and tasks
PACKAGE = Path(__file__).resolve().parent


#: What JSON has no form for, as a date of a breakdown column, is written as its label is: as text.
_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


@contextmanager
def replaced_atomically(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Yield the path of a temporary file to write; rename it to `path` when the block ends, delete it when it raises.

    Readers therefore see the old file or the whole new one. `temporary` must lie in the folder of `path`; by default it
    is `.NAME.PID`. Raises OSError when the rename fails.
    """
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the error of the block is the one to report
            temporary.unlink(missing_ok=True)
        raise


def write_synced(path: Path, parts: Iterable[str] | Iterable[bytes]) -> None:
    """Write text (as UTF-8) or bytes, and return once the content is on the disk (fsync). Raises OSError."""
    with path.open("wb") as file:
        file.writelines(part.encode() if isinstance(part, str) else part for part in parts)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, parts: Iterable[str] | Iterable[bytes]) -> None:
    """Write text or bytes to a temporary file, then rename it to `path`. Raises MarathonError when writing fails."""
    try:
        with replaced_atomically(path) as temporary:
            write_synced(temporary, parts)
    except OSError as error:
        raise MarathonError(f"{path}: cannot write ({error.strerror})") from None


def json_line(row: Mapping[str, Any]) -> str:
    text = _LINE.encode(row)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, from the data or a model, is no UTF-8; its escape is JSON
        text = json.dumps(row, separators=(",", ":"), default=str)
    return text + "\n"


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: what is hashed."""
    return _CANONICAL.encode(value)


def sha256_of(value: Any) -> str:
    # a lone surrogate, as a row's JSON may hold, is no UTF-8, and must cost its row alone
    return hashlib.sha256(utf8(canonical_json(value))).hexdigest()


def default_folder() -> Path:
    """`$MARATHON_EVAL_CACHE`, else the user's cache folder."""
    named = os.environ.get("MARATHON_EVAL_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marathon_eval"


#: Made once: json.dumps makes an encoder for every call with settings of its own.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # two halves of a pair, as a server may send them apart, are one character once they were written as JSON
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return paired.encode(errors="surrogatepass")
