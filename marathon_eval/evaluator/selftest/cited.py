"""Reads the self-test that a run cites (`--selftest FILE`), and refuses one of another model or press."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marathon_eval.api.model import Model
from marathon_eval.errors import MarathonError
from marathon_eval.files import canonical_json

#: Parts of a fingerprint that are the press's; the adapter's version is another one under a press.
_OF_PRESS = ("press", "press_source", "adapter_version")
#: Settings that a refusal names.
_NAMED = 3


def cited_selftest(file: str, model: Model) -> dict[str, Any]:
    """Return what results.json says of the self-test in `file`; `press` is None if it tested the model alone.

    Raises MarathonError for a file that no self-test wrote, and for one of another model or another press.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise MarathonError(f"--selftest: {file}: cannot read ({error.strerror})") from None
    tested = _parsed(content, file)
    _check_same(tested["fingerprint"], model, file)
    verdicts = Counter(line["verdict"] for line in tested["lines"])
    return {
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "date": tested.get("date"),
        "passed": verdicts["pass"],
        "failed": verdicts["fail"],
        "not_applicable": verdicts["not applicable"],
        "press": tested["fingerprint"].get("press"),
    }


def _parsed(content: bytes, file: str) -> dict[str, Any]:
    try:
        tested = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MarathonError(f"--selftest: {file}: not readable as JSON ({error})") from None
    lines = tested.get("lines") if isinstance(tested, dict) else None
    whole = isinstance(lines, list) and all(
        isinstance(line, dict) and isinstance(line.get("verdict"), str) for line in lines
    )
    fingerprint = tested.get("fingerprint") if whole else None
    if not isinstance(fingerprint, dict) or not isinstance(fingerprint.get("press"), dict | None):
        raise MarathonError(
            f"--selftest: {file}: is no self-test; `marathon-eval selftest --output FILE` writes one"
        )
    return dict(tested)


def _check_same(tested: Mapping[str, Any], model: Model, file: str) -> None:
    """Raise MarathonError unless the self-test is of this model, and of its press or of none."""
    own = json.loads(canonical_json(model.fingerprint))
    versions = {None: model.version, "press": max(model.version, model.press_version)}
    of_model = [
        {name: value for name, value in each.items() if name not in _OF_PRESS} for each in (tested, own)
    ]
    told = _told(*of_model)
    version = versions["press" if tested.get("press") else None]
    if not told and tested.get("adapter_version") != version:
        told = [f"adapter_version {tested.get('adapter_version')} there, {version} here"]
    if told:
        raise MarathonError(f"--selftest: {file}: it is of another model: {'; '.join(told)}")
    if not own.get("press") or not tested.get("press"):
        return
    pressed = [
        {**each["press"], **{name: each.get(name) for name in _OF_PRESS[1:]}} for each in (tested, own)
    ]
    if told := _told(*pressed):
        raise MarathonError(
            f"--selftest: {file}: it is of another press: {'; '.join(told)}. Give a self-test of this press, or of "
            "the model without one"
        )


def _told(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return in which settings two fingerprints differ, as `ratio 0.5 there, 0.3 here`."""
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    told = [
        f"{name} {_shown(there.get(name))} there, {_shown(here.get(name))} here"
        for name in differing[:_NAMED]
    ]
    rest = len(differing) - _NAMED
    return [*told, *([f"and {rest} more"] if rest > 0 else [])]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
