"""Reads numbers written in digits, in the forms of any locale: "1,234.5", "1.234,5", "minus 5", "1.5 million", "2½".

Numbers are decimal and exact: "12.50" is 12.5. Every form with one possible reading is read so; where a point or comma may
separate thousands or decimals, the caller says which sign is before decimals.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Literal

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.words import UNSPACED

#: The sign before the decimals.
DecimalSign = Literal[".", ","]

_SPACES = "  \u2009\u202f'’_"
_TOKEN = lazy_pattern(
    rf"(?<![^\W{UNSPACED}])(?<![.,])([+-](?=[\d.,]))?(\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?![\d])(?:[.,]\d+)?|\d[\d.,]*|[.,]\d+)"
    r"(?:[eE]([+-]?\d{1,3})(?!\w))?"
)
_GROUPS = {
    sign: lazy_pattern(
        rf"[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+|[1-9]\d?(?:{re.escape(sign)}\d{{2}})+{re.escape(sign)}\d{{3}}"
    )
    for sign in ".,"
}
#: Minus signs, and the Arabic signs for decimals and thousands.
_SIGNS = str.maketrans({**dict.fromkeys("−–﹣－", "-"), "＋": "+", "．": ".", "٫": ".", "٬": None})
# the full-width comma also ends clauses, so it belongs to a number between full-width digits only
_WIDE_COMMA = lazy_pattern(r"(?<=[０-９])，(?=[０-９])")
_VULGAR = lazy_pattern(r"(\d*)[^\S\n]?([¼-¾⅐-⅞])")
_MIXED = lazy_pattern(
    r"(\d+)\s+and\s+(?:(?:a|one)\s+)?(half|quarter|three[\s-]quarters)\b(?!\s+(?:past|to)\b)", re.IGNORECASE
)
_PARTS = {"half": ".5", "quarter": ".25", "three quarters": ".75"}
_SPOKEN_POINT = lazy_pattern(r"(?<=\d)\s+point\s+(?=\d)", re.IGNORECASE)
_BELOW_ZERO = lazy_pattern(
    r"(?<![\w.,+-])(\d[\d.,]*(?:\s*(?:°|degrees?\b))?(?:\s*(?:[CF]|celsius|fahrenheit)\b)?)\s+below\s+(?:zero|0)\b",
    re.IGNORECASE,
)
#: Words after a number by what they multiply it; 0: by different numbers in different languages, or it is another word.
_FACTOR_NAMES = {
    12: "dozen",
    100: "hundred hundert honderd 百",
    10**3: "thousand tausend mille mila duizend тысяча тысячи тысяч k 千",
    10**4: "万 萬",
    10**5: "lakh",
    10
    ** 6: "million millions millionen mio mln millón millones milione milioni milhão milhões miljoen миллион миллиона миллионов",
    10**7: "crore",
    10**8: "亿 億",
    10
    ** 9: "billion billions milliard milliards milliarde milliarden mrd miliardi миллиард миллиарда миллиардов",
    10**12: "trillion trillions",
    0: "billionen billón billones bilhão bilhões trillionen mil",
}
_FACTORS = {name: factor for factor, names in _FACTOR_NAMES.items() for name in names.split()}
_FACTOR = lazy_pattern(
    rf"(?:[^\S\n]|-)*({'|'.join(sorted((name for name in _FACTORS if len(name) > 1), key=len, reverse=True))})\b|(?-i:(k))(?!\w)|\s*([百千万萬亿億])",
    re.IGNORECASE,
)
_COUNT = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
#: What follows a scaled number, or stands before a number, that is a part of a longer one: "2 hundred and five".
_GOES_ON = lazy_pattern(rf"\s+(?:and\s+)?{_COUNT}\b|[\d一二三四五六七八九十百千]", re.IGNORECASE)
#: What stands before a number's digits: "minus", unless it is part of "at least" or "more or less" ("au moins", "plus or
#: minus"), or the begin of a number in words.
_BEFORE = lazy_pattern(
    r"(?:(?P<minus>(?<!\bau )(?<!\bdu )(?<!\bou )(?<!\bor )(?<!\bo )(?<!\bal )(?<!\blo )\b(?:minus|negative|moins|menos|meno|минус)\s+"
    r"|(?:负|負|マイナス|零下)\s*)"
    r"|\b(?:hundred|thousand|million)s?\s+(?:and\s+)?|\bpoint\s+|[一二三四五六七八九十百千万萬亿億两兩]\s*)\Z",
    re.IGNORECASE,
)
#: Signs before a number that `_BEFORE` is searched in.
_NEAR = 16
#: Halves and powers that are not read.
_UNREAD = lazy_pattern(
    r"\d(?:[^\d.;\n]{0,20}?\b(?:et\s+demie?|y\s+medi[ao]|e\s+mezz[ao]|e\s+mei[ao]|and\s+(?:a|one)\s+(?:half|quarter|third))\b"
    r"|\s+(?:tenth|hundredth|thousandth)s?\b|\s*einhalb|\s*(?:个|個|小时|小時|時間|分钟|分|秒|年|点|天)?半"
    r"|[\u00b2\u00b3\u00b9\u2070-\u2079\u207b])",
    re.IGNORECASE,
)


def numbers_in(text: str, decimal: DecimalSign = ".") -> list[Decimal] | None:
    """Return the numbers of a text in order; None if one of them has no certain reading, such as "1.2.3"."""
    text = with_fractions(plain_digits(text))
    if "below" in text:
        text = _BELOW_ZERO.sub(r"-\1", text)
    found: list[Decimal] = []
    for match in _TOKEN.finditer(text):
        number = _scaled(text, match, decimal)
        if number is None:
            return None
        found.append(number)
    return None if found and is_unread(text) else found


def _scaled(text: str, match: re.Match[str], decimal: DecimalSign) -> Decimal | None:
    """Return the number of a match with its sign and the words around it; None if they make another number of it."""
    sign, digits, exponent = match.groups()
    digits = digits.rstrip(".,")
    number = number_of(digits, decimal)
    factor = _factor_after(text, match.start(2) + len(digits))
    near = text[max(0, match.start() - _NEAR) : match.start()]
    before = _BEFORE.search(near) if near.rstrip()[-1:].isalpha() else None
    if number is None or factor is None or before and not before["minus"]:
        return None
    scaled = number.scaleb(int(exponent or 0)) * factor
    return -scaled if sign == "-" or before and sign is None else scaled


def plain_digits(text: str) -> str:
    """Return a text whose digits, decimal signs and minus signs are ASCII, and "2½" is "2.5"."""
    if text.isascii():
        return text
    text = _WIDE_COMMA.sub(",", text).translate(_SIGNS)
    text = "".join(
        str(unicodedata.decimal(sign)) if unicodedata.category(sign) == "Nd" else sign for sign in text
    )
    return _VULGAR.sub(_with_vulgar, text)


def _with_vulgar(match: re.Match[str]) -> str:
    return f"{match[1] or 0}{str(unicodedata.numeric(match[2]))[1:]}"


def with_fractions(text: str) -> str:
    """Return a text with "2 and a half" and "2 point 5" as "2.5"."""
    if " and " in text:
        text = _MIXED.sub(
            lambda found: found[1] + _PARTS[" ".join(found[2].lower().replace("-", " ").split())], text
        )
    return _SPOKEN_POINT.sub(".", text) if " point " in text else text


def is_unread(text: str) -> bool:
    """Return whether a number of the text is longer than its digits in a way that is not read, as in "2 heures et demie"."""
    return _UNREAD.search(text) is not None


def is_scaled(text: str, end: int) -> bool:
    """Return whether a word such as "thousand" follows the number that ends at this place."""
    return _FACTOR.match(text, end) is not None


def _factor_after(text: str, end: int) -> int | None:
    """Return by what the words after a number multiply it: 1 without any, None if that is not certain."""
    factor, start = 1, end
    while match := _FACTOR.match(text, end):
        factor, end = factor * _FACTORS[next(filter(None, match.groups())).lower()], match.end()
    return None if not factor or end > start and _GOES_ON.match(text, end) else factor


def number_of(digits: str, decimal: DecimalSign = ".") -> Decimal | None:
    """Return the number that digits with points, commas and spaces write; None without a possible reading."""
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
