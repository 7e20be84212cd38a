"""Finds the option that an answer names by its text: in whole words, one option only, and not denied.

Texts are compared without case, punctuation and spacing. The name or the range alone also identifies an option
"Name - description" or "Name (range)", unless another option shares it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

_NAME_PARTS = re.compile(
    r"(?P<name>.+?)(?:\s+[-\u2013\u2014:]\s+.+|\s*\((?P<range>[^()]+)\))\s*\Z", re.DOTALL
)
_OPENING = re.compile(
    r"(?:(?:so|thus|therefore|hence|well|ok|okay|yes|it is|its|it s|this is|that is|thats|i think|i believe|i guess"
    r"|id say|i d say|i would say|i say|my|the|a|an|best|most likely|probably|clearly|likely|correct|right|final"
    r"|answer|option|choice|is|would be|must be|should be|sounds like|it sounds like) )+"
)
#: Words that deny what follows them in the same clause.
_DENIALS = (
    "not no never neither nor cannot cant without except excluding dont doesnt didnt isnt wasnt arent werent wont "
    "wouldnt couldnt shouldnt hardly nothing nobody none rule ruled ruling eliminate eliminated non unlike than "
    "instead doubt unlikely exclude excludes"
)
#: Words that deny what stands before them in the same clause.
_REJECTIONS = "wrong incorrect false unlikely impossible out not isnt wasnt cannot cant eliminated excluded doesnt never"
#: `_DENIALS` and `_REJECTIONS` as sets.
DENIALS, REJECTIONS = frozenset(_DENIALS.split()), frozenset(_REJECTIONS.split())
#: An option of such words alone ("No", "Not at all") may be in any sentence; it counts only where an answer begins.
_COMMON = DENIALS | frozenset(
    ("yes", "a", "an", "the", "it", "is", "at", "all", "one", "and", "or", "of", "i", "you", "we")
)
#: "I cannot tell" and other ways to refuse an answer.
REFUSAL = re.compile(
    r"\b(?:can(?:not|'?t| not)|could(?: not|n'?t)|unable|not able|not (?:entirely |really |quite )?(?:sure|certain|clear)|unsure"
    r"|unclear|uncertain|(?:do(?: not|n'?t)|did(?: not|n'?t)) (?:know|hear|understand)|no idea|hard to|difficult to|impossible"
    r"|not possible|insufficient|not enough|sorry|apologi[sz]e|as an ai|none of|all of the|both|whether|depends)\b",
    re.IGNORECASE,
)
_BREAK = "\n"


class Alias(NamedTuple):
    """Holds one way to name an option: its words, and the option's place."""

    words: tuple[str, ...]
    option: int


class OptionTexts(NamedTuple):
    """Holds the names of a row's options: `whole` maps a whole answer to a place; `aliases` go longest first."""

    whole: dict[str, int]
    aliases: tuple[Alias, ...]


@lru_cache(maxsize=1 << 14)
def plain_text(text: str) -> str:
    """Fold case and replace punctuation by spaces; accents stay, and `+`, `%` and `°` belong to words ("71+")."""
    return " ".join(_words(text, ""))


def _words(text: str, breaks: str) -> list[str]:
    """Return the words of a text; each character of `breaks` becomes a word of its own, `_BREAK`."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    spaced = "".join(
        char
        if char.isalnum() or unicodedata.combining(char) or char in "+%°"
        else f" {_BREAK} "
        if char in breaks
        else " "
        for char in folded
    )
    return [word for word in spaced.split(" ") if word]


@lru_cache(maxsize=2048)
def option_texts(choices: tuple[str, ...]) -> OptionTexts:
    """Return every unambiguous way to name each option."""
    owners: dict[str, set[int]] = {}
    for place, choice in enumerate(choices):
        for name in {choice, *_parts(choice)}:
            owners.setdefault(plain_text(name), set()).add(place)
    whole = {name: places.pop() for name, places in owners.items() if name and len(places) == 1}
    aliases = [Alias(tuple(name.split()), place) for name, place in whole.items() if not _lone_letter(name)]
    aliases.sort(key=lambda alias: -len(alias.words))
    return OptionTexts(whole, tuple(aliases))


def _parts(choice: str) -> list[str]:
    match = _NAME_PARTS.match(choice)
    return [part for part in match.groups() if part] if match else []


def _lone_letter(text: str) -> bool:
    return len(text) == 1 and text.isalpha()


def same_as(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the place of the option that is the whole text, apart from openings like "it is the"; else None."""
    words, texts = plain_text(text), option_texts(choices)
    if words in texts.whole:
        return texts.whole[words]
    bare = _without_opening(words)
    joined = bare.replace(" ", "")
    places = {
        place
        for name, place in texts.whole.items()
        if (bare and bare == _without_opening(name)) or (len(joined) > 3 and joined == name.replace(" ", ""))
    }
    return places.pop() if len(places) == 1 else None


def _without_opening(words: str) -> str:
    """Return the words after an opening like "i think it is the"."""
    match = _OPENING.match(words + " ")
    return words[match.end() :] if match else words


def begins_with(text: str, choices: tuple[str, ...], place: int) -> bool:
    """Whether a text begins with the words of the option at `place`."""
    words = plain_text(text).split()
    return any(
        alias.option == place and tuple(words[: len(alias.words)]) == alias.words
        for alias in option_texts(choices).aliases
    )


def contained(text: str, choices: tuple[str, ...]) -> set[int]:
    """Return the places of the options that a text names as whole words and does not deny.

    Longer options match first, and no other option may use their words again: "metro station" does not name "metro".
    """
    words = _words(
        re.sub(r"\b(?:but|however|though|because|while)\b", ",", text, flags=re.IGNORECASE), ".,;:!?\n\u2014"
    )
    content = [at for at, word in enumerate(words) if word != _BREAK]
    used: set[int] = set()
    named: set[int] = set()
    for alias in option_texts(choices).aliases:
        for first in range(len(content) - len(alias.words) + 1):
            span = content[first : first + len(alias.words)]
            if first and _COMMON.issuperset(alias.words):
                break
            if used.isdisjoint(span) and tuple(words[at] for at in span) == alias.words:
                used.update(span)
                if not _denied(words, span[0], span[-1], option_texts(choices)):
                    named.add(alias.option)
    return named


def _denied(words: list[str], first: int, last: int, texts: OptionTexts) -> bool:
    """Whether the clause of words[first:last + 1] denies them, before ("not a dog") or after ("dog is wrong")."""
    before = words[:first][::-1]
    before = before[: before.index(_BREAK)] if _BREAK in before else before
    after = words[last + 1 :]
    after = after[: after.index(_BREAK)] if _BREAK in after else after
    if after[:1] == ["not"] and _option_follows(after[1:], texts):
        after = []  # "blues not pop" denies pop
    return not DENIALS.isdisjoint(before) or not REJECTIONS.isdisjoint(after[:3])


def _option_follows(words: list[str], texts: OptionTexts) -> bool:
    following = _without_opening(" ".join(words)).split()
    return any(tuple(following[: len(alias.words)]) == alias.words for alias in texts.aliases)
