r"""Implements `choice` and `choice_text`, which find the option that a response names by layers, and never guess.

The first layer that finds an option decides, and gives the answer its rule:

    bare              the whole text is one letter, also in brackets, quotes or bold: "B", "b", "(b).", "**B**"
    boxed             the same layers inside \boxed{...}
    answer_tag        the same layers inside <answer>...</answer>
    answer_is         a statement or conclusion: "the answer is C", "answer: b", "I'd say C", "..., so C"; where
                      several differ, the one called final
    letter_and_text   the text begins with a letter that is set apart: "B. Dog", "B) Dog", "C because ..."
    option_letter     a letter in a place where only an option can stand: "option b", "(D)", "it's C", "not A but D"
    option_text       the text is one option's text, or names exactly one as whole words

A response without an answer gets one of these rules:

    empty             nothing is left of it, or its last thought is never closed (reasoning.py)
    ambiguous         two different options, both affirmed
    conflict          a letter with the text of another option: "B. blues" where blues is C
    out_of_range      a letter that the row does not have
    negated           options are only denied: "not A"
    refusal           an option is named inside an "I cannot tell"
    no_answer         nothing names an option

A letter that is also a word ("A", "a") counts only where no article can stand; other lower-case letters only alone,
marked or in a statement. Denied letters ("not B but C", "B is wrong") and questions ("B?") never count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marathon_eval.api.filter import Answer, FilterContext, FilterStep, Held
from marathon_eval.scoring.filters.option_text import REFUSAL, contained, option_texts, plain_text, same_as
from marathon_eval.scoring.reasoning import without_thoughts

if TYPE_CHECKING:
    from marathon_eval.scoring.filters.letters import Mention

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
    """Return a filter whose answer is the option's letter, in the layout's case ("A" or "a")."""
    return _step(lambda place, context: context.letters[place] if context.letters else chr(ord("A") + place))


def choice_text() -> FilterStep:
    """Return a filter whose answer is the text of the option, found by the same layers."""
    return _step(lambda place, context: context.choices[place])


def _step(option_name: Callable[[int, FilterContext], str]) -> FilterStep:
    def change(repeat: Held, context: FilterContext) -> Held:
        place, rule = find(repeat.text, context.choices, len(context.letters))
        if place is None:
            return Held(repeat.text, rule, False)
        return Held(option_name(place, context), rule)

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        return [change(repeat, context) if repeat.found else repeat for repeat in repeats]

    return step


def extract(text: str, context: FilterContext) -> Answer:
    """Return the answer that `choice` finds in one text."""
    letter, rule, found = choice()([Held(text)], context)[0]
    return Answer(letter if found else None, rule)


def find(text: str, choices: tuple[str, ...], letters: int) -> tuple[int | None, str]:
    """Return the place of the option that a text names (None: no answer), and the rule.

    `letters` is the number of options that have a letter; 0 for a layout without letters.
    """
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
    """Remove thoughts, chat tokens and markup, and give quotes and full-width letters one form."""
    text = without_thoughts(unicodedata.normalize("NFKC", text).translate(_QUOTES))
    text = _ROLE.sub("", _CHAT_TOKEN.sub("", text))
    text = _HTML_STYLE.sub(lambda match: _emphasis(match[2]), _LATEX_TEXT.sub(r"\1", text))
    text = _LINE_MARKS.sub("", _BOLD_LETTER.sub(r"(\2)", text))
    return re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", text).strip()


def _emphasis(inner: str) -> str:
    return f"({inner.strip()})" if _lone(inner.strip()) is not None else inner


def _lone(text: str) -> int | None:
    """Return the place in the alphabet of a text that is one letter, else None."""
    return ord(text.upper()) - ord("A") if len(text) == 1 and text.isascii() and text.isalpha() else None


def _in_range(place: int, rule: str, letters: int) -> tuple[int | None, str]:
    return (place, rule) if place < letters else (None, "out_of_range")


def _agreed(results: Sequence[tuple[int | None, str]], rule: str) -> tuple[int | None, str]:
    """Combine what several boxes or tags say; if none names an option, the last one's reason stands."""
    places = {place for place, _ in results if place is not None}
    if len(places) > 1:
        return None, "ambiguous"
    return (places.pop(), rule) if places else results[-1]


def _layers(text: str, choices: tuple[str, ...], letters: int) -> tuple[int | None, str]:
    if letters and (place := _lone(text.strip(_AROUND))) is not None:
        return _in_range(place, "bare", letters)
    # An option's own words may look like a statement ("A, B and C"; "Plan B"), so a whole match goes first.
    if (place := option_texts(choices).whole.get(plain_text(text))) is not None:
        return place, "option_text"
    # imported only for texts of more than one letter: its patterns take a while to compile
    from marathon_eval.scoring.filters.letters import mentions

    letter_mentions = mentions(text, choices, letters) if letters else []
    by_letter = _by_letter(letter_mentions, choices, letters)
    return by_letter or _by_text(text, choices, denied=bool(letter_mentions))


def _by_letter(
    letter_mentions: Sequence[Mention], choices: tuple[str, ...], letters: int
) -> tuple[int | None, str] | None:
    """Return the decision of the three letter layers; None when no letter is affirmed."""
    affirmed = [mention for mention in letter_mentions if not mention.denied]
    stated = [mention for mention in affirmed if mention.rule == "answer_is"]
    if final := [mention for mention in stated if mention.final]:
        stated = final[-1:]
    opening = [mention for mention in affirmed if mention.rule == "letter_and_text"]
    if opening and opening[0].spelled_out:
        # The option's own text follows its letter, so letters inside that text do not count. A list of all options
        # has several such letters, which stay.
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
