"""Computes the keys of cached responses: a hash of everything that the model gets, and of its fingerprint."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any, NamedTuple

from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.request import Generation, Request
from marathon_eval.cache.entry import repeatable
from marathon_eval.files import sha256_of


class Keyed(NamedTuple):
    """Holds a request's key, the JSON that the key is a hash of (with the model's fingerprint), and its clips' seconds."""

    key: str
    described: dict[str, Any]
    seconds: float


def keyed_by(fingerprint_sha256: str, request: Request, facts: Mapping[Audio, AudioFacts]) -> Keyed:
    """Return the key of a request whose clips have these facts."""
    described: dict[str, Any] = {
        "prompt": request.prompt,
        "system": request.system,
        "audio": [facts[audio].sha256 for audio in request.audios],
        "generation": _as_dict(request.generation),
    }
    if request.reply_schema is not None:
        described["reply_schema"] = request.reply_schema
    if request.placed:
        described["placed"] = True
    if request.earlier:
        described["earlier"] = [list(turn) for turn in request.earlier]
    key = "response/" + sha256_of([fingerprint_sha256, described])
    return Keyed(key, described, sum(facts[audio].seconds for audio in request.audios))


def to_be_sent(keyed: Mapping[Request, Keyed], stored: Container[str]) -> list[Request]:
    """Return the requests that the cache has to send: of those that share a key the first, as `ResponseCache.answer` does."""
    first_of: dict[str, Request] = {}
    return [
        request
        for request, entry in keyed.items()
        if entry.key not in stored
        and (not repeatable(request) or first_of.setdefault(entry.key, request) is request)
    ]


@lru_cache(maxsize=64)
def _as_dict(generation: Generation) -> dict[str, Any]:
    """Return the settings as a dict that must not be changed.

    Cached, because thousands of requests share a few settings.
    """
    return asdict(generation)
