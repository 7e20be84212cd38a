"""Computes accuracy, exact match, parse rate and chance level, which are means of one number per row."""

from __future__ import annotations

import string
import unicodedata
from functools import lru_cache
from re import Pattern

from marathon_eval.api.filter import FilterContext
from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.scoring.patterns import substitute


@lru_cache(maxsize=1024)
def same_label(text: str) -> str:
    """Return the form in which two labels are compared: composed (NFC), without case and outer white space.

    Cached, because a task compares the same few letters and options in all rows.
    """
    return composed_form(composed_form(text.strip()).casefold())


def composed_form(text: str) -> str:
    """Return a text with a letter and its accent as one character, where Unicode has one (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def said_like(row: ScoredRow, target: str) -> str | None:
    """Convert the answer to the target's form (letter or option text) to compare the two; None if unanswered."""
    value, choices, letters = row.answer.value, row.context.choices, row.context.letters
    if value is None or not letters or value == target:
        return value
    if value in letters and target in choices and target not in letters:
        return choices[letters.index(value)]
    if target in letters and value in choices and value not in letters:
        # several options may share a text
        return target if choices[letters.index(target)] == value else letters[choices.index(value)]
    if (
        value in letters
        and target in letters
        and choices[letters.index(value)] == choices[letters.index(target)]
    ):
        return target  # options of one text are one answer, whichever letter stands for it
    return value


def is_hit(row: ScoredRow) -> float:
    """Return 1 where the answer equals one of the targets, else 0; an unanswered row is 0."""
    for target in row.targets:
        answer = said_like(row, target)
        if answer is not None and same_label(answer) == same_label(target):
            return 1.0
    return 0.0


def accuracy() -> Metric:
    """Build the share of rows answered right; an unanswered row is wrong."""
    return Mean("accuracy", is_hit, share=True)


def acc() -> Metric:
    """Build `accuracy` under lm-eval's name."""
    return Mean("acc", is_hit, share=True)


def parse_rate() -> Metric:
    """Build the share of rows in which an answer was found."""
    return Mean("parse_rate", lambda row: float(row.answer.value is not None), share=True)


def chance() -> Metric:
    """Build the accuracy of blind guessing, the mean of right options / options; open questions have none."""
    return Mean("chance", lambda row: guessed(row.target, row.context), of_answers=False)


def guessed(target: str | tuple[str, ...], context: FilterContext) -> float | None:
    """Return the chance that a guessed option is right: several may be, and may share a text. None without options.

    A target that is no option counts as one.
    """
    n_options = len(context.choices)
    if not n_options:
        return None
    if isinstance(target, str):
        place = context.letters.index(target) if target in context.letters else None
        n_right = context.choices.count(target if place is None else context.choices[place])
    else:
        n_right = sum(any(context.means(each, place) for each in target) for place in range(n_options))
    return max(n_right, 1) / n_options


def exact_match(
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    regexes_to_ignore: list[Pattern[str]] | None = None,
    choice_forms: bool = False,
) -> Metric:
    """Build lm-eval's exact match: the answer equals a target, after removing from both what the options name.

    In a row with options, letter and text of the same option are equal, as they are for `accuracy`.

    `choice_forms` is an extension for rows with options: the right letter, the right option's full text, or both
    together are right, compared without case, punctuation and spacing.
    """
    surplus = (string.punctuation if ignore_punctuation else "") + (string.digits if ignore_numbers else "")
    removed = str.maketrans("", "", surplus)

    def plain(text: str) -> str:
        text = composed_form(text)
        for pattern in regexes_to_ignore or ():
            text = substitute(pattern, "", text)
        return (text.lower() if ignore_case else text).translate(removed)

    def score(row: ScoredRow) -> float:
        if row.answer.value is None:
            return 0.0
        if choice_forms and row.context.choices:
            return float(spells_choice(row.answer.value, row))
        said = ((said_like(row, target) or "", target) for target in row.targets)
        return float(any(plain(answer) == plain(target) for answer, target in said))

    return Mean("exact_match", score, share=True)


@lru_cache(maxsize=256)
def _has_letters(texts: tuple[str, ...], letters: tuple[str, ...]) -> bool:
    """Return whether a text of an option is itself a letter of the row, so that the letter alone means the letter."""
    return not {same_label(text) for text in texts}.isdisjoint(map(same_label, letters))


def spells_choice(value: str, row: ScoredRow) -> bool:
    """Tell whether a text is a target's letter, its option's full text, or both, and nothing else."""
    from marathon_eval.scoring.filters.words import plain_text

    choices, letters = row.context.choices, row.context.letters
    answer, targets = plain_text(value), [plain_text(target) for target in row.targets]
    mistakable = _has_letters(choices, letters) and not row.context.free_gold
    for place, text in enumerate(choices):
        letter = letters[place] if place < len(letters) else ""
        forms = (plain_text(text), plain_text(letter) or None)
        if mistakable:
            if any(row.context.means(target, place) for target in row.targets) and (
                answer in (forms[1], plain_text(f"{letter} {text}"))
                or (answer == forms[0] and not _has_letters((text,), letters))
            ):
                return True
            continue
        for target in targets:
            # both together are read last: few rows share them, so that their words are seldom remembered
            if target in forms and (
                answer == target or answer in forms or answer == plain_text(f"{letter} {text}")
            ):
                return True
    return False
