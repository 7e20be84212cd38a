"""Accuracy, exact match, parse rate and chance level: means of one number per row."""

from __future__ import annotations

import string
from re import Pattern

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.scoring.patterns import substitute


def same_label(text: str) -> str:
    """What makes two labels one: case and outer white space do not count."""
    return text.strip().casefold()


def said_like(row: ScoredRow, target: str) -> str | None:
    """The answer in the target's form: a letter where that is a letter, an option's text where it is a text."""
    value, choices, letters = row.answer.value, row.context.choices, row.context.letters
    if value is None or not letters or value == target:
        return value
    if value in letters and target in choices and target not in letters:
        return choices[letters.index(value)]
    if target in letters and choices.count(value) == 1 and value not in letters:
        return letters[choices.index(value)]
    return value


def is_hit(row: ScoredRow) -> float:
    """1 where the answer is one of the targets; no answer is 0."""
    for target in row.targets:
        said = said_like(row, target)
        if said is not None and same_label(said) == same_label(target):
            return 1.0
    return 0.0


def accuracy() -> Metric:
    """Rows answered right over all rows; an unanswered row is wrong."""
    return Mean("accuracy", is_hit)


def acc() -> Metric:
    """`accuracy` under lm-eval's name."""
    return Mean("acc", is_hit)


def parse_rate() -> Metric:
    """Rows in which an answer was found."""
    return Mean("parse_rate", lambda row: float(row.answer.value is not None))


def chance() -> Metric:
    """What blind guessing gets: the mean of 1 / options; None for open questions."""
    return Mean("chance", lambda row: 1 / len(row.context.choices) if row.context.choices else None)


def exact_match(
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    regexes_to_ignore: list[Pattern[str]] | None = None,
    choice_forms: bool = False,
) -> Metric:
    """lm-eval's exact match: answer and target equal, after leaving out what the options say; any of several targets.

    With `choice_forms`, ours for rows with options: the answer is the right letter, the right option's full text, or
    letter and text together, compared without case, punctuation and spacing.
    """
    surplus = (string.punctuation if ignore_punctuation else "") + (string.digits if ignore_numbers else "")
    removed = str.maketrans("", "", surplus)

    def plain(text: str) -> str:
        for pattern in regexes_to_ignore or ():
            text = substitute(pattern, "", text)
        return (text.lower() if ignore_case else text).translate(removed)

    def score(row: ScoredRow) -> float:
        if row.answer.value is None:
            return 0.0
        if choice_forms and row.context.choices:
            return float(spells_choice(row.answer.value, row))
        said = plain(row.answer.value)
        return float(any(said == plain(target) for target in row.targets))

    return Mean("exact_match", score)


def spells_choice(value: str, row: ScoredRow) -> bool:
    """Whether a text is a target's letter, its option's full text, or both, and nothing else."""
    from marathon_eval.scoring.filters.option_text import plain_text

    choices, letters = row.context.choices, row.context.letters
    said = plain_text(value)
    for target in row.targets:
        for place, text in enumerate(choices):
            letter = letters[place] if place < len(letters) else ""
            if plain_text(target) in (plain_text(letter) or None, plain_text(text)) and said in (
                plain_text(target),
                plain_text(text),
                plain_text(f"{letter} {text}"),
                plain_text(letter) or None,
            ):
                return True
    return False
