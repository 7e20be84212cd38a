"""Serialises a cache entry, verifies its checksum, and reads the response back."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from marathon_eval.api.model import NO_DETAILS, Entry, Request, Response, Usage
from marathon_eval.files import canonical_json, sha256_of, too_deep, utf8


def storable(value: Any) -> str:
    """Return the value's canonical JSON; lone surrogates, which UTF-8 can't encode, are escaped."""
    text = canonical_json(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text


def cacheable(request: Request, response: Response) -> bool:
    """Return whether to store a response: not errors, not refusals, and not sampling without a seed."""
    repeatable = request.generation.temperature == 0 or request.generation.seed is not None
    return repeatable and response.status in ("ok", "unverified")


def as_recorded(response: Response) -> tuple[dict[str, Any], Response]:
    """Return a response as its entry holds it, and the response: a failed one where its details contain themselves."""
    try:
        return asdict(response), response
    except RecursionError:
        failed = Response.failed(too_deep({"usage": {"details": response.usage.details}}))
        return asdict(failed), failed


def check_of(key: str, row: Mapping[str, Any]) -> str:
    """Return a checksum over an entry's key and content; the key alone covers the request and not the response."""
    content = {name: value for name, value in row.items() if name != "check"}
    return _checksum(key, canonical_json(content))


def _checksum(key: str, content: str) -> str:
    return f"{zlib.crc32(utf8(key + content)):08x}"


#: How the stored text of an entry with a checksum begins.
_CHECKED = re.compile(r'\{"check":"([0-9a-f]{8})",')


def is_whole(key: str, value: Any, text: object = "") -> bool:
    """Return whether an entry is intact; `text` is its stored JSON, which saves encoding it again.

    An entry without a checksum, as early versions wrote them, must at least have the fields of its kind.
    """
    # in canonical JSON the checksum comes first
    checked = _CHECKED.match(text) if isinstance(text, str) else None
    if checked is not None and checked[1] == _checksum(key, "{" + checked.string[checked.end() :]):
        return True
    if isinstance(value, dict) and "check" in value:
        return bool(value["check"] == check_of(key, value))
    if key.startswith("audio/"):
        return isinstance(value, list) and list(map(type, value)) in ([str, float], [str, int])
    return not key.startswith("response/") or _holds_response(value)


def _holds_response(value: Any) -> bool:
    try:
        response = response_from(value["response"])
    except (TypeError, KeyError, ValueError):
        return False
    return isinstance(response.text, str) and isinstance(response.status, str)


def response_from(stored: Mapping[str, Any]) -> Response:
    """Build the response from an entry's JSON. Raises KeyError or TypeError for missing or unknown fields."""
    usage = Usage(**{**stored["usage"], "details": stored["usage"].get("details") or NO_DETAILS})
    return Response(**{**stored, "usage": usage})


#: Prefixes of keys: responses, fingerprints of models, facts of audio, hashes of weight files.
RESPONSE, FINGERPRINT, AUDIO, WEIGHTS = "response/", "fingerprint/", "audio/", "file/"


def belongs(entry: Entry) -> bool:
    """Return whether an entry's key is the hash of its content; audio facts need two values, weight hashes a text."""
    key, value = entry
    try:
        if key.startswith(RESPONSE):
            text = value["response"]["text"]
            expected = sha256_of([value["fingerprint"], value["request"]])
            return isinstance(text, str) and key == RESPONSE + expected and is_whole(key, value)
        if key.startswith(FINGERPRINT):
            return key == FINGERPRINT + sha256_of(value)
        if key.startswith(WEIGHTS):
            return isinstance(value, str)
        return key.startswith(AUDIO) and len(value) == 2
    except (KeyError, TypeError):
        return False
