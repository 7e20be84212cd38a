"""One stored answer: how it is written down, told whole from damaged, and read again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.model import NO_DETAILS, Entry, Request, Response, Usage
from marathon_eval.files import canonical_json, sha256_of, utf8


def storable(value: Any) -> str:
    """The value's JSON as sqlite takes it: a lone surrogate, which is no UTF-8, is written as its escape."""
    text = canonical_json(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text


def cacheable(request: Request, response: Response) -> bool:
    """Failures and refusals are asked again; a sampled answer without a seed is nobody's to repeat."""
    repeatable = request.generation.temperature == 0 or request.generation.seed is not None
    return repeatable and response.status in ("ok", "unverified")


def check_of(key: str, row: Mapping[str, Any]) -> str:
    """A checksum over an answer's key and content: the key alone proves the request, not what was said to it."""
    content = {name: value for name, value in row.items() if name != "check"}
    return f"{zlib.crc32(utf8(key + canonical_json(content))):08x}"


def is_whole(key: str, value: Any) -> bool:
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


RESPONSE, FINGERPRINT, AUDIO, WEIGHTS = "response/", "fingerprint/", "audio/", "file/"


def belongs(entry: Entry) -> bool:
    """Whether an entry's key is what its content gives; for the audio memo, whether it has its two values."""
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
