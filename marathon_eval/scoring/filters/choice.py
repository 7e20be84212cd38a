r"""Implements `choice` and `choice_text`, which find the option that a response names by layers, and never guess.

The first layer that finds an option decides, and gives the answer its rule:

    bare              the whole text is one letter, also in brackets, quotes or bold: "B", "b", "(b).", "**B**"
    boxed             the same layers inside \boxed{...}
    answer_tag        the same layers inside <answer>...</answer>
    answer_is         a statement or conclusion: "the answer is C", "answer: b", "I'd say C", "..., so C"; where
                      several differ, the one called final
    letter_and_text   the text begins with a letter that is set apart: "B. Dog", "B) Dog", "C because ..."
    option_letter     a letter in a place where only an option can stand: "option b", "(D)", "it's C", "not A but D"
    option_text       the text, its first or its last line is one option's text, its last sentence concludes with one, or the
                      text names exactly one as whole words

A response without an answer gets one of these rules:

    empty             no text remains after cleaning, or its last thought is never closed (reasoning.py)
    ambiguous         two different options, both affirmed
    conflict          a letter with the text of another option: "B. blues" where blues is C
    out_of_range      a letter that the row does not have
    negated           options are only denied: "not A"
    refusal           an option is named inside an "I cannot tell"
    no_answer         nothing names an option

What a text says after taking its answer back ("B. Wait, actually, it's C.") replaces it (corrections.py).

A letter that is also a word ("A", "a") counts only where no article can stand; other lower-case letters only alone,
marked or in a statement. Denied letters ("not B but C", "B is wrong") and questions ("B?") never count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from marathon_eval.api.filter import Answer, FilterContext, FilterStep, Held
from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.conclusions import concluded_text, stated_text
from marathon_eval.scoring.filters.copied_options import before_end, emphasised, first_turn, without_copy
from marathon_eval.scoring.filters.corrections import after_correction, only_states
from marathon_eval.scoring.filters.lettered_row import (
    LetteredRow,
    carried_named,
    entry_named,
    lettered_row,
    lone_named,
)
from marathon_eval.scoring.filters.option_text import contained, option_texts, same_as
from marathon_eval.scoring.filters.refusals import COURTESY, answered_after_all, refusal_in
from marathon_eval.scoring.filters.words import plain_text, without_questions
from marathon_eval.scoring.reasoning import KNOWN_MARKS, MarkPairs, ThoughtMarks, known_and, without_thoughts

if TYPE_CHECKING:
    from marathon_eval.scoring.filters.letters import Mention

_CHAT_TOKEN = lazy_pattern(r"<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>|\[/INST\]")
_ROLE = lazy_pattern(r"\A\s*(?:assistant|model)\s*[:\n]\s*", re.IGNORECASE)
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u00b4\u2032", "''\"\"''", "\u200b\u200c\u200d\u2060\ufeff")
_LATEX_TEXT = lazy_pattern(r"\\(?:text|textbf|mathrm|mathbf|mathit)\s*\{([^{}]*)\}")
_HTML_STYLE = lazy_pattern(r"<(b|strong|i|em|u|p|code)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_BOLD_LETTER = lazy_pattern(r"(?<!\w)(\*\*|__|\*|_|`)\s*([A-Za-z])\s*\1(?!\w)")
#: A key of JSON of several words: "final_answer".
_KEY = lazy_pattern(r"([\"'])[A-Za-z]+(?:_[A-Za-z]+)+\1(?=\s*:)")
_LINE_MARKS = lazy_pattern(
    r"^[ \t]*(?:[#>\-*\u2022]+[ \t]+(?!\d)|[#*\u2022]+[ \t]+|\d{1,2}[.)][ \t]+(?=\S))", re.MULTILINE
)
_BOXED = lazy_pattern(r"\\f?box(?:ed)?\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|\(?([A-Za-z])(?![A-Za-z]))")
# "- 5" may be minus five, an entry of a list or what follows a dash, so it is read as none of them
_DASHED_NUMBER = lazy_pattern(r"[-\u2212\u2013]\s+(?=\d)")
_HARMONY = lazy_pattern(
    r"(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*final\s*(?:<\|constrain\|>\w+\s*)?<\|message\|>"
)
_TAGGED = lazy_pattern(
    r"<\s*(answer|final_answer|ans|choice|response|solution|conclusion)\s*>(.*?)(?:<\s*/\s*\1\s*>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_AROUND = " \t\r\n\"'`*_()[]{}<>.,:;!-\u2013\u2014\u2022#>|$\\~=\u3002\uff0c\u3001"


def choice(marks: MarkPairs | None = None) -> FilterStep:
    """Return a filter whose answer is the option's letter, in the layout's case ("A" or "a").

    Options without letters get them in the order A to Z, AA, AB, ... `marks` are pairs [opening, closing] around a
    thought, in addition to those of `thought_marks.py`.
    """
    return _step(
        lambda place, context: context.letters[place] if context.letters else _letters_of(place),
        known_and(marks),
    )


def choice_text(marks: MarkPairs | None = None) -> FilterStep:
    """Return a filter whose answer is the text of the option, found by the same layers as in `choice`.

    The answer is the option's letter where its text is the letter of another option.
    """
    return _step(_text_of, known_and(marks))


def _text_of(place: int, context: FilterContext) -> str:
    text = context.choices[place]
    mistakable = text in context.letters and not context.free_gold
    return context.letters[place] if mistakable else text


def _letters_of(place: int) -> str:
    """Return the name of a place as a column of a table has it: A to Z, AA, AB, ..."""
    return (_letters_of(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)


def _step(option_name: Callable[[int, FilterContext], str], known: ThoughtMarks) -> FilterStep:
    def change(repeat: Held, context: FilterContext) -> Held:
        place, rule = find(repeat.text, context.choices, len(context.letters), known)
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


def find(
    text: str, choices: tuple[str, ...], letters: int, known: ThoughtMarks = KNOWN_MARKS
) -> tuple[int | None, str]:
    """Return the place of the option that a text names (None: no answer), and the rule.

    `letters` is the number of options that have a letter; 0 for a layout without letters.
    """
    row = lettered_row(choices, letters)
    place, rule = _found(text, row, known)
    return (None if place is None else row.places[place]), rule


def _found(text: str, row: LetteredRow, known: ThoughtMarks) -> tuple[int | None, str]:
    """Return the place among the row's lettered texts, and the rule."""
    unclear = _has_unclear_minus(text, row)
    if (
        len(text) < 8
        and not unclear
        and len(name := plain_text(text)) > 1
        and name in (whole := option_texts(row.texts).whole)
    ):
        return whole[name], "option_text"
    if row.letters and len(text) < 8 and text.isascii() and (place := _bare(text, row)) is not None:
        return _in_range(place, "bare", row)
    if (
        not unclear
        and option_texts(row.texts).signed
        and (place := same_as(text.strip(), row.texts)) is not None
    ):
        return place, "option_text"
    answered = before_end(without_thoughts(text.translate(_QUOTES), known))
    if (first := first_turn(answered)) is not None:
        place, rule = _read_turn(first, row)
        if place is not None or rule == "ambiguous":
            return place, rule
    return _read_turn(answered, row)


def _read_turn(text: str, row: LetteredRow) -> tuple[int | None, str]:
    normal = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    if _has_unclear_minus(normal, row):
        normal = _DASHED_NUMBER.sub(r"\g<0>pm", normal)
    rest, chosen = without_copy(normal, row.texts)
    cleaned = clean(rest)
    if rest is not normal and not cleaned.strip(_AROUND):
        return (chosen, "option_text") if chosen is not None else (None, "ambiguous")
    if not cleaned.strip(_AROUND) and not _signed(cleaned, row):
        return None, "empty"
    for pattern, rule in ((_BOXED, "boxed"), (_TAGGED, "answer_tag")):
        if parts := [next(filter(None, match.groups()[::-1]), "") for match in pattern.finditer(cleaned)]:
            return _agreed([_layers(part, row) for part in parts], rule)
    place, rule = _layers(cleaned, row)
    if (corrected := _corrected(cleaned, row, place)) is not None:
        return corrected
    if place is None and chosen is not None and rule in ("ambiguous", "no_answer"):
        return chosen, "option_text"
    if place is None and rule == "ambiguous" and (bold := emphasised(rest, row.texts)) is not None:
        return bold, "option_text"
    return place, rule


def _corrected(text: str, row: LetteredRow, before: int | None) -> tuple[int | None, str] | None:
    """Return what a text's last correction says, where that is another option than `before`; else None.

    Another letter that the correction mentions without stating it makes the text ambiguous.
    """
    after = after_correction(text)
    if after is None:
        return None
    place, rule = _layers(after, row)
    if place is None or place == before:
        return None
    if rule == "option_text" and same_as(after, row.texts) is None:
        return None
    return (None, "ambiguous") if rule == "option_letter" and not only_states(after) else (place, rule)


def _signed(text: str, row: LetteredRow) -> bool:
    """Whether a text without words may still name an option that has none either."""
    return bool(text and option_texts(row.texts).signed)


def clean(text: str) -> str:
    """Remove chat tokens and markup from a text without thoughts, in the normal form NFKC."""
    text = _ROLE.sub("", _CHAT_TOKEN.sub("", _HARMONY.sub("", text)))
    text = _HTML_STYLE.sub(lambda match: _emphasis(match[2]), _LATEX_TEXT.sub(r"\1", text))
    text = _KEY.sub(lambda match: match[0].replace("_", " "), text)
    text = _LINE_MARKS.sub("", _BOLD_LETTER.sub(r"(\2)", text))
    return re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", text).strip()


def _emphasis(inner: str) -> str:
    return f"({inner.strip()})" if _lone(inner.strip()) is not None else inner


def _lone(text: str) -> int | None:
    """Return the place in the alphabet of a text that is one letter, else None."""
    return ord(text.upper()) - ord("A") if len(text) == 1 and text.isascii() and text.isalpha() else None


def _bare(text: str, row: LetteredRow) -> int | None:
    """Return the place in the alphabet of a letter that is all of a text but for punctuation; "C#" and the grade "A-" are none."""
    letter = text.strip(_AROUND)
    if len(letter) != 1 or f"{letter}#" in text:
        return None
    grade = f"{letter}-".upper()
    if grade in text.upper() and any(grade in option.upper() for option in row.texts):
        return None
    return _lone(letter)


def _has_unclear_minus(text: str, row: LetteredRow) -> bool:
    """Return whether a dash stands apart before a number, in a row with a negative option."""
    return _DASHED_NUMBER.search(text) is not None and any(
        name.startswith("-") for name in option_texts(row.texts).whole
    )


def _in_range(place: int, rule: str, row: LetteredRow) -> tuple[int | None, str]:
    if place >= row.letters or row.places[place] is None:
        # "E" where four options have a letter may be the text of one, a note or a grade
        named = option_texts(row.texts).lone.get(chr(ord("a") + place))
        return (None, "out_of_range") if named is None else (named, "option_text")
    return (None, "ambiguous") if place in row.unclear else (place, rule)


def _agreed(results: Sequence[tuple[int | None, str]], rule: str) -> tuple[int | None, str]:
    """Combine what several boxes or tags say; if none names an option, the last one's reason stands."""
    places = {place for place, _ in results if place is not None}
    if len(places) > 1:
        return None, "ambiguous"
    return (places.pop(), rule) if places else results[-1]


def _layers(text: str, row: LetteredRow) -> tuple[int | None, str]:
    if row.letters and (place := _bare(text, row)) is not None:
        return _in_range(place, "bare", row)
    # An option's own words may look like a statement ("A, B and C"; "Plan B"), so a whole match goes first.
    if (place := option_texts(row.texts).whole.get(plain_text(text))) is not None:
        return place, "option_text"
    if row.carried and (place := carried_named(text, row)) is not None:
        return place, "option_text"
    if row.unclear and (place := entry_named(text, row)) is not None:
        return place, "letter_and_text"
    if not row.letters:
        return _by_text(text, row, False, frozenset())
    # imported only for texts of more than one letter: its patterns take a while to compile
    from marathon_eval.scoring.filters.letters import mentions

    letter_mentions = mentions(text, row.texts, row.letters, row.spans)
    by_letter = _by_letter(letter_mentions, row)
    if by_letter and by_letter[1] not in ("answer_is", "conflict"):
        stated = stated_text(text, row.texts)
        if stated not in (None, by_letter[0], *option_texts(row.texts).lone.values()):
            return stated, "answer_is"
    # "I don't think it is A. Dog": the option's text is denied with its letter
    spelled_out = {mention.place for mention in letter_mentions if mention.denied and mention.spelled_out}
    return by_letter or _by_text(text, row, bool(letter_mentions), spelled_out)


def _by_letter(letter_mentions: Sequence[Mention], row: LetteredRow) -> tuple[int | None, str] | None:
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
    first = option_texts(row.texts).first
    if (
        len({first[mention.place] if mention.place < len(first) else mention.place for mention in decisive})
        > 1
    ):
        return None, "ambiguous"
    chosen = opening[0] if opening and not stated else decisive[-1]
    if chosen.place in row.unclear and chosen.spelled_out:
        return chosen.place, chosen.rule
    place, rule = _in_range(chosen.place, chosen.rule, row)
    beside = same_as(chosen.beside, row.texts) if chosen.beside else None
    if place is not None and beside is not None and first[beside] != first[place]:
        return None, "conflict"
    return place, rule


def _by_text(
    text: str, row: LetteredRow, denied: bool, denied_places: Collection[int]
) -> tuple[int | None, str]:
    choices = row.texts
    asks = text.rstrip(" \"')").endswith("?") and not without_questions(text).strip(_AROUND)
    if not asks and (place := same_as(text, choices)) is not None:
        return place, "option_text"
    if option_texts(choices).lone and (place := lone_named(text, row)) is not None:
        return place, "option_text"
    if not asks and (stated := stated_text(text, choices)) is not None:
        return stated, "answer_is"
    if "?" in text and not asks:
        text = without_questions(text)
    named = contained(COURTESY.sub(" ", text), choices).difference(denied_places)
    if len(named) > 1:
        concluded = concluded_text(text, choices)
        return (None, "ambiguous") if concluded is None else (concluded, "option_text")
    for place in named:
        # An option may itself be worded like a refusal: "None of the above", "Unclear".
        if asks:
            return None, "refusal"
        if refusal_in(text) and not refusal_in(choices[place]):
            after = answered_after_all(text)
            if after is None or place not in contained(after, choices):
                return None, "refusal"
        return place, "option_text"
    return None, "negated" if denied else "no_answer"
