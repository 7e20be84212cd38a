"""Names runs in tables and figures: model, settings that differ, press, ratio, condition and selection."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from marathon_eval.results.label import press_of


def labels(
    fingerprints: Sequence[Mapping[str, Any]], started: Sequence[str], asides: Sequence[str] = ()
) -> list[str]:
    """Return a distinct name for each run: model, the settings in which runs of that model differ, press, ratio.

    `asides` are texts to put behind, ` (silence, limit 2)`. Runs that are still alike get the time they started, then
    a number.
    """
    texts = names_of(fingerprints)
    texts = [text + aside for text, aside in zip(texts, asides or [""] * len(texts), strict=True)]
    texts = _with_endings(texts, [" @ " + moment for moment in started])
    return _with_endings(texts, [f" #{number}" for number in range(1, len(texts) + 1)])


def names_of(fingerprints: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return model, differing settings, press and ratio of each run; runs that are alike have equal names."""
    return [
        _label(fingerprint, differing_settings(fingerprint["model"], fingerprints))
        for fingerprint in fingerprints
    ]


def differing_settings(model: str, fingerprints: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the settings, press settings included, that are not the same in all fingerprints of a model.

    A setting of the model that only some of them have, because a fingerprint has it where it is given, differs too.
    """
    seen: dict[str, dict[str, list[str]]] = {}
    runs = 0
    for fingerprint in fingerprints:
        if fingerprint["model"] == model:
            runs += 1
            # settings of different presses are not compared, even if they have the same name
            for owner, settings in (("", fingerprint), (*_owner(fingerprint),)):
                for key, value in settings.items():
                    texts = seen.setdefault(owner, {}).setdefault(key, [])
                    texts.append(json.dumps(value, sort_keys=True))
    unnamed = {"model", "press", "ratio", "version"}
    return [
        key
        for owner, keys in seen.items()
        for key, values in keys.items()
        if (len(set(values)) > 1 or (not owner and len(values) < runs)) and key not in unnamed
    ]


def _owner(fingerprint: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    press = fingerprint.get("press") or {}
    return f"press {press.get('press')}", press


def _label(fingerprint: Mapping[str, Any], differing: Sequence[str]) -> str:
    press = fingerprint.get("press") or {}
    texts = {key: setting_text(fingerprint.get(key)) for key in differing}
    of_model = [f"{key}={text}" for key, text in texts.items() if text is not None]
    of_press = [f"{key}={_short(press[key])}" for key in differing if key in press]
    words = [str(fingerprint["model"]), *of_model]
    name, ratio = press_of(fingerprint)
    if name is not None:
        words += [name, *of_press, f"{ratio:g}"]
    return " ".join(words)


def setting_text(value: Any) -> str | None:
    """Return a setting as a name shows it; None for one that can be no part of a name, because it is nested or a hash."""
    if not isinstance(value, (str, int, float)):
        return None
    text = str(value)
    hashed = len(text) >= 40 and all(letter in "0123456789abcdef" for letter in text)
    return None if hashed else _short(value)


def _short(value: Any) -> str:
    """Return the last part of a path or hub name, cut to 40 characters."""
    text = str(value).rstrip("/").rpartition("/")[2]
    return text if len(text) <= 40 else f"…{text[-39:]}"


def _with_endings(texts: Sequence[str], endings: Sequence[str]) -> list[str]:
    """Add its ending to every text that occurs more than once."""
    counted = Counter(texts)
    return [text + ending if counted[text] > 1 else text for text, ending in zip(texts, endings, strict=True)]
