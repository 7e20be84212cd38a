"""Says which cached responses of a run with `log_tokens=true` have no map of their audio tokens: the cache made none for them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult, Sample

#: Marks what `long_audio` combined from windows, which have no common map.
_COMBINED = "window_answers"


def say_lacking(lacking: int) -> None:
    """Print on standard error how many cached responses have no map, if there are any."""
    if lacking:
        noun, it = ("response has", "it") if lacking == 1 else ("responses have", "them")
        print(f"marathon-eval: {lacking} cached {noun} no token map; --no_cache makes {it}", file=sys.stderr)


def lacking_maps(result: RunResult) -> int:
    """Return the number of rows whose cached response a press made without the map that `log_tokens=true` asks for."""
    press = result.fingerprint.get("press")
    if not _asked(result) or not press or press.get("evict") == "decode":
        return 0
    return sum(_lacks(sample) for rows in result.samples.values() for sample in rows)


def _asked(result: RunResult) -> bool:
    """Return whether `log_tokens` was set, read as the models' settings read it."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(bool).validate_python(result.config.get("model_args", {}).get("log_tokens", False))
    except ValidationError:  # an argument of this name of an own model, which is none of a local model's
        return False


def _lacks(sample: Sample) -> bool:
    details = sample.usage.get("details") or {}
    kept = sample.usage.get("kept_tokens")
    # where nothing was removed there may be no map to make
    removed = kept is not None and kept != sample.usage.get("audio_tokens") and _COMBINED not in details
    return sample.cached and removed and "token_map" not in details
