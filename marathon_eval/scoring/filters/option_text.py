"""Finds the option that an answer names by its text: in whole words, one option only, and not denied.

Texts are compared without case, punctuation and spacing (words.py). The name or the range alone also identifies an
option "Name - description" or "Name (range)", unless another option shares it. Options that have no words, or the same
words as another option, are compared with all their signs. Equal options count as the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.common_options import (
    COMMON,
    common_named,
    is_counted,
    is_pronoun,
    praises_answer,
)
from marathon_eval.scoring.filters.counts import is_inside_number, respelled_counts
from marathon_eval.scoring.filters.languages import (
    CONTRASTS,
    FOREIGN_DENIALS,
    FOREIGN_OPENINGS,
    FOREIGN_REJECTIONS,
)
from marathon_eval.scoring.filters.unspaced import is_unspaced, unspaced_named, unspaced_names
from marathon_eval.scoring.filters.words import BREAK, plain_text, words_and_breaks, written

_NAME_PARTS = lazy_pattern(
    r"(?P<name>.+?)(?:\s+[-\u2013\u2014:]\s+.+|\s*\((?P<range>[^()]+)\))\s*\Z", re.DOTALL
)
_OPENINGS = (
    "so thus therefore hence well ok okay yes it is its s this that thats i think believe guess id say would my the a an best "
    "most likely probably clearly correct right final answer option choice be must should sounds like definitely certainly "
    "absolutely surely obviously then to im am confident sure seems was in fact appears response conclusion verdict prediction"
)
#: Words with which a sentence may lead to its answer: "i think it is the".
OPENINGS = frozenset(_OPENINGS.split()) | FOREIGN_OPENINGS
#: Words that deny what follows them in the same clause.
_DENIALS = (
    "not no never neither nor cannot cant without except excluding dont doesnt didnt isnt wasnt arent werent wont "
    "wouldnt couldnt shouldnt hardly nothing nobody none rule ruled ruling eliminate eliminated non unlike than "
    "instead doubt unlikely exclude excludes"
)
#: Words that deny what stands before them in the same clause.
_REJECTIONS = (
    "wrong incorrect false unlikely impossible out not isnt wasnt cannot cant eliminated excluded ruled rejected dismissed "
    "discarded doesnt never"
)
#: What makes the opposite of a word: "valid", "invalid".
_NEGATIVE_PREFIXES = ("in", "un", "im", "ir", "il", "dis", "non")
_JOINING = frozenset(["and", "definitely", "certainly", "clearly", "surely"])
DENYING = frozenset(_DENIALS.split()) | FOREIGN_DENIALS
_REJECTING = frozenset(_REJECTIONS.split()) | FOREIGN_REJECTIONS
#: Words of a clause in which a denial is looked for: a model in a loop writes clauses without an end.
_CLAUSE_WORDS = 100
_NO_DENIAL = lazy_pattern(
    r"\b(?:no|without (?:a |any )?) ?(?:doubt|question)\b|\bnot only\b|\bno,(?=\s)|\bno other than\b",
    re.IGNORECASE,
)
_ANYTHING_BUT = lazy_pattern(
    r"\b(?:(?:anything|everything|all|any of them) but|far from|less than(?= [a-z]))\b", re.IGNORECASE
)
_CONTRAST = lazy_pattern(
    rf"\b(?:{'|'.join(CONTRASTS.split())}|and(?= (?:sounds?|is|seems?|appears?|she|he|they|it|the speaker|the voice)\b))\b",
    re.IGNORECASE,
)
#: Words without which the three patterns above find nothing; they take longer than a look at the words.
_REWRITTEN = frozenset(f"{CONTRASTS} no not without and but far less".split())


class Alias(NamedTuple):
    """Holds one way to name an option: its words, and the option's place."""

    words: tuple[str, ...]
    option: int


class OptionTexts(NamedTuple):
    """Holds the names of a row's options.

    `whole` maps a whole answer to a place, `bare` the same without words of an opening, `joined` without spaces.
    `aliases` go longest first and are found in running text; `common` are those that any sentence may hold, `signed` those
    that only their signs tell apart, `unspaced` those in scripts without spaces, `lone` those of one letter.
    `first` is the place of the first equal option, `longest` the number of words of the longest name.
    """

    whole: dict[str, int]
    bare: dict[str, int]
    joined: dict[str, int]
    aliases: tuple[Alias, ...]
    common: dict[str, int]
    signed: tuple[tuple[str, int], ...]
    fold: bool
    unspaced: tuple[tuple[str, int], ...]
    lone: dict[str, int]
    first: tuple[int, ...]
    longest: int


@lru_cache(maxsize=256)
def option_texts(choices: tuple[str, ...]) -> OptionTexts:
    """Return every unambiguous way to name each option."""
    forms = [written(choice) for choice in choices]
    fold = len({written(choice, fold=False) for choice in choices}) == len(set(forms))
    forms = forms if fold else [written(choice, fold=False) for choice in choices]
    first = tuple(forms.index(form) for form in forms)
    owners: dict[str, set[int]] = {}
    for place, choice in enumerate(choices):
        for name in {choice, *_parts(choice)}:
            owners.setdefault(plain_text(name), set()).add(first[place])
    for name, place in _negated(choices):
        owners.setdefault(name, set()).add(first[place])
    whole = {name: min(places) for name, places in owners.items() if name and len(places) == 1}
    signed = {
        form: place
        for form, place in zip(forms, first, strict=True)
        if form and whole.get(plain_text(choices[place])) is None
    }
    counted = is_counted(whole)
    common = {
        name: place
        for name, place in whole.items()
        if COMMON.issuperset(name.split()) and not (counted and name in ("one", "none", "all"))
    }
    running = [(name, place) for name, place in whole.items() if name not in common]
    aliases = [
        Alias(tuple(name.split()), place)
        for name, place in running
        if not _lone_letter(name) and not is_unspaced(name)
    ]
    # not in `aliases`: in running text "two people" is rarely the option 2
    whole = {**respelled_counts(choices, owners.keys(), first), **whole}
    return OptionTexts(
        whole,
        _unique((" ".join(without_opening(name.split())), place) for name, place in whole.items()),
        _unique((name.replace(" ", ""), place) for name, place in whole.items() if len(name) > 3),
        tuple(sorted(aliases, key=lambda alias: -len(alias.words))),
        {name: place for name, place in common.items() if not is_unspaced(name)},
        tuple(sorted(signed.items(), key=lambda item: -len(item[0]))),
        fold,
        tuple((name, place) for name, place in whole.items() if is_unspaced(name)),
        {name: place for name, place in whole.items() if _lone_letter(name)},
        first,
        max((name.count(" ") + 1 for name in whole), default=0),
    )


def _negated(choices: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield the names by which the opposite of another option goes too: "not valid" and "isn't valid" for invalid."""
    places = {plain_text(choice): place for place, choice in enumerate(choices)}
    for name in places:
        for opposite in (f"{prefix}{name}" for prefix in _NEGATIVE_PREFIXES):
            if name and opposite in places:
                yield from ((f"{word} {name}", places[opposite]) for word in ("not", "isnt", "wasnt"))


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    places: dict[str, set[int]] = {}
    for name, place in pairs:
        places.setdefault(name, set()).add(place)
    return {name: min(found) for name, found in places.items() if name and len(found) == 1}


def _parts(choice: str) -> list[str]:
    match = _NAME_PARTS.match(choice)
    return [part for part in match.groups() if part] if match else []


def _lone_letter(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text.isalpha()


def same_as(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the place of the option that is the whole text, apart from openings like "it is the"; else None."""
    texts = option_texts(choices)
    if texts.signed and (place := _signed_whole(text, texts)) is not None:
        return place
    words, first = plain_text(text).split(), 0
    while first < len(words):
        # a model in a loop may write thousands of openings: only as many words as a name has are joined
        name = " ".join(words[first:]) if len(words) - first <= texts.longest else ""
        if (place := texts.whole.get(name)) is not None:
            return place if _opens_without_option(words[:first], place, texts) else None
        if words[first] not in OPENINGS:
            break
        first += 1
    name = " ".join(words[first:])
    if name and (place := texts.bare.get(name)) is not None:
        return place
    joined = name.replace(" ", "")
    return texts.joined.get(joined) if len(joined) > 3 else None


def _opens_without_option(words: list[str], place: int, texts: OptionTexts) -> bool:
    """Return whether an opening names no other option, as the first words of "yes/no" and "a man, a woman" do."""
    opening = f" {' '.join(words)} "
    return not words or all(other == place or f" {own} " not in opening for own, other in texts.whole.items())


def _signed_whole(text: str, texts: OptionTexts) -> int | None:
    form = written(text, texts.fold)
    names = dict(texts.signed)
    return next(
        (names[option] for option in (form, form.strip("\"'`*() "), form.rstrip(". ")) if option in names),
        None,
    )


def without_opening(words: list[str]) -> list[str]:
    """Return the words after an opening like "i think it is the"."""
    first = next((at for at, word in enumerate(words) if word not in OPENINGS), len(words))
    return words[first:]


def begins_with(text: str, choices: tuple[str, ...], place: int) -> bool:
    """Return whether a text begins with the words of the option at `place`."""
    texts = option_texts(choices)
    words = plain_text(text[: 4 * max(len(choices[place]), 20)]).split() if place < len(choices) else []
    own = texts.first[place] if place < len(choices) else -1
    return any(
        place_of_name == own and words[: name.count(" ") + 1] == name.split()
        for name, place_of_name in texts.whole.items()
        if not _lone_letter(name)
    )


def contained(text: str, choices: tuple[str, ...]) -> set[int]:
    """Return the places of the options that a text names and does not deny.

    Longer options match first, and no other option may use their words again: "metro station" does not name "metro".
    """
    texts = option_texts(choices)
    named = _signed_named(text, texts) if texts.signed else set()
    if texts.unspaced:
        named |= unspaced_named(text, unspaced_names(texts.unspaced))
    words = words_and_breaks(text)
    if not _REWRITTEN.isdisjoint(words):
        plain = _ANYTHING_BUT.sub("not", _NO_DENIAL.sub(" ", text))
        words = words_and_breaks(_CONTRAST.sub(r",\g<0>", plain))
    named |= _running(words, texts)
    if texts.common:
        words = words_and_breaks(_CONTRAST.sub(r",\g<0>", text))
        named |= common_named(words, texts.common, OPENINGS, bool(named))
    return named


def _running(words: list[str], texts: OptionTexts) -> set[int]:
    """Return the places of the options that stand in running text as whole words."""
    content = [at for at, word in enumerate(words) if word != BREAK]
    present = set(words)
    used: set[int] = set()
    named: set[int] = set()
    for alias in texts.aliases:
        if not present.issuperset(alias.words):
            continue
        for first in range(len(content) - len(alias.words) + 1):
            span = content[first : first + len(alias.words)]
            if not used.isdisjoint(span) or tuple(words[at] for at in span) != alias.words:
                continue
            if alias.words == ("one",) and is_pronoun(words, span[0]):
                continue
            if len(alias.words) == 1 and praises_answer(words, span[0]):
                continue
            used.update(span)
            if not is_inside_number(words, span[0], span[-1]) and not _denied(
                words, span[0], span[-1], texts
            ):
                named.add(alias.option)
    return named


def _signed_named(text: str, texts: OptionTexts) -> set[int]:
    """Return the places of the options that only signs tell apart, where they stand alone in running text."""
    form = written(text, texts.fold)
    named: set[int] = set()
    for name, place in texts.signed:
        pattern = re.escape(name)
        pattern = rf"(?<![\w$€£¥#+<>=/-]){pattern}" if name[0].isalnum() else pattern
        pattern = rf"{pattern}(?![\w#+/%-])" if name[-1].isalnum() else pattern
        form, count = re.subn(pattern, " ", form)
        if count:
            named.add(place)
    return named


def _denied(words: list[str], first: int, last: int, texts: OptionTexts) -> bool:
    """Whether the clause of words[first:last + 1] denies them, before ("not a dog") or after ("dog is wrong")."""
    before = words[max(0, first - _CLAUSE_WORDS) : first][::-1]
    before = before[: before.index(BREAK)] if BREAK in before else before
    after = words[last + 1 : last + 1 + _CLAUSE_WORDS]
    after = after[: after.index(BREAK)] if BREAK in after else after
    joined = next((at for at, word in enumerate(after) if word not in _JOINING), 0)
    if after[joined : joined + 1] in (["not"], ["no"]) and _option_follows(after[joined + 1 :], texts):
        after = []  # "blues not pop", "blues and no pop" deny pop
    return not DENYING.isdisjoint(before) or not _REJECTING.isdisjoint(after[:3])


def _option_follows(words: list[str], texts: OptionTexts) -> bool:
    ways = (words, without_opening(words))  # the article may be a word of the option: "A man"
    return any(tuple(way[: len(alias.words)]) == alias.words for way in ways for alias in texts.aliases)
