"""Finds the letters that stand for an option in running text, and whether the text affirms or denies them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from marathon_eval.scoring.filters import letter_patterns as patterns
from marathon_eval.scoring.filters.languages import (
    AFTER,
    ANSWER_WORDS,
    FOREIGN_DENIALS,
    FOREIGN_REJECTIONS,
    GLUE,
    LINKS_AFTER,
    UNSPACED_AFTER,
    UNSPACED_BEFORE,
    UNSPACED_BEHIND,
)
from marathon_eval.scoring.filters.option_text import begins_with
from marathon_eval.scoring.filters.words import BREAK, words_and_breaks

#: The layers of choice.py that a letter may belong to.
LetterRule = Literal["answer_is", "letter_and_text", "option_letter"]
#: Characters before and after a letter that are examined.
_WINDOW = 300
#: Denials of other languages, without those that are words of English too, or parts of questions.
_DENYING = FOREIGN_DENIALS - {"ne", "ob", "no", "nest", "o"}
#: The same for words that deny what stands before them.
_REJECTING = FOREIGN_REJECTIONS - {"no"}
_DECORATION = "([{<\"'$\\ "
#: Characters between a letter and the text of its option.
_SET_OFF, _DASHES = " \t([{<)]}>.:,\"'", "-\u2013\u2014"


class Mention(NamedTuple):
    """Describes one letter that stands for an option.

    `place` is its place in the alphabet; `denied` is true for "not B" and "B is wrong"; `final`, where the text calls
    it the final answer. `beside` is the text on the letter's line that belongs to it, and `spelled_out` tells whether
    that text begins with the option's own.
    """

    place: int
    rule: LetterRule
    denied: bool
    final: bool
    beside: str
    spelled_out: bool


class _Letter(NamedTuple):
    """Holds a letter that is not part of a word, with its surroundings.

    `marked` is true for "(b)", "b)", "[B]"; `opens` where the text begins with the letter.
    """

    letter: str
    marked: bool
    opens: bool
    before: str
    after: str

    @property
    def place(self) -> int:
        return ord(self.letter.upper()) - ord("A")

    def option(self, choices: tuple[str, ...]) -> str:
        """Return the text of the letter's option, "" where the row has none."""
        return choices[self.place] if self.place < len(choices) else ""

    @property
    def prefix(self) -> str:
        """Return the letter's sentence before it, without the brackets and quotes that open around the letter."""
        return patterns.SENTENCE.split(self.before)[-1].rstrip(_DECORATION) + " "


def mentions(
    text: str, choices: tuple[str, ...], letters: int, spans: re.Pattern[str] | None = None
) -> list[Mention]:
    """Return every letter of a cleaned text that stands for an option, denied ones too, in order.

    Letters inside of `spans`, an option's own words, stand for none.
    """
    text = patterns.EXCEPT.sub(r"\1 except", patterns.NO_DENIAL.sub("", text))
    in_order: list[Mention] = []
    # a model in a loop repeats the same words a thousand times, so each letter with its surroundings is read once
    by_letter: dict[_Letter, Mention | None] = {}
    last, ended = None, 0
    own_words = [match.span() for match in spans.finditer(text)] if spans else []
    for start, this in _letters(text):
        if any(first <= start < end for first, end in own_words):
            continue
        if this not in by_letter:
            by_letter[this] = _read(this, choices)
        mention = by_letter[this]
        if last and (mention is None or mention.rule == "option_letter") and _listed(text[ended:start], this):
            spelled_out = begins_with(this.after, choices, this.place)
            mention = last._replace(place=this.place, beside="", spelled_out=spelled_out)
        if mention and (this.place < letters or this.letter != "I"):
            in_order.append(mention)
            last, ended = mention, start + 1
    return in_order


def _letters(text: str) -> Iterator[tuple[int, _Letter]]:
    """Yield the position of each letter that is not part of a word, and the letter with its surroundings."""
    for match in patterns.LETTER.finditer(text):
        start, end = match.span()
        before, after = text[max(0, start - _WINDOW) : start], text[end : end + _WINDOW]
        opened, closed = before[-1:] in tuple("([{<"), after[:1] in tuple(")]}>")
        # in "(see vitamin a)" the bracket closes the remark, not the letter
        closes_letter = closed and (opened or before.count("(") <= before.count(")"))
        opens = start <= _WINDOW and not before.strip(_DECORATION)
        yield start, _Letter(match[0], closes_letter and (opened or after[0] == ")"), opens, before, after)


def _read(this: _Letter, choices: tuple[str, ...]) -> Mention | None:
    rule = _rule(this, choices)
    return _mention(this, rule, choices) if rule else None


def _rule(this: _Letter, choices: tuple[str, ...]) -> LetterRule | None:
    """Return the layer that a letter belongs to; None for a word, a name, a note, or a letter in a question."""
    own = this.option(choices)
    if patterns.QUESTION.match(this.after) or patterns.QUESTION.match(_after_own_text(this.after, own) or ""):
        return None
    prefix = this.prefix
    if _no_article(this) and any(pattern.search(prefix) for pattern in patterns.STATEMENTS):
        return "answer_is"
    if _foreign_statement(this):
        return "answer_is"
    if _closes(this):
        return "answer_is"
    if this.opens and _opens(this, choices):
        return "letter_and_text"
    named = patterns.NAMED.search(prefix) or (
        (patterns.LOOSELY_NAMED.search(prefix) or patterns.RULED_OUT.search(prefix)) and _no_article(this)
    )
    if (
        this.letter.isupper()
        and patterns.MARKED_ENTRY.match(this.after)
        and begins_with(this.after, choices, this.place)
    ):
        return "option_letter"
    described = this.letter.isupper() and this.letter != "I" and patterns.DESCRIBES.match(this.after)
    return "option_letter" if this.marked or named or described or _only_choice(this) else None


def _foreign_statement(this: _Letter) -> bool:
    """Whether words of other languages state the letter: "la respuesta es C", "C ist richtig", "Cです"."""
    if this.letter.islower() and not (this.marked or patterns.TERMINAL.match(this.after)):
        return False
    if this.prefix.isascii() and this.after.isascii() and not this.prefix.strip() and not this.after.strip():
        return False
    led = words_and_breaks(this.prefix[-80:].replace(":", " ").replace("\u2014", " ").replace("\u2013", " "))
    while led and led[-1] in GLUE and led[-1] not in ANSWER_WORDS:
        led.pop()
    if led and led[-1] in ANSWER_WORDS:
        return True
    if this.after[:12].isascii() and not this.letter.isupper():
        return False
    if UNSPACED_AFTER.match(this.after):
        return True
    if this.letter.islower():
        return False
    if patterns.ANNOUNCES.match(this.after):
        return False
    following = words_and_breaks(this.after[:80])
    following = following[: following.index(BREAK)] if BREAK in following else following
    return all(word in AFTER for word in following) and not LINKS_AFTER.issuperset(following)


def _no_article(this: _Letter) -> bool:
    """Whether the letter cannot be an article: it is marked, ends a clause, or is a capital that is no word."""
    if this.marked or patterns.TERMINAL.match(this.after):
        return True
    if this.letter.islower():
        return False
    if this.letter not in patterns.WORD_LETTERS:
        return True
    return bool(patterns.CONNECTED.match(this.after) or patterns.ANOTHER.match(this.after))


def _opens(this: _Letter, choices: tuple[str, ...]) -> bool:
    """Whether a letter at the very beginning is set apart from what follows."""
    if this.letter.islower():
        return patterns.SMALL_SET_APART.match(this.after) is not None
    if patterns.RATED.match(this.after) and not begins_with(this.after, choices, this.place):
        return False
    if patterns.SET_APART.match(this.after) or patterns.CONNECTED.match(this.after):
        return True
    if this.letter in patterns.WORD_LETTERS:
        return False
    return begins_with(this.after, choices, this.place) or patterns.IS.match(this.after) is not None


def _closes(this: _Letter) -> bool:
    """Whether the letter is all of the last line, and the line before it is no letter too."""
    before = this.before.rstrip(_DECORATION)
    if this.after.strip(_SET_OFF + "\n") or not before.endswith("\n"):
        return False
    return len(before.rstrip().rpartition("\n")[2].strip(_SET_OFF)) > 1


def _only_choice(this: _Letter) -> bool:
    """Whether the letter's clause says nothing but which option it is: "so C", "D is correct", "not A"."""
    before, after = _clause(this.before, this.after)
    if this.letter.islower():
        # a lower-case letter counts only as the whole clause, and "a" only as the whole line
        line = this.before.rpartition("\n")[2] + this.after.partition("\n")[0]
        return not (line if this.letter == "a" else before + after).strip(" .\"'()")
    if ":" in before and not re.fullmatch(r"\s*(?:so|thus|final|ok|well)?\s*:\s*", before, re.IGNORECASE):
        return False
    words = [*patterns.WORD.findall(before), *patterns.WORD.findall(after)]
    if not all(word.lower() in patterns.FILLERS or (len(word) == 1 and word.isupper()) for word in words):
        return False
    if this.letter not in patterns.WORD_LETTERS or not after.strip(" )]}\"'"):
        return True
    return this.letter != "I" and bool(patterns.PREDICATE.match(after) or patterns.ANOTHER.match(after))


def _clause(before: str, after: str) -> tuple[str, str]:
    """Return the clause around a letter as two texts, before it and after it, where a remark in brackets ends it."""
    end = patterns.CLAUSE.search(after)
    behind = after[: end.start()] if end else after
    return patterns.CLAUSE.split(before)[-1], behind.partition(" (")[0]


def _mention(this: _Letter, rule: LetterRule, choices: tuple[str, ...]) -> Mention:
    own = this.option(choices)
    behind = _after_own_text(this.after, own)
    before, after = _clause(_before_own_text(this.before, own), this.after if behind is None else behind)
    denied = patterns.DENIED_BEFORE.search(before) is not None
    judged = (
        rule != "letter_and_text"
        or patterns.IS.match(after)
        or (behind is not None and patterns.PREDICATE.match(behind))
    )
    if judged and not patterns.CONTRAST.match(after):
        denied = denied or patterns.DENIED_AFTER.search(after) is not None
    denied = denied or bool(patterns.REJECTED_BEHIND.match(this.after if behind is None else behind))
    denied = denied or _foreign_denial(before, after)
    denied = denied or bool(
        patterns.GRANTED_BEFORE.search(before) and patterns.GRANTED_AFTER.match(this.after)
    )
    line = this.after.lstrip("\n").partition("\n")[0]
    return Mention(
        this.place,
        rule,
        denied,
        final="final" in this.prefix.lower(),
        beside=line if line.strip(" .,)\"'") else this.before.rpartition("\n")[2],
        spelled_out=begins_with(line, choices, this.place),
    )


def _after_own_text(after: str, option: str) -> str | None:
    """Return what follows the letter and the text of its option, as in "(B) No is wrong"; None where it is not there."""
    own = option.strip().lower()
    # the dash may be a minus: "(A) -5 dB"
    for between in (_SET_OFF, _SET_OFF + _DASHES):
        said = after.lstrip(between)
        if own and said[: len(own)].lower() == own and not said[len(own) : len(own) + 1].isalnum():
            return said[len(own) :]
    return None


def _before_own_text(before: str, option: str) -> str:
    """Return what stands before a letter without the text of its option: "The answer is No (B)" denies nothing."""
    own, ahead = option.strip().lower(), before.rstrip(_SET_OFF + _DASHES)
    if own and ahead.lower().endswith(own) and not ahead[: -len(own)][-1:].isalnum():
        return ahead[: -len(own)]
    return before


def _foreign_denial(before: str, after: str) -> bool:
    """Whether words of other languages in the letter's clause deny it."""
    after = after.lstrip(_SET_OFF + _DASHES)  # "A. Hund: falsch"
    if before.isascii() and after.isascii():  # the usual case, without the work of splitting other scripts
        following = [word.strip(')]".') for word in after[:60].lower().replace("'", "").split()[:4]]
        # "C no es correcta", and not the English "C: there is no dog"
        rejected = not _REJECTING.isdisjoint(following) or following[:1] == ["no"]
        return rejected or not _DENYING.isdisjoint(before[-80:].lower().split())
    if not _DENYING.isdisjoint(words_and_breaks(before[-80:])):
        return True
    following = words_and_breaks(after[:60])
    following = following[: following.index(BREAK)] if BREAK in following else following
    if not FOREIGN_REJECTIONS.isdisjoint(following[:4]):
        return True
    return bool(UNSPACED_BEFORE.search(before) or UNSPACED_BEHIND.search(after))


def _listed(between: str, this: _Letter) -> bool:
    """Whether a letter continues a list: "B or C", "A, C"; "B, C is wrong" is no list."""
    if len(between) > 20 or not patterns.LIST_LINK.match(between):
        return False
    if re.search(r"or|and", between, re.IGNORECASE):
        return this.letter.isupper() or this.marked or bool(patterns.TERMINAL.match(this.after))
    article = this.letter in patterns.WORD_LETTERS and not (
        patterns.TERMINAL.match(this.after) or patterns.ANOTHER.match(this.after)
    )
    return (this.letter.isupper() or this.marked) and not patterns.PREDICATE.match(this.after) and not article
