"""Reads numbers in answers, in the forms of any locale, and compares them: within a tolerance, or by absolute error.

Numbers are decimal and exact: "12.50" is 12.5. Where a point or comma may separate thousands or decimals, `decimal`
decides, else `language`; every form with one possible reading is read so whatever they say ("1.234,56", "12,5").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Literal

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.filters.counts import counts_in_digits
from marathon_eval.scoring.metrics.normalizers import language_code
from marathon_eval.scoring.metrics.stated import stated_parts

#: The sign before the decimals.
DecimalSign = Literal[".", ","]

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
_SPACES = "  \u2009\u202f'’_"
_TOKEN = lazy_pattern(
    rf"(?<![\w.,])([+-](?=[\d.,]))?(\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?![\d])(?:[.,]\d+)?|\d[\d.,]*|[.,]\d+)"
    r"(?:[eE]([+-]?\d{1,3})(?!\w))?"
)
_GROUPS = {
    sign: lazy_pattern(
        rf"[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+|[1-9]\d?(?:{re.escape(sign)}\d{{2}})+{re.escape(sign)}\d{{3}}"
    )
    for sign in ".,"
}
#: Minus signs, and the Arabic signs for decimals and thousands.
_SIGNS = str.maketrans({**dict.fromkeys("−–﹣－", "-"), "٫": ".", "٬": None})


def numbers_in(text: str, decimal: DecimalSign = ".") -> list[Decimal] | None:
    """Return the numbers of a text in order; None if one of them has no possible reading, such as "1.2.3"."""
    found: list[Decimal] = []
    for sign, digits, exponent in _TOKEN.findall(_ascii_digits(text).translate(_SIGNS)):
        number = _number(digits.rstrip(".,"), decimal)
        if number is None:
            return None
        scaled = number.scaleb(int(exponent or 0))
        found.append(-scaled if sign == "-" else scaled)
    return found


def one_number(text: str | None, decimal: DecimalSign = ".", words: bool = False) -> Decimal | None:
    """Return the number that a text states; None for no number, and for several different ones.

    `words` reads English counts up to 99 too, in the part of the text that states the answer.
    """
    for part in stated_parts(text or ""):
        found = numbers_in(counts_in_digits(part) if words else part, decimal)
        if found != []:
            return found[0] if found and all(number == found[0] for number in found) else None
    return None


def _ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(sign)) if unicodedata.category(sign) == "Nd" else sign for sign in text
    )


def _number(digits: str, decimal: DecimalSign) -> Decimal | None:
    digits = re.sub(f"[{_SPACES}]", "", digits)
    signs = [sign for sign in digits if sign in ".,"]
    if len(set(signs)) == 2:  # the last one is before the decimals, the other between thousands
        whole, fraction = digits[: digits.rfind(signs[-1])], digits[digits.rfind(signs[-1]) + 1 :]
        if not _GROUPS[signs[0]].fullmatch(whole):
            return None
        return Decimal(f"{whole.replace(signs[0], '')}.{fraction}")
    if signs and (len(signs) > 1 or signs[0] != decimal) and _GROUPS[signs[0]].fullmatch(digits):
        return Decimal(digits.replace(signs[0], ""))
    try:
        return Decimal(digits.replace(",", "."))
    except InvalidOperation:
        return None


def _decimal_sign(decimal: DecimalSign | None, language: str | None) -> DecimalSign:
    if decimal is not None:
        return decimal
    return "," if language is not None and language_code(language) in _COMMA else "."


def _error_of(
    row: ScoredRow, decimal: DecimalSign, gold_decimal: DecimalSign, words: bool = False
) -> tuple[Decimal | None, Decimal] | None:
    """Return the least absolute error (None without an answer) and its gold's size; None for a gold without a number."""
    golds = [one_number(target, gold_decimal) for target in row.targets]
    known = [gold for gold in golds if gold is not None]
    if len(known) < len(golds) or not known:
        return None
    said = one_number(row.answer.value, decimal, words)
    if said is None:
        return None, abs(known[0])
    return min((abs(said - gold), abs(gold)) for gold in known)


def number_match(
    abs_tol: float = 0.0,
    rel_tol: float = 0.0,
    decimal: DecimalSign | None = None,
    gold_decimal: DecimalSign = ".",
    language: str | None = None,
    words: bool = False,
) -> Metric:
    """Build the share of rows whose number is right: |answer - gold| <= max(abs_tol, rel_tol |gold|).

    No number, or several, is wrong; a row whose gold is no number is left out. `gold_decimal` is the data set's own
    decimal sign. `words` reads English counts up to 99 in answers without digits. Raises MarathonError for a tolerance that is negative or not finite.
    """
    for name, tolerance in (("abs_tol", abs_tol), ("rel_tol", rel_tol)):
        if not 0 <= tolerance < float("inf"):
            raise MarathonError(f"{name}: must be a number from 0, got {tolerance}")
    sign, absolute, relative = _decimal_sign(decimal, language), Decimal(str(abs_tol)), Decimal(str(rel_tol))

    def score(row: ScoredRow) -> float | None:
        found = _error_of(row, sign, gold_decimal, words)
        if found is None:
            return None
        error, size = found
        return float(error is not None and error <= max(absolute, relative * size))

    return Mean("number_match", score, counts_unscored=True, share=True)


def mae(
    decimal: DecimalSign | None = None, gold_decimal: DecimalSign = ".", language: str | None = None
) -> Metric:
    """Build the mean absolute error, in the gold's unit; rows without a number in answer or gold are left out.

    How many were is in the results beside it, and `number_match` counts those answers as wrong.
    """
    sign = _decimal_sign(decimal, language)

    def score(row: ScoredRow) -> float | None:
        found = _error_of(row, sign, gold_decimal)
        return None if found is None or found[0] is None else float(found[0])

    return Mean("mae", score, higher_is_better=False, counts_unscored=True)


NUMBER_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory for factory in (number_match, mae)
}
