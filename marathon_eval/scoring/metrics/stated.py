"""Cuts an answer into the parts that may state it, for metrics that read several values out of one text.

A part follows "answer is", "answer:", "total =" or the "=" of a calculation. A part without a value, as in "this answer is
correct", gives way to the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from marathon_eval.api.lazy_pattern import lazy_pattern

#: How sure the answer is, which is no value: "this answer is 90 % certain".
_SURE = r"(?:about|around|roughly)?\s*[\d.]+\s*(?:%|percent)\s+(?:sure|certain|confident|correct|likely|accurate|reliable|probable)"
#: A remark on an answer that was given before: "this answer is correct".
_REMARK = lazy_pattern(
    r"\s*(?:(?:also|only|just|an?|the|my|most|very|quite|fairly|probably|likely|definitely|best|rough|educated|good|fully|well)\s+)*"
    r"(?:correct|accurate|approximate|approximation|complete|certain|sure|plausible|reliable|final|estimated?|guess|based|supported|"
    r"derived|taken|given|chosen|because|due|subject|explained)\b(?!\s*[:=\d])",
    re.IGNORECASE,
)
_LEAD = lazy_pattern(
    rf"\b(?:answers?\s*(?:is|are)(?!\s*{_SURE})|answers?\s*[=:]|(?:total|sum|result)\s*=)[\s:*]*(?!\Z)"
    r"|[\s*]=\s*(?!\Z)",
    re.IGNORECASE,
)
_CLAUSE_END = lazy_pattern(r"[,;]\s|\n|=")
#: What stands before the "=" of a calculation: nothing, a number, or an operation with numbers on both sides.
_CALCULATED = lazy_pattern(
    r"\s*\Z|.*\d[).%]*\s*\Z|.*\d\D{0,30}?(?:[-+×÷*/−–]|\b(?:plus|minus|times)\b)\D{0,30}?\d", re.DOTALL
)
#: Signs of a calculation that are read before its "=".
_LONGEST = 120
_SENTENCE_END = lazy_pattern(r"[.!?;]\s|\n|(?=\()")
#: Words of a part without a value that say something else than the parts before it.
_ELSEWISE = lazy_pattern(
    r"\b(?:not|no|none|nothing|never|neither|cannot|\w+n't|unknown|unclear|uncertain|undetermined|unavailable|wrong|incorrect|"
    r"false|mistaken|impossible|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundreds?|thousands?|millions?|dozens?|half|both|once|twice|several|many|few)\b"
    r"|n/a|\?",
    re.IGNORECASE,
)


def stated_parts(text: str, remarks_last: bool = True) -> Iterator[str]:
    """Yield the parts of a text that may state its answer, the last first, then the text before them all.

    Ask for the next part only if one holds no value. Nothing follows a part that denies the ones before it, or
    spells its value ("the answer is unknown", "the answer is five"). `remarks_last`: parts that begin as a remark on the
    answer does ("this answer is based on 3 sounds") come after all others.
    """
    text = text.rstrip()
    leads = _leads(text)
    end = len(text)
    remarks: list[str] = []
    for start, begin in reversed(leads):
        part = text[begin:end]
        if remarks_last and _REMARK.match(part):
            remarks.append(part)
        elif part.strip():
            yield part
        if _ELSEWISE.search(part):
            break
        end = start
    else:
        if text[:end].strip() or not leads:
            yield text[:end]
    yield from remarks


def _leads(text: str) -> list[tuple[int, int]]:
    """Return where each lead's sentence begins and what it leads to does.

    "=" after a name leads only where it is the one lead of the text: "Start = 65 s, End = 70 s" states both.
    """
    leads: list[tuple[int, int]] = []
    named: list[tuple[int, int]] = []
    after = 0
    for found in _LEAD.finditer(text):
        before = text[after : found.start()]
        if text[found.start()].isalpha():
            sentence = _last_end(_SENTENCE_END, before)
            leads.append((after + (sentence or len(before)), found.end()))
        else:
            clause = _last_end(_CLAUSE_END, before)
            calculated = _CALCULATED.match(before[clause:][-_LONGEST:])
            (leads if calculated else named).append((after + clause, found.end()))
        after = found.end()
    return leads or (named if len(named) == 1 else [])


def _last_end(pattern: re.Pattern[str], text: str) -> int:
    """Return where the last match in a text ends, 0 without one."""
    return max((found.end() for found in pattern.finditer(text)), default=0)
