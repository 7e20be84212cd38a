"""Implements the filters of lm-evaluation-harness 0.4.13, under its names and with its results.

https://github.com/EleutherAI/lm-evaluation-harness, lm_eval/filters. They differ in one point: where lm-eval
scores its fallback text ("[invalid]"), the answer here is None with the rule `fallback`, so that the row counts as
unanswered. The fallback text still takes part in later filters and in votes, as it does in lm-eval.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.patterns import find_all, substitute

_GSM_ANSWER = re.compile(r"#### (\-?[0-9\.\,]+)")
_TAGGED_TOKEN = re.compile(r"\('([^']*)', '([^']*)'\)")
_ENTITY = re.compile(r"\b(PER|LOC|ORG|DATE):\s*([^$]+)")
_ENTITY_LABELS = {
    "PER": ("person", "people", "persons", "per"),
    "LOC": ("location", "counties", "places", "country", "continent", "loc"),
    "ORG": ("organization", "company", "org"),
    "DATE": ("time", "date"),
}


def each(change: Callable[[Held, FilterContext], Held]) -> FilterStep:
    """Return a filter that applies `change` to each repeat by itself; a repeat without an answer stays so."""

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        changed = [change(repeat, context) for repeat in repeats]
        return [
            new if old.found else Held(new.text, old.rule, False)
            for old, new in zip(repeats, changed, strict=True)
        ]

    return step


def selected_match(matches: Sequence[Any], group_select: int) -> str | None:
    """Return one of `re.findall`'s matches, stripped: of several groups the first non-empty one; None if missing."""
    if not matches or not -len(matches) <= group_select < len(matches):
        return None
    match = matches[group_select]
    if isinstance(match, tuple):
        match = next((group for group in match if group), None)
    return None if match is None else str(match).strip()


def regex(
    regex_pattern: re.Pattern[str] = _GSM_ANSWER,
    group_select: int = 0,
    fallback: str = "[invalid]",
) -> FilterStep:
    """Return a filter that extracts the `group_select`-th match of a pattern (-1: the last)."""

    def change(held: Held, context: FilterContext) -> Held:
        match = selected_match(find_all(regex_pattern, held.text), group_select)
        return Held(fallback, "fallback", False) if match is None else Held(match, "regex")

    return each(change)


def multi_choice_regex(
    regex_pattern: re.Pattern[str] = _GSM_ANSWER,
    group_select: int = 0,
    fallback: str = "[invalid]",
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    regexes_to_ignore: list[re.Pattern[str]] | None = None,
) -> FilterStep:
    """Return a filter that extracts the pattern's match.

    Without a match it looks for an option's text anywhere, then for a letter after a colon, and gives both as "(A)".
    """

    def plain(text: str) -> str:
        for pattern in regexes_to_ignore or ():
            text = substitute(pattern, "", text)
        text = text.lower() if ignore_case else text
        return _without_punctuation(text) if ignore_punctuation else text

    @lru_cache(maxsize=4096)
    def patterns(choices: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], dict[str, str]]:
        texts = [plain(choice.strip()) for choice in choices]
        letters = [chr(ord("A") + place) for place in range(len(texts))]
        # longest first, because an option that is the beginning of another must not hide it
        by_length = sorted((re.escape(text) for text in texts), key=len, reverse=True)
        after_colon = re.compile(rf":[\s]*({'|'.join(letters)})")
        return re.compile("|".join(by_length)), after_colon, dict(zip(texts, letters, strict=True))

    def change(held: Held, context: FilterContext) -> Held:
        if match := selected_match(find_all(regex_pattern, held.text), group_select):
            return Held(match, "regex")
        by_text, after_colon, letters = patterns(context.choices)
        if match := selected_match(by_text.findall(plain(held.text)), group_select):
            return Held(f"({letters[match]})" if match in letters else match, "option_text")
        if match := selected_match(after_colon.findall(held.text), group_select):
            return Held(f"({match})", "after_colon")
        return Held(fallback, "fallback", False)

    return each(change)


@lru_cache(maxsize=4096)
def _without_punctuation(text: str) -> str:
    return "".join(char for char in text if not unicodedata.category(char).startswith("P"))


def regex_pos(
    regex_pattern: str = r"\['(.*?)'\]", group_select: int = 0, fallback: list[str] | None = None
) -> FilterStep:
    """Return a filter that joins the tags of `('token', 'tag')` pairs by spaces.

    As in lm-eval, it does not use its pattern.
    """

    def change(held: Held, context: FilterContext) -> Held:
        if tags := [tag for _, tag in _TAGGED_TOKEN.findall(held.text)]:
            return Held(" ".join(tags), "regex_pos")
        return Held(" ".join(fallback or ["invalid"]), "fallback", False)

    return each(change)


def remove_whitespace() -> FilterStep:
    """Return a filter that removes white space at both ends of the answer; the target stays as it is."""
    return each(lambda held, context: held._replace(text=held.text.strip()))


def lowercase() -> FilterStep:
    """Return a filter that converts the answer to lower case; the target stays as it is."""
    return each(lambda held, context: held._replace(text=held.text.lower()))


def uppercase() -> FilterStep:
    """Return a filter that converts the answer to upper case; the target stays as it is."""
    return each(lambda held, context: held._replace(text=held.text.upper()))


def map_(mapping_dict: dict[Any, Any] | None = None, default_value: Any = None) -> FilterStep:
    """Return a filter that looks the whole text up in a table.

    A text that the table lacks becomes `default_value`; without one the row is unanswered.
    """
    table = mapping_dict or {}

    def change(held: Held, context: FilterContext) -> Held:
        value = table.get(held.text, default_value)
        return Held(held.text, "map_default", False) if value is None else Held(str(value), "map")

    return each(change)


def format_span() -> FilterStep:
    """Return a filter that writes named entities as "per: x $ loc: y".

    It reads them from lines or `$$`-separated parts, "Person: x, z".
    """

    def change(held: Held, context: FilterContext) -> Held:
        text = held.text.lower()
        for label, words in _ENTITY_LABELS.items():
            text = re.sub(rf"\b(?:{'|'.join(words)})\s*:", f"{label}:", text)
        text = text.replace("$$", "$").rstrip("$").replace("\n", "$").strip()
        entities = [
            f"{label.lower()}: {entity.strip()}"
            for label, values in _ENTITY.findall(text)
            for entity in values.split(",")
            if entity.strip().lower() != "none"
        ]
        return Held(" $ ".join(entities), "format_span")

    return each(change)


def take_first() -> FilterStep:
    """Return a filter that keeps the first repeat."""
    return lambda repeats, context: repeats[:1]


def take_first_k(k: int) -> FilterStep:
    """Return a filter that keeps the first k repeats; it raises MarathonError where there are fewer."""

    def step(repeats: Sequence[Held], context: FilterContext) -> Sequence[Held]:
        if len(repeats) < k:
            raise MarathonError(
                f"filter 'take_first_k': needs {k} answers per row, got {len(repeats)}; set repeats: {k}"
            )
        return repeats[:k]

    return step


def majority_vote() -> FilterStep:
    """Return a filter that keeps the most frequent text; of equally frequent ones the first."""

    def step(repeats: Sequence[Held], context: FilterContext) -> Sequence[Held]:
        if not repeats:
            return repeats
        winner = Counter(repeat.text for repeat in repeats).most_common(1)[0][0]
        return [next(repeat for repeat in repeats if repeat.text == winner)]

    return step


LM_EVAL_FILTERS: dict[str, Callable[..., FilterStep]] = {
    "regex": regex,
    "multi_choice_regex": multi_choice_regex,
    "regex_pos": regex_pos,
    "remove_whitespace": remove_whitespace,
    "lowercase": lowercase,
    "uppercase": uppercase,
    "map": map_,
    "format_span": format_span,
    "take_first": take_first,
    "take_first_k": take_first_k,
    "majority_vote": majority_vote,
}
