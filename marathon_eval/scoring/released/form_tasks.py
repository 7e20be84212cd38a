"""Reproduces MMAU-Pro's released checks of instructions about an answer's form, and BLAB's of whole numbers.

Sources: evaluate_mmau_pro_comprehensive.py of https://github.com/sonalkum/MMAUPro at 960e93a, and src/utils/numeric_utils.py
of https://github.com/orevaahia/brutally_long_audio_bench at 7303046. Tests hold both against verdicts from running them.
MMAU-Pro counts sentences by nltk's punkt; here a pattern counts them.

mmau_pro.followed   metric: share of answers that keep the row's one instruction (columns task_identifier, kwargs, question)
blab.integer        metric: share of answers whose first whole number is the target, or lies in the target's range
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.errors import RowError, did_you_mean
from marathon_eval.scoring.metrics.form_rules import sentence_count

Kept = Callable[[str, Mapping[str, Any]], bool]
#: What the counted instructions count.
_COUNTED: dict[str, Callable[[str], int]] = {
    "Number Words": lambda text: len(text.split()),
    "Number Sentences": sentence_count,
    "All-capital Words": lambda text: sum(word.isupper() for word in text.split()),
}
_INTEGER = re.compile(r"\b\d+\b")


def _number(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise RowError(f"kwargs: {name} must be a number, got {value!r}")
    return value


def _words(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise RowError(f"kwargs: {name} must be a text, got {value!r}")
    return value


def _letters(text: str, kept: str = "a-z") -> str:
    return re.sub(rf"[^{kept}]", "", text, flags=re.IGNORECASE).lower()


def _limited(count: Callable[[str], int], least: str | None, most: str | None) -> Kept:
    """Return the check that a count is at least and at most what the arguments of these names say."""

    def kept(text: str, given: Mapping[str, Any]) -> bool:
        found = count(text)
        return (least is None or found >= _number(given, least)) and (
            most is None or found <= _number(given, most)
        )

    return kept


def _counted() -> dict[str, Kept]:
    checks: dict[str, Kept] = {}
    for name, count in _COUNTED.items():
        checks[f"{name} (at least)"] = _limited(count, "N", None)
        checks[f"{name} (at most)"] = _limited(count, None, "N")
        checks[f"{name} (range)"] = _limited(count, "N1", "N2")
    return checks


def _exactly(pattern: str) -> Kept:
    return lambda text, given: len(re.findall(pattern, text)) == _number(given, "N")


def _at_least(pattern: str) -> Kept:
    return lambda text, given: len(re.findall(pattern, text)) >= _number(given, "N")


def _sections(text: str, given: Mapping[str, Any]) -> bool:
    parts = re.split(re.escape(_words(given, "section_splitter")), text.strip())
    return sum(bool(part.strip()) for part in parts) == _number(given, "N")


def _two_answers(text: str, given: Mapping[str, Any]) -> bool:
    parts = [part.strip().lower() for part in text.split("******")]
    return len(parts) == 2 and parts[0] != parts[1]


#: The checks by `task_identifier`.
MMAU_PRO_CHECKS: dict[str, Kept] = {
    **_counted(),
    "Include Keywords": lambda text, given: all(
        word in text.lower() for word in _words(given, "keywords").lower().split(", ")
    ),
    "Forbidden Words": lambda text, given: (
        not any(word in text.lower() for word in _words(given, "forbidden_words").lower().split(", "))
    ),
    "Keyword Frequency": lambda text, given: (
        len(re.findall(rf"\b{re.escape(_words(given, 'keyword').lower())}\b", text.lower()))
        == _number(given, "N")
    ),
    "Number Paragraphs": lambda text, given: (
        sum(bool(part.strip()) for part in text.split("***")) == _number(given, "N")
    ),
    "Number Placeholder": _at_least(r"\[[^\]]+\]"),
    "Number Bullets": _exactly(r"(?:^|\n)\s*\*\s+"),
    "Minimum Number Highlighted Section": _at_least(r"\*[^*]+\*"),
    "Multiple Sections": _sections,
    "Title": lambda text, given: re.search(r"<<[^>]+>>", text) is not None,
    "Postscript": lambda text, given: _letters(_words(given, "postscript_marker")) in _letters(text),
    "Repeat Prompt": lambda text, given: text.strip().lower().startswith(given["question"].strip().lower()),
    "Two Responses": _two_answers,
    "All Uppercase": lambda text, given: text.isupper(),
    "All Lowercase": lambda text, given: text.islower(),
    "Start Checker": lambda text, given: _letters(text, "a-z ").startswith(
        _letters(_words(given, "start_phrase"), "a-z ")
    ),
    "End Checker": lambda text, given: _letters(text, "a-z ").endswith(
        _letters(_words(given, "end_phrase"), "a-z ")
    ),
    "Quotation": lambda text, given: text.strip().startswith('"') and text.strip().endswith('"'),
    "No Commas": lambda text, given: "," not in text,
}


def mmau_pro_kept(text: str, fields: Mapping[str, Any]) -> bool:
    """Return whether a text keeps the instruction of a row with these columns. Raises RowError for one it cannot read."""
    name = str(fields.get("task_identifier"))
    if name not in MMAU_PRO_CHECKS:
        raise RowError(
            f"task_identifier: there is no instruction '{name}'.{did_you_mean(name, MMAU_PRO_CHECKS)} "
            f"Known: {', '.join(sorted(MMAU_PRO_CHECKS))}"
        )
    arguments = fields.get("kwargs") or {}
    if not isinstance(arguments, Mapping):
        raise RowError(f"kwargs: must be a mapping, got {arguments!r}")
    return MMAU_PRO_CHECKS[name](text, {**arguments, "question": str(fields.get("question") or "")})


def mmau_pro_followed() -> Metric:
    """Build the share of answers that keep the row's instruction; no answer is the empty text, as there."""
    return Mean("followed", lambda row: float(mmau_pro_kept(row.answer.value or "", row.fields)), share=True)


def blab_hit(text: str, target: str, offset: int) -> bool:
    """Return whether a text's first whole number is the target, within `offset` where the target is above 0.

    A target `[low, high]` is a range. Raises RowError for any other target.
    """
    try:
        gold = ast.literal_eval(target)
        low, high = gold if isinstance(gold, (list, tuple)) else (gold, gold)
        low, high = float(low), float(high)
    except (ValueError, SyntaxError, TypeError):
        raise RowError(f"the target must be a number or [low, high], got {target!r}") from None
    found = _INTEGER.search(text)
    if found is None:
        return False
    below, above = (offset if low > 0 else 0), (offset if high > 0 else 0)
    return low - below <= int(found[0]) <= high + above


def blab_integer(offset: int = 0) -> Metric:
    """Build the share of answers whose first whole number is the target, or in its range; `offset` widens both ends."""

    def score(row: ScoredRow) -> float:
        return float(blab_hit(row.answer.value or "", row.label, offset))

    return Mean("accuracy", score, share=True)


FORM_TASK_METRICS: dict[str, Callable[..., Metric]] = {
    "mmau_pro.followed": mmau_pro_followed,
    "blab.integer": blab_integer,
}
