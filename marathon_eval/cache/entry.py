"""One stored answer: how it is written down, told whole from damaged, and read again."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from marathon_eval.api.model import NO_DETAILS, Request, Response, Usage

#: Made once: json.dumps makes an encoder for every call with settings of its own.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class Entry(NamedTuple):
    """One row of the cache, as stored."""

    key: str
    value: Any


def canonical(value: Any) -> str:
    """The one JSON text of a value: what is hashed."""
    return _CANONICAL.encode(value)


def storable(value: Any) -> str:
    """The value's JSON as sqlite takes it: a lone surrogate, which is no UTF-8, is written as its escape."""
    text = canonical(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text


def sha256_of(value: Any) -> str:
    # a lone surrogate, as a row's JSON may hold, is no UTF-8, and must cost its row alone
    return hashlib.sha256(_bytes(canonical(value))).hexdigest()


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # two halves of a pair, as a server may send them apart, are one character once they were written as JSON
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return paired.encode(errors="surrogatepass")


def cacheable(request: Request, response: Response) -> bool:
    """Failures and refusals are asked again; a sampled answer without a seed is nobody's to repeat."""
    repeatable = request.generation.temperature == 0 or request.generation.seed is not None
    return repeatable and response.status in ("ok", "unverified")


def check_of(key: str, row: Mapping[str, Any]) -> str:
    """A checksum over an answer's key and content: the key alone proves the request, not what was said to it."""
    content = {name: value for name, value in row.items() if name != "check"}
    return f"{zlib.crc32(_bytes(key + canonical(content))):08x}"


def whole(key: str, value: Any) -> bool:
    """Whether an entry is as it was written; one without a checksum (an early cache's) must have an answer's parts."""
    if isinstance(value, dict) and "check" in value:
        return bool(value["check"] == check_of(key, value))
    if key.startswith("audio/"):
        return isinstance(value, list) and list(map(type, value)) in ([str, float], [str, int])
    return not key.startswith("response/") or _is_answer(value)


def _is_answer(value: Any) -> bool:
    try:
        response = response_from(value["response"])
    except (TypeError, KeyError, ValueError):
        return False
    return isinstance(response.text, str) and isinstance(response.status, str)


def response_from(stored: Mapping[str, Any]) -> Response:
    usage = Usage(**{**stored["usage"], "details": stored["usage"].get("details") or NO_DETAILS})
    return Response(**{**stored, "usage": usage})
