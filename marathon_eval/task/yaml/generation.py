"""Converts generation_kwargs, spelled as in lm-eval and transformers, to the fields of Generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marathon_eval.errors import MarathonError, unknown

#: Arguments of transformers' generate() that this harness refuses, each with the reason.
REFUSED_GENERATION_KEYS = {
    "num_beams": "decode greedily or sample: beam search mixes several KV caches, which a press can't follow",
    "num_return_sequences": "use the task's `repeats` for several answers per row; each repeat has its own seed",
    "cache_implementation": "the cache is a DynamicCache: layers of static caches can't have different lengths",
    "use_cache": "presses need the KV cache: without it every decoding step would compress the audio again",
}
#: Values of such arguments that ask for what is done anyway.
WITHOUT_CHANGE = {"num_beams": 1, "num_return_sequences": 1, "use_cache": True}
KNOWN = ("until", "max_gen_toks", "max_new_tokens", "temperature", "do_sample", "top_p", "seed")


def generation_settings(kwargs: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return only those fields of Generation that the keys set. Raises MarathonError naming `where`.

    No default stop string or length is added. `do_sample: true` without a temperature means temperature 1.
    """
    for name, value in kwargs.items():
        if name in WITHOUT_CHANGE and value in (WITHOUT_CHANGE[name], None):
            continue
        if name in REFUSED_GENERATION_KEYS:
            raise MarathonError(f"{where}: {name}: {REFUSED_GENERATION_KEYS[name]}")
        if name not in KNOWN:
            raise unknown(where, "generation argument", name, KNOWN)
    settings: dict[str, Any] = {}
    tokens = _max_new_tokens(kwargs, where)
    if tokens is not None:
        settings["max_new_tokens"] = tokens
    if kwargs.get("until") is not None:
        settings["stop"] = _stop(kwargs["until"], where)
    temperature = _temperature(kwargs, where)
    if temperature is not None:
        settings["temperature"] = temperature
    if kwargs.get("top_p") is not None:
        settings["top_p"] = _number(kwargs, "top_p", where, low=0.0, high=1.0)
    if kwargs.get("seed") is not None:
        settings["seed"] = _whole(kwargs, "seed", where, least=0)
    return settings


def _max_new_tokens(kwargs: Mapping[str, Any], where: str) -> int | None:
    names = [name for name in ("max_gen_toks", "max_new_tokens") if kwargs.get(name) is not None]
    lengths = {_whole(kwargs, name, where, least=1) for name in names}
    if len(lengths) > 1:
        raise MarathonError(f"{where}: max_gen_toks and max_new_tokens mean the same and differ; give one")
    return lengths.pop() if lengths else None


def _stop(until: Any, where: str) -> tuple[str, ...]:
    texts = [until] if isinstance(until, str) else until
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise MarathonError(f"{where}: until: must be a text or a list of texts, got {until!r}")
    return tuple(texts)


def _temperature(kwargs: Mapping[str, Any], where: str) -> float | None:
    sampled = kwargs.get("do_sample")
    if sampled not in (None, True, False):
        raise MarathonError(f"{where}: do_sample: must be true or false, got {sampled!r}")
    if kwargs.get("temperature") is None:
        return None if sampled is None else float(sampled)
    temperature = _number(kwargs, "temperature", where, low=0.0, high=100.0)
    if sampled is not None and sampled != (temperature > 0):
        raise MarathonError(
            f"{where}: do_sample: {sampled} and temperature: {temperature} contradict each other"
        )
    return temperature


def _number(kwargs: Mapping[str, Any], name: str, where: str, low: float, high: float) -> float:
    value = kwargs[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise MarathonError(f"{where}: {name}: must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def _whole(kwargs: Mapping[str, Any], name: str, where: str, least: int) -> int:
    value = kwargs[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise MarathonError(f"{where}: {name}: must be a whole number of at least {least}, got {value!r}")
    return value
