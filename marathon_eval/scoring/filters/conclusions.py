"""Finds the option whose text a response states as its answer, among other options that it mentions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.languages import ANSWER_WORDS, GLUE, UNSPACED_STATEMENT
from marathon_eval.scoring.filters.option_text import DENYING, option_texts, same_as
from marathon_eval.scoring.filters.words import BREAK, plain_text, without_questions, words_and_breaks

#: "The answer is" a cat, "option:" cat, "a long tail ->" cat.
_STATES = lazy_pattern(
    r"(?:\b(?:answer|option|choice)(?:\s{1,9}(?:is|would be|must be|should be)\b\s{0,9}:?|\s{0,9}[:=])|->|=>|\u2192)\s*",
    re.IGNORECASE,
)
#: What begins a remark on a stated answer.
_REMARK = lazy_pattern(
    r"\s\(|,?\s(?:rather than|instead of|as opposed to|and not|not|because|since|as)\b", re.IGNORECASE
)
#: "In conclusion, a cat" is the correct answer.
_STATED_BEFORE = lazy_pattern(
    r"\s(?:is|was|must be|would be|should be|seems to be|appears to be)\s{1,9}(?:the|my)\s{1,9}(?:(?:most\s{1,9})?[a-z]{1,20}\s{1,9}){0,2}"
    r"(?:answer|option|choice)\b",
    re.IGNORECASE,
)
_LEADS_TO = lazy_pattern(
    r"[.!?;:,\n]|\b(?:so|thus|hence|therefore|conclusion|overall|finally)\b", re.IGNORECASE
)
#: Words with which a last sentence tells the answer: "So it must be a cat.", "I would choose a cat."
_CONCLUDES = lazy_pattern(
    r"\s*(?:(?:so|thus|therefore|hence|overall|finally|in (?:conclusion|summary))\b[\s,:]*)*"
    r"(?:(?:i|we)(?:'d|'ll| would| will| must)? (?:think|believe|guess|say|choose|pick|select|go with|answer)\b(?: with)?\s*"
    r"|(?:it|this|that)(?:'s| is| must be| should be| has to be| would be)\b\s*)*",
    re.IGNORECASE,
)
#: Characters before an option in which a statement without spaces is looked for, and what ends it behind the option.
_LEAD = 40
_CLOSED = lazy_pattern(
    r"[\"'*\u201d\u300d\u300f]*\s*(?:[.,!\n\u3002\uff0c\uff01]|です|でした|입니다|ครับ|ค่ะ|\Z)"
)
#: Characters of a statement beside the option's own text: "it is most likely the", "I am quite sure".
_SURROUNDING = 80
#: What joins a statement and its option: a colon, a dash, quotes.
_JOINTS = lazy_pattern('[:\uff1a\u2014\u2013\u00ab\u00bb\u201e\u201c\u201d"]')
#: Words between an answer word and the option at most: "is with certainty the".
_GLUE_WORDS = 8
_SENTENCE_END = lazy_pattern(r"[.!;](?=\s|\Z)|\n")
_STOP = lazy_pattern(r"[.!?;\n]")
_STOP_OR_MARK = lazy_pattern(r"[.!?;\n\u2713\u2714\u2705\u2717\u2718\u274c]")


def stated_text(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the option that is all of the text's statements ("The answer is a cat."), None where there are none or they differ."""
    text = without_questions(text) if "?" in text else text
    stated = [] if text.isascii() else _stated_unspaced(text, choices)
    stated += _stated_foreign(text, choices)
    lowered = text.lower()
    if not stated and not any(
        noun in lowered for noun in ("answer", "option", "choice", "->", "=>", "\u2192")
    ):
        return None  # the usual case, without the patterns
    reach = max(map(len, choices)) + _SURROUNDING
    for match in _STATES.finditer(text):
        place = _first_same(_STOP.split(text[match.end() : match.end() + reach], 1)[0], choices)
        before = _STOP_OR_MARK.split(text[max(0, match.start() - _SURROUNDING) : match.start()])[-1]
        denied = not DENYING.isdisjoint(words_and_breaks(before)) or "if" in before.lower()
        if place is not None and not denied:
            stated.append(place)
    for match in _STATED_BEFORE.finditer(text):
        before = text[max(0, match.start() - reach) : match.start()]
        # the option's own text may have a comma
        for lead in (_STOP, _LEADS_TO):
            place = same_as(lead.split(before)[-1], choices)
            if place is not None:
                stated.append(place)
                break
    return stated[0] if len(set(stated)) == 1 else None


def _first_same(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the option that is all of a statement's words, or all before a remark: "yes (there is no doubt)", "yes rather than no"."""
    place = same_as(text, choices)
    if place is not None:
        return place
    remark = _REMARK.search(text)
    return None if remark is None else same_as(text[: remark.start()], choices)


def _stated_unspaced(text: str, choices: tuple[str, ...]) -> list[int]:
    """Return the options that a statement of Chinese, Japanese, Korean or Thai ends with, once for each statement."""
    stated = []
    for place in set(option_texts(choices).first):
        for match in re.finditer(re.escape(choices[place]), text, re.IGNORECASE) if choices[place] else ():
            before = text[max(0, match.start() - _LEAD) : match.start()].rstrip(" \"'*\u201c\u300c\u300e")
            if _CLOSED.match(text, match.end()) and UNSPACED_STATEMENT.search(before):
                stated.append(place)
    return stated


def _stated_foreign(text: str, choices: tuple[str, ...]) -> list[int]:
    """Return the options that end a statement in another language with spaces: "la respuesta es un perro"."""
    whole, stated = option_texts(choices).whole, []
    for line in text.splitlines():
        if ANSWER_WORDS.isdisjoint(words_and_breaks(line)):
            continue
        clause: list[str] = []
        for word in [*words_and_breaks(_JOINTS.sub(" ", line)), BREAK]:
            if word != BREAK:
                clause.append(word)
                continue
            told = next((at for at in range(len(clause) - 1, -1, -1) if clause[at] in ANSWER_WORDS), None)
            if told is not None and DENYING.isdisjoint(clause[:told]):
                stated += _after_glue(clause[told + 1 :], whole)
            clause = []
    return stated


def _after_glue(words: list[str], whole: Mapping[str, int]) -> list[int]:
    """Return the option that is all of the words but for leading ones such as "is" and "the", if there is one."""
    for first in range(min(len(words), _GLUE_WORDS)):
        if (place := whole.get(" ".join(words[first:]))) is not None:
            return [place]
        if words[first] not in GLUE:
            break
    return []


def concluded_text(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the option that is all of the first line, of the last line or of a concluding last sentence; else None.

    None too where another line or sentence is another option.
    """
    whole = option_texts(choices).whole
    lines = [line for line in text.splitlines() if line.strip()]
    asked = [line.rstrip(" \"'*)").endswith("?") for line in lines]
    alone = [
        None if question else whole.get(plain_text(line)) for line, question in zip(lines, asked, strict=True)
    ]
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    told = {same_as(part, choices) for part in set(sentences) if not part.rstrip().endswith("?")}
    named = {place for place in (*alone, *told) if place is not None}
    lead = _CONCLUDES.match(sentences[-1]) if sentences else None
    if lead and lead[0].strip() and (last := same_as(sentences[-1][lead.end() :], choices)) is not None:
        return last if named <= {last} else None
    if len(lines) < 2 or len(named) > 1:
        return None
    return alone[0] if alone[0] is not None else alone[-1]
