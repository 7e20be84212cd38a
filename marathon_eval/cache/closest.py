"""Finds for requests that a cache lacks how they differ from the closest cached ones.

The file is read once, for the keys of the responses on the same clips; only those that may be closest are parsed.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from marathon_eval.cache.database import TABLE
from marathon_eval.cache.entries import fingerprints, opened_read_only
from marathon_eval.cache.scan import stored_responses

#: Cached requests that one missing request is compared with, those of the most similar models first.
MOST_COMPARED = 200


def closest_differences(
    path: Path, misses: Sequence[Mapping[str, Any]], fingerprint: Mapping[str, Any]
) -> Counter[str]:
    """Count the missing requests by their differences from the cached request that differs least.

    `misses` are requests as a cache entry describes them, `fingerprint` is that of the model that is to answer. Requests on
    the same clip are compared, if there are any. Raises MarathonError.
    """
    wanted = {_audio_of(miss) for miss in misses}
    counts: Counter[str] = Counter()
    with opened_read_only(path) as connection:
        models = {identity: flat(model, "model.") for identity, model in fingerprints(connection).items()}
        asked_model = flat(fingerprint, "model.")
        to_model = {identity: [*differences(model, asked_model)] for identity, model in models.items()}
        candidates = _keys_by_clip(connection, wanted)
        request_of = lru_cache(maxsize=4096)(lambda key: _request(connection, key))
        for miss in misses:
            groups = candidates.get(_audio_of(miss)) or candidates.get("", {})
            counts["; ".join(_closest(flat(miss), groups, to_model, request_of))] += 1
    return counts


def _keys_by_clip(connection: sqlite3.Connection, wanted: set[str]) -> dict[str, dict[str, list[str]]]:
    """Return the keys of responses by clip and fingerprint; under "" some of any clip, for clips without a response."""
    keys: dict[str, dict[str, list[str]]] = {"": {}}
    for number, response in enumerate(stored_responses(connection, wanted, MOST_COMPARED)):
        clips = [response.audio] if response.audio in wanted else []
        for clip in [*clips, ""] if number < MOST_COMPARED else clips:
            of_model = keys.setdefault(clip, {}).setdefault(response.fingerprint, [])
            if len(of_model) < MOST_COMPARED:
                of_model.append(response.key)
    return keys


def _closest(
    miss: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    to_model: Mapping[str, Sequence[str]],
    request_of: Any,
) -> Sequence[str]:
    """Return the fewest differences; stops where no further request can have fewer."""
    best: Sequence[str] | None = None
    compared = 0
    for identity in sorted(groups, key=lambda one: len(to_model.get(one, ()))):
        of_model = to_model.get(identity, ())
        for key in groups[identity]:
            # a request of the same model differs in one thing at least, or it would be a hit
            if (best is not None and len(best) <= max(1, len(of_model))) or compared == MOST_COMPARED:
                return best or []
            compared += 1
            found = [*differences(request_of(key), miss), *of_model]
            best = found if best is None or len(found) < len(best) else best
    return ["the cache is empty"] if best is None else best


def _request(connection: sqlite3.Connection, key: str) -> dict[str, Any]:
    (text,) = connection.execute(f"SELECT value FROM {TABLE} WHERE key = ?", (key,)).fetchone()
    return flat(json.loads(text)["request"])


def _audio_of(described: Mapping[str, Any]) -> str:
    return json.dumps(described["audio"], separators=(",", ":"))


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn `{"press": {"ratio": 0.5}}` into `{"press.ratio": 0.5}`; lists and tuples become the same JSON text."""
    result: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[prefix + key] = json.dumps(value) if isinstance(value, list | tuple) else value
    return result


def differences(stored: Mapping[str, Any], request: Mapping[str, Any]) -> Iterator[str]:
    """Yield a text such as `model.press.ratio: 0.5 stored, 0.3 asked` for every key that differs."""
    for key in sorted(stored.keys() | request.keys()):
        old, new = stored.get(key), request.get(key)
        source = re.fullmatch(r"model\.(?:press_)?source\.(.+)", key)
        if old != new and source:
            what = "is new" if old is None else "is gone" if new is None else "was edited"
            yield f"source file {source[1]} {what}"
        elif old != new:
            yield f"{key}: {shortened_repr(old)} stored, {shortened_repr(new)} asked"


def shortened_repr(value: Any) -> str:
    """Return the value's repr, with the middle of a long one left out."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-16:]}"
