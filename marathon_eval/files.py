"""Paths of the installed package."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError

#: marathon_eval/ itself: it holds data/ and the links models, presses and tasks
PACKAGE = Path(__file__).resolve().parent


#: What JSON has no form for, as a date of a breakdown column, is written as its label is: as text.
_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


def write_atomically(path: Path, parts: Iterable[str]) -> None:
    """Write to a neighbour and rename; raises MarathonError when the disk or the folder refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
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
