r"""`choice` and `choice_text`: the option that an answer names, found in layers, never guessed.

The first layer that speaks decides; its name is the answer's rule:

    bare              the whole text is one letter, in brackets, quotes or bold or not: "B", "b", "(b).", "**B**"
    boxed             the same layers inside \boxed{...}
    answer_tag        the same layers inside <answer>...</answer>
    answer_is         a statement or conclusion: "the answer is C", "answer: b", "I'd say C", "..., so C"; of several
                      that differ the one called final
    letter_and_text   the text begins with a letter that is set apart: "B. Dog", "B) Dog", "C because ..."
    option_letter     a letter in a place where only an option can stand: "option b", "(D)", "it's C", "not A but D"
    option_text       the text is one option's text, or names exactly one as whole words

and without an answer:

    empty             nothing is left (a thought that never ended included)
    ambiguous         two different options, both affirmed
    conflict          a letter with the text of another option: "B. blues" where blues is C
    out_of_range      a letter that the row does not have
    negated           options are only denied: "not A"
    refusal           an option is named inside an "I cannot tell"
    no_answer         nothing names an option

A letter that is also a word ("A", "a") counts only where no article can stand; other lower-case letters only alone,
marked or in a statement. Denied letters ("not B but C", "B is wrong") never count, nor does a question ("B?").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marathon_eval.api.filter import Answer, FilterContext, FilterStep, Held
from marathon_eval.scoring.filters.option_text import REFUSAL, contained, option_texts, plain_text, same_as

if TYPE_CHECKING:
    from marathon_eval.scoring.filters.letters import Mention

_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHT_BEFORE = re.compile(r"\A.*</(?:think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)
_CHAT_TOKEN = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")
_ROLE = re.compile(r"\A\s*(?:assistant|model)\s*[:\n]\s*", re.IGNORECASE)
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u00b4\u2032", "''\"\"''", "\u200b\u200c\u200d\u2060\ufeff")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit)\s*\{([^{}]*)\}")
_HTML_STYLE = re.compile(r"<(b|strong|i|em|u|p|code)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_BOLD_LETTER = re.compile(r"(?<!\w)(\*\*|__|\*|_|`)\s*([A-Za-z])\s*\1(?!\w)")
_LINE_MARKS = re.compile(r"^[ \t]*(?:[#>\-*\u2022]+[ \t]+|\d{1,2}[.)][ \t]+(?=\S))", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_TAGGED = re.compile(
    r"<\s*(answer|final_answer|ans|choice)\s*>(.*?)(?:<\s*/\s*\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_AROUND = " \t\r\n\"'`*_()[]{}<>.,:;!-\u2013\u2014\u2022#>|$\\~=\u3002\uff0c\u3001"


def choice() -> FilterStep:
    """The letter, in the layout's case."""
    return _step(lambda place, context: context.letters[place] if context.letters else chr(ord("A") + place))


def choice_text() -> FilterStep:
    """The text of the option that the same layers find."""
    return _step(lambda place, context: context.choices[place])


def _step(named: Callable[[int, FilterContext], str]) -> FilterStep:
    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        read: list[Held] = []
        for one in held:
            place, rule = find(one.text, context.choices, len(context.letters))
            read.append(Held(one.text, rule, False) if place is None else Held(named(place, context), rule))
        return [new if old.found else old for old, new in zip(held, read, strict=True)]

    return step


def extract(text: str, context: FilterContext) -> Answer:
    """The letter that one text names, as `choice` gives it."""
    held = choice()([Held(text)], context)[0]
    return Answer(held.text if held.found else None, held.rule)


def find(text: str, choices: tuple[str, ...], letters: int) -> tuple[int | None, str]:
    """Place of the option that a text names, and the rule; `letters` is how many options are lettered (0: none)."""
    if letters and len(text) < 8 and (place := _lone(text.strip(_AROUND))) is not None and text.isascii():
        return _in_range(place, "bare", letters)
    cleaned = clean(text)
    if not cleaned.strip(_AROUND):
        return None, "empty"
    for pattern, rule in ((_BOXED, "boxed"), (_TAGGED, "answer_tag")):
        if parts := [match[match.re.groups] for match in pattern.finditer(cleaned)]:
            return _agreed([_layers(part, choices, letters) for part in parts], rule)
    return _layers(cleaned, choices, letters)


def clean(text: str) -> str:
    """Without thoughts, chat tokens and markup; one form for quotes and for full-width letters."""
    text = _THOUGHT.sub("", unicodedata.normalize("NFKC", text).translate(_QUOTES))
    text = _ROLE.sub("", _CHAT_TOKEN.sub("", _THOUGHT_BEFORE.sub("", text)))
    text = _HTML_STYLE.sub(lambda match: _emphasis(match[2]), _LATEX_TEXT.sub(r"\1", text))
    text = _LINE_MARKS.sub("", _BOLD_LETTER.sub(r"(\2)", text))
    return re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", text).strip()


def _emphasis(inner: str) -> str:
    return f"({inner.strip()})" if _lone(inner.strip()) is not None else inner


def _lone(text: str) -> int | None:
    """Place in the alphabet of a text that is one letter."""
    return ord(text.upper()) - ord("A") if len(text) == 1 and text.isascii() and text.isalpha() else None


def _in_range(place: int, rule: str, letters: int) -> tuple[int | None, str]:
    return (place, rule) if place < letters else (None, "out_of_range")


def _agreed(read: Sequence[tuple[int | None, str]], rule: str) -> tuple[int | None, str]:
    """What several boxes say together: the last one's reason if none answers."""
    places = {place for place, _ in read if place is not None}
    if len(places) > 1:
        return None, "ambiguous"
    return (places.pop(), rule) if places else read[-1]


def _layers(text: str, choices: tuple[str, ...], letters: int) -> tuple[int | None, str]:
    said = text.strip(_AROUND)
    if letters and (place := _lone(said)) is not None:
        return _in_range(place, "bare", letters)
    # An option's own words may look like a statement ("A, B and C"; "Plan B"), so a whole match goes first.
    if (place := option_texts(choices).whole.get(plain_text(text))) is not None:
        return place, "option_text"
    # imported where a text is more than one letter: its patterns take a while to compile
    from marathon_eval.scoring.filters.letters import mentions

    found = mentions(text, choices, letters) if letters else []
    by_letter = _by_letter(found, choices, letters)
    return by_letter or _by_text(text, choices, denied=bool(found))


def _by_letter(
    found: Sequence[Mention], choices: tuple[str, ...], letters: int
) -> tuple[int | None, str] | None:
    """The decision of the three letter layers; None when no letter is affirmed."""
    affirmed = [mention for mention in found if not mention.denied]
    stated = [mention for mention in affirmed if mention.rule == "answer_is"]
    if final := [mention for mention in stated if mention.final]:
        stated = final[-1:]
    opening = [mention for mention in affirmed if mention.rule == "letter_and_text"]
    if opening and opening[0].spelled_out:
        # Its option's own text follows, whatever letters stand in that; a list of all options has more of these.
        affirmed = [mention for mention in affirmed if mention.spelled_out]
    decisive = stated or affirmed
    if not decisive:
        return None
    if len({mention.place for mention in decisive}) > 1:
        return None, "ambiguous"
    chosen = opening[0] if opening and not stated else decisive[-1]
    place, rule = _in_range(chosen.place, chosen.rule, letters)
    beside = same_as(chosen.beside, choices) if chosen.beside else None
    if place is not None and beside is not None and beside != place:
        return None, "conflict"
    return place, rule


def _by_text(text: str, choices: tuple[str, ...], denied: bool) -> tuple[int | None, str]:
    if (place := same_as(text, choices)) is not None:
        return place, "option_text"
    named = contained(text, choices)
    if len(named) > 1:
        return None, "ambiguous"
    for place in named:
        # An option may itself be worded like a refusal: "None of the above".
        refused = REFUSAL.search(text) and not REFUSAL.search(choices[place])
        if refused or text.rstrip(" \"')").endswith("?"):
            return None, "refusal"
        return place, "option_text"
    return None, "negated" if denied else "no_answer"
