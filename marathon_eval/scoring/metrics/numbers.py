"""Compares the number that an answer states with the gold: within a tolerance, or by absolute error.

numerals.py reads the numbers. Where a point or comma may separate thousands or decimals, `decimal` decides, else `language`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.filters.counts import counts_in_digits
from marathon_eval.scoring.metrics.normalizers import language_code
from marathon_eval.scoring.metrics.numerals import DecimalSign, numbers_in
from marathon_eval.scoring.metrics.stated import stated_parts

#: Languages that write a comma before decimals.
_COMMA = frozenset(
    [
        "af",
        "az",
        "be",
        "bg",
        "bs",
        "ca",
        "cs",
        "da",
        "de",
        "el",
        "es",
        "et",
        "eu",
        "fi",
        "fo",
        "fr",
        "gl",
        "hr",
        "hu",
        "hy",
        "id",
        "is",
        "it",
        "ka",
        "kk",
        "ky",
        "lb",
        "lt",
        "lv",
        "mk",
        "mn",
        "nl",
        "nn",
        "no",
        "oc",
        "pl",
        "pt",
        "ro",
        "ru",
        "sk",
        "sl",
        "sq",
        "sr",
        "sv",
        "tg",
        "tk",
        "tr",
        "tt",
        "uk",
        "uz",
        "vi",
    ]
)


def one_number(text: str | None, decimal: DecimalSign = ".", words: bool = False) -> Decimal | None:
    """Return the number that a text states; None for no number, and for several different ones.

    `words` reads English counts up to 99 too, in the part of the text that states the answer.
    """
    for part in stated_parts(text or ""):
        found = numbers_in(counts_in_digits(part) if words else part, decimal)
        if found != []:
            return found[0] if found and all(number == found[0] for number in found) else None
    return None


def _decimal_sign(decimal: DecimalSign | None, language: str | None) -> DecimalSign:
    if decimal is not None:
        return decimal
    return "," if language is not None and language_code(language) in _COMMA else "."


def _errors_of(
    row: ScoredRow, decimal: DecimalSign, gold_decimal: DecimalSign, words: bool = False
) -> list[tuple[Decimal, Decimal]] | None:
    """Return the absolute error to each gold and the gold's size, none without an answer; None for a gold without a number."""
    golds = [one_number(target, gold_decimal) for target in row.targets]
    known = [gold for gold in golds if gold is not None]
    if len(known) < len(golds) or not known:
        return None
    said = one_number(row.answer.value, decimal, words)
    return [] if said is None else [(abs(said - gold), abs(gold)) for gold in known]


def number_match(
    abs_tol: float = 0.0,
    rel_tol: float = 0.0,
    decimal: DecimalSign | None = None,
    gold_decimal: DecimalSign = ".",
    language: str | None = None,
    words: bool = False,
) -> Metric:
    """Build the share of rows whose number is right for one of its golds: |answer - gold| <= max(abs_tol, rel_tol |gold|).

    No number, or several, is wrong; a row whose gold is no number is left out. `gold_decimal` is the data set's own
    decimal sign. `words` reads English counts up to 99 in answers without digits. Raises MarathonError for a tolerance that is negative or not finite.
    """
    for name, tolerance in (("abs_tol", abs_tol), ("rel_tol", rel_tol)):
        if not 0 <= tolerance < float("inf"):
            raise MarathonError(f"{name}: must be a number from 0, got {tolerance}")
    sign, absolute, relative = _decimal_sign(decimal, language), Decimal(str(abs_tol)), Decimal(str(rel_tol))

    def score(row: ScoredRow) -> float | None:
        found = _errors_of(row, sign, gold_decimal, words)
        if found is None:
            return None
        return float(any(error <= max(absolute, relative * size) for error, size in found))

    return Mean("number_match", score, counts_unscored=True, share=True)


def mae(
    decimal: DecimalSign | None = None, gold_decimal: DecimalSign = ".", language: str | None = None
) -> Metric:
    """Build the mean absolute error, in the gold's unit; rows without a number in answer or gold are left out.

    How many were is in the results beside it, and `number_match` counts those answers as wrong.
    """
    sign = _decimal_sign(decimal, language)

    def score(row: ScoredRow) -> float | None:
        found = _errors_of(row, sign, gold_decimal)
        return float(min(found)[0]) if found else None

    return Mean("mae", score, higher_is_better=False, counts_unscored=True)


NUMBER_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory for factory in (number_match, mae)
}
