"""Finds options that consist of words of any sentence, such as "Yes", "No", "None" and "All".

They count where they are all of a clause ("so no", "the answer is yes"), or where a text begins with them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.counts import SMALL_NUMBERS
from marathon_eval.scoring.filters.languages import FOREIGN_DENIALS
from marathon_eval.scoring.filters.words import BREAK

_ENGLISH = (
    "not no never neither nor cannot cant without except none nothing nobody yes a an the it is at all one and or of i you we both "
    "some any likely unlikely like other out non rule than"
)
_YES = "sí si ja oui sim да так tak evet نعم כן हाँ हां ya có hayır nein non nie não لا לא नहीं tidak không"
#: Words that options of a row may consist of, and that stand in sentences that name no option.
COMMON = frozenset((*_ENGLISH.split(), *_YES.split())) | FOREIGN_DENIALS
_DOUBTS = frozenset(
    [
        "not",
        "no",
        "never",
        "cannot",
        "hardly",
        "doubt",
        "if",
        "whether",
        "unless",
        "neither",
        "nor",
        "cant",
        "wont",
    ]
)
_AUXILIARIES = frozenset(
    ["do", "does", "did", "is", "was", "were", "would", "could", "should", "are", "have", "has"]
)
_NUMBERS = frozenset([*SMALL_NUMBERS[:13], *map(str, range(13))])
#: Words before an option of this kind that are no part of an answer by themselves: "there are none".
_LEADING = frozenset(
    [
        "there",
        "are",
        "were",
        "can",
        "hear",
        "i",
        "we",
        "detect",
        "only",
        "just",
        "indeed",
        "contains",
        "has",
        "have",
    ]
)
#: What may follow an option of this kind in its clause: "all of them", "none of the above".
_TRAILING = lazy_pattern(
    r" (?:of (?:them|these|those|the above|the options|the sounds|the choices)|at all|for sure|here|indeed|please|as well)\Z"
)
_AFTER_ONE = frozenset(["of", "that", "who", "which", "is", "was", "being", "can", "another", "thing", "i"])
_BEFORE_ONE = frozenset(
    [
        "the",
        "this",
        "that",
        "which",
        "no",
        "another",
        "each",
        "every",
        "any",
        "some",
        "first",
        "second",
        "third",
        "last",
        "other",
    ]
)
_PRAISE = frozenset(["right", "correct", "incorrect", "wrong", "true", "false"])
_PRAISED = frozenset(["answer", "answers", "option", "options", "choice", "one", "response", "letter"])
#: Words after an opening "No" or "All" that make a phrase of it: "No idea", "All I hear".
_PHRASE = frozenset(
    ["idea", "one", "clue", "way", "doubt", "and", "or", "i", "that", "matter", "longer", "more", "nor"]
)


#: Words before an answer that say nothing: "well, yes".
_INTERJECTIONS = frozenset(["oh", "ah", "aha", "um", "uh", "hm", "hmm", "mm", "mhm", "well", "wow", "hey"])


def is_counted(names: Collection[str]) -> bool:
    """Return whether the options are numbers in words, so that "one" is no pronoun and "none" a count."""
    firsts = {name.split()[0] for name in names}
    return len(firsts & _NUMBERS) > 1 or bool("none" in firsts and firsts & _NUMBERS)


def praises_answer(words: list[str], at: int) -> bool:
    """Return whether "right", "correct", "true" or "wrong" at this place speaks of the answer: "the right option"."""
    return words[at] in _PRAISE and words[at + 1 : at + 2] != [] and words[at + 1] in _PRAISED


def is_pronoun(words: list[str], at: int) -> bool:
    """Return whether "one" at this place stands for something else: "the one that", "one of them"."""
    return (
        words[at - 1 : at] != []
        and words[at - 1] in _BEFORE_ONE
        or words[at + 1 : at + 2] != []
        and (words[at + 1] in _AFTER_ONE)
    )


def common_named(
    words: list[str], names: Mapping[str, int], openings: frozenset[str], others: bool
) -> set[int]:
    """Return the places of the options of this kind that are affirmed.

    What a clause states ("so no") goes before a clause that is only the option, and that before the text's first word.
    `others` tells whether the text names an option of another kind, which its first word would only introduce.
    """
    stated: list[int] = []
    alone: list[int] = []
    clauses = _clauses(words)
    for clause in clauses:
        place, led = _said(clause, names, openings)
        if place is not None:
            (stated if led else alone).append(place)
    if stated or alone:
        return set(stated or alone)
    opening = None if others or not clauses else _opening(clauses[0], names)
    return set() if opening is None else {opening}


def _clauses(words: list[str]) -> list[list[str]]:
    clauses: list[list[str]] = [[]]
    for word in words:
        if word == BREAK:
            clauses.append([])
        else:
            clauses[-1].append(word)
    return [spoken for clause in clauses if (spoken := _without_interjections(clause))]


def _without_interjections(clause: list[str]) -> list[str]:
    at = next((at for at, word in enumerate(clause) if word not in _INTERJECTIONS), len(clause))
    return clause[at:]


def _said(clause: list[str], names: Mapping[str, int], openings: frozenset[str]) -> tuple[int | None, bool]:
    """Return the option that is all of a clause after its opening, and whether there is an opening."""
    if "answer" in clause and (links := [at for at, word in enumerate(clause) if word in ("is", "be")]):
        place = names.get(_TRAILING.sub("", " ".join(clause[links[-1] + 1 :])))
        if place is not None and not any(_denies(word) for word in clause[: links[-1]]):
            return place, True
    led: set[int] = set()
    for first in range(len(clause)):
        rest = " ".join(clause[first:])
        place = names.get(rest, names.get(_TRAILING.sub("", rest)))
        if place is not None:
            # "yes/no": an opening that is another option itself
            return (None, False) if led - {place} else (place, first > 0)
        if clause[first] in names:
            led.add(names[clause[first]])
        if clause[first] not in openings and clause[first] not in _LEADING:
            break
    return None, False


def _denies(word: str) -> bool:
    return word in FOREIGN_DENIALS or word in _DOUBTS or word.endswith("nt") and word[:-2] in _AUXILIARIES


def _opening(clause: list[str], names: Mapping[str, int]) -> int | None:
    for length in range(min(4, len(clause)), 0, -1):
        place = names.get(" ".join(clause[:length]))
        if place is not None:
            following = clause[length : length + 1]
            another = names.get(" ".join(following), place) != place
            return None if another or not _PHRASE.isdisjoint(following) else place
    return None
