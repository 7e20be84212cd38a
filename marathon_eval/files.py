"""Writes files atomically, serialises JSON, hashes JSON values, and locates the package and its cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError

#: The folder marathon_eval/, which holds data/ and links to models, presses and tasks.
PACKAGE = Path(__file__).resolve().parent

#: Values that JSON has no type for, such as a date in a breakdown column, are written as text, as in their labels. A value that
#: contains itself ends in a RecursionError, without a check that every list and dict would pay for; `too_deep` then says where it is.
_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str, check_circular=False)


@contextmanager
def replaced_atomically(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` when the block ends, or delete it when the block raises.

    Readers therefore see the old file or the whole new one. `temporary` must lie in the folder of `path`; by
    default it is `.NAME.HOST.PID`, and those that killed processes of this host left there are deleted. Raises OSError
    when the rename fails.
    """
    if temporary is None:
        beginning = f".{path.name}.{host_name()}."
        _delete_abandoned(path.parent, beginning)
        temporary = path.with_name(f"{beginning}{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the error of the block is the one to report
            temporary.unlink(missing_ok=True)
        raise


def host_name() -> str:
    """Return a short name of this machine: a process number says nothing about other machines of a shared disk."""
    return hashlib.sha256(os.uname().nodename.encode() if hasattr(os, "uname") else b"").hexdigest()[:8]


def _delete_abandoned(folder: Path, beginning: str) -> None:
    """Delete the temporary files of processes that do not run any more, of one file and this host."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(beginning)]
    except OSError:  # whoever writes there says so
        return
    for name in names:
        number = name.removeprefix(beginning)
        if number.isdecimal() and number.isascii() and not process_runs(int(number)):
            with suppress(OSError):
                (folder / name).unlink()


def process_runs(process: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


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
    """Return the row as one line of JSON with its newline; lone surrogates, which UTF-8 can't encode, are escaped.

    Values that JSON has no type for are written as text. Raises MarathonError for a value that contains itself.
    """
    try:
        text = _LINE.encode(row)
    except RecursionError:
        raise MarathonError(too_deep(row)) from None
    try:
        text.encode()
    except (
        UnicodeEncodeError
    ):  # the data or a model may contain a lone surrogate, which only a JSON escape can write
        text = json.dumps(row, separators=(",", ":"), default=str)
    return text + "\n"


def plain_json_line(row: Mapping[str, Any]) -> str:
    """Return what json_line returns, but for the notation of floats, in a third of its time.

    The row must contain nothing but JSON's own types: pydantic writes dates, sets and bytes in ways of its own.
    """
    from pydantic_core import to_json

    try:
        return to_json(row).decode() + "\n"
    except ValueError:  # lone surrogates, and types that pydantic does not know either
        return json_line(row)


def parsed_json(text: str) -> Any:
    """Parse JSON text as json.loads does, in less than half of its time. Raises ValueError or RecursionError."""
    from pydantic_core import from_json

    try:
        return from_json(text, cache_strings="keys")
    except (ValueError, TypeError):  # json also takes lone surrogates and more than 200 levels
        return json.loads(text)


def too_deep(value: Any) -> str:
    """Return why JSON can't hold a value that no encoder could finish: `fields.tree[0] contains itself, ...`."""
    place = containing_itself(value)
    return f"{place} contains itself, which JSON cannot hold" if place else "nested too deeply for JSON"


def containing_itself(value: Any) -> str | None:
    """Return where in nested mappings and lists a value contains itself, such as `tree[0].up`; None if none does."""
    waiting: list[tuple[Any, _Steps | None, bool]] = [(value, None, False)]
    above: set[int] = set()
    seen: set[int] = set()
    while waiting:
        each, steps, left = waiting.pop()
        if left:
            above.remove(id(each))
        elif id(each) in above:
            return _place(steps)
        elif id(each) not in seen and isinstance(each, Mapping | list | tuple):
            seen.add(id(each))
            above.add(id(each))
            waiting.append((each, steps, True))
            if isinstance(each, Mapping):
                waiting += [(part, (f".{key}", steps), False) for key, part in each.items()]
            else:
                waiting += [(part, (f"[{number}]", steps), False) for number, part in enumerate(each)]
    return None


#: The last step to a place, and those before it.
_Steps = tuple[str, "_Steps | None"]


def _place(steps: _Steps | None) -> str:
    """Return the place that the steps lead to, as `tree[0].up`."""
    words: list[str] = []
    while steps is not None:
        word, steps = steps
        words.append(word)
    return "".join(reversed(words)).removeprefix(".")


def canonical_json(value: Any) -> str:
    """Return the JSON text of a value that hashes are computed over: sorted keys, no spaces."""
    return _CANONICAL.encode(value)


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    # utf8() also encodes lone surrogates, which a row's JSON may contain: one such row must not stop the run
    return hashlib.sha256(utf8(canonical_json(value))).hexdigest()


def default_folder() -> Path:
    """Return the cache folder: `$MARATHON_EVAL_CACHE`, else `marathon_eval` in the user's cache folder."""
    folder = os.environ.get("MARATHON_EVAL_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marathon_eval"


#: One encoder for all calls: json.dumps would build a new one for each call with these settings.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False)


def utf8(text: str) -> bytes:
    """Encode text as UTF-8. A surrogate pair becomes its character, a lone surrogate the three bytes of its code."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        # a server may send the two halves of a pair apart; a round trip through JSON joins them to one character
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return paired.encode(errors="surrogatepass")
