"""Checks instructions about an answer's form that a program can verify: length, keywords, case, layout, language.

The rules, their names and their arguments are those of IFEval (Zhou et al. 2023, https://arxiv.org/abs/2311.07911). Three of
them need tools that its released code takes from nltk and langdetect: here sentences and words are counted by patterns, the
language of an answer is only found where langdetect is installed, and the two rules of one case do not ask for English.
Keywords are taken literally, where the released code reads them as patterns.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.errors import RowError, did_you_mean

_SENTENCE_END = lazy_pattern(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+[”’」』）]*")
#: Words whose full stop ends no sentence.
_ABBREVIATION = lazy_pattern(
    r"\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|No|Inc|Ltd|Co)\.(?=\s+\S)", re.IGNORECASE
)
_TOKEN = lazy_pattern(r"\w+(?:[-.]\w+)*")
_FENCE = lazy_pattern(r"^```(?:json)?\s*|\s*```$", re.IGNORECASE)


class RuleArguments:
    """Reads a rule's arguments from a row. Every method raises RowError for a missing or unusable one."""

    def __init__(self, rule: str, given: Mapping[str, Any]) -> None:
        self.rule = rule
        # tables fill absent arguments with null
        self._given = {key: value for key, value in given.items() if value is not None}

    def _value(self, name: str) -> Any:
        if name not in self._given:
            raise RowError(
                f"the rule {self.rule} needs '{name}'.{did_you_mean(name, self._given)} "
                f"The row gives {', '.join(self._given) or 'nothing'}"
            )
        return self._given[name]

    def count(self, name: str) -> int:
        """Return a whole number."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise RowError(f"the rule {self.rule}: {name} must be a whole number, got {value!r}")
        return int(value)

    def text(self, name: str) -> str:
        """Return a text that is not blank."""
        value = self._value(name)
        if not isinstance(value, str) or not value.strip():
            raise RowError(f"the rule {self.rule}: {name} must be a text, got {value!r}")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        value = self._value(name)
        listed = value if isinstance(value, (list, tuple)) else []
        if not listed or not all(isinstance(each, str) for each in listed):
            raise RowError(f"the rule {self.rule}: {name} must be a list of texts, got {value!r}")
        return list(listed)

    def compared(self, found: int, limit: str, relation: str) -> bool:
        """Compare a count with the argument `limit`; the argument `relation` is `less than` or `at least`."""
        said = self.text(relation)
        if said not in ("less than", "at least"):
            raise RowError(
                f"the rule {self.rule}: {relation} must be 'less than' or 'at least', got {said!r}"
            )
        return found < self.count(limit) if said == "less than" else found >= self.count(limit)


FormCheck = Callable[[str, RuleArguments], bool]


def sentence_count(text: str) -> int:
    """Count sentences: their ends, and what follows the last one."""
    plain = _ABBREVIATION.sub(lambda found: found[0][:-1], text.strip())
    parts = _SENTENCE_END.split(plain)
    return sum(bool(part.strip()) for part in parts)


def word_count(text: str) -> int:
    """Count runs of letters and digits, as IFEval does."""
    return len(re.findall(r"\w+", text))


def language_of(text: str) -> str:
    """Return langdetect's code of a text's language, such as `en` or `zh-cn`.

    Raises RowError where langdetect is not installed, or the text has nothing to tell a language by.
    """
    try:
        langdetect = importlib.import_module("langdetect")
    except ImportError:
        raise RowError(
            "the rule language:response_language needs langdetect: pip install langdetect"
        ) from None
    langdetect.DetectorFactory.seed = 0  # without it the same text may get two languages
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException as error:
        raise RowError(f"the language of the answer cannot be told ({error})") from None


def _times(text: str, keyword: str) -> int:
    return text.casefold().count(keyword.strip().casefold())


def _without(text: str, words: list[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in words)


def _paragraphs(text: str, arguments: RuleArguments) -> bool:
    """Compare the paragraphs between `***`; an empty one inside the text breaks the rule."""
    parts = [part.strip() for part in text.split("***")]
    inner = parts[bool(not parts[0]) : len(parts) - bool(not parts[-1])]
    return all(inner) and len(inner) == arguments.count("num_paragraphs")


def _first_word(text: str, arguments: RuleArguments) -> bool:
    parts = [part.strip() for part in text.split("\n\n")]
    number, place = arguments.count("num_paragraphs"), arguments.count("nth_paragraph")
    if sum(map(bool, parts)) != number or not 1 <= place <= number or not parts[place - 1]:
        return False
    word = parts[place - 1].split()[0].lstrip("'\"")
    return re.split(r"[.,?!'\"]", word)[0].lower() == arguments.text("first_word").lower()


def _postscript(text: str, arguments: RuleArguments) -> bool:
    marker = arguments.text("postscript_marker").strip()
    spelled = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, re.escape(marker.lower()))
    return re.search(spelled, text.lower()) is not None


def _bullets(text: str, arguments: RuleArguments) -> bool:
    found = re.findall(r"^\s*(?:\*[^*\n]|-).*$", text, re.MULTILINE)
    return len(found) == arguments.count("num_bullets")


def _highlights(text: str, arguments: RuleArguments) -> bool:
    """Count `*words*` and, once more, `**words**`, as IFEval does."""
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*([^\n*]*)\*\*", text) if part.strip()]
    return len(single) + len(double) >= arguments.count("num_highlights")


def _sections(text: str, arguments: RuleArguments) -> bool:
    # IFEval's data spells the argument so
    splitter = re.escape(arguments.text("section_spliter"))
    return len(re.findall(rf"{splitter}\s?\d+", text)) >= arguments.count("num_sections")


def _json(text: str, arguments: RuleArguments) -> bool:
    try:
        json.loads(_FENCE.sub("", text.strip()).strip())
    except (ValueError, RecursionError):
        return False
    return True


def _two_answers(text: str, arguments: RuleArguments) -> bool:
    parts = [part.strip() for part in text.split("******")]
    inner = parts[bool(not parts[0]) : len(parts) - bool(not parts[-1])]
    return len(inner) == 2 and all(inner) and inner[0] != inner[1]


def _capitals(text: str, arguments: RuleArguments) -> bool:
    words = sum(word.isupper() for word in _TOKEN.findall(text))
    return arguments.compared(words, "capital_frequency", "capital_relation")


def _letters(text: str, arguments: RuleArguments) -> bool:
    found = text.lower().count(arguments.text("letter").lower())
    return arguments.compared(found, "let_frequency", "let_relation")


def _quoted(text: str, arguments: RuleArguments) -> bool:
    plain = text.strip()
    return len(plain) > 1 and plain[0] == plain[-1] == '"'


def _titled(text: str, arguments: RuleArguments) -> bool:
    return any(part.strip("<> ") for part in re.findall(r"<<[^\n]+>>", text))


#: The checks by the names that rows give.
FORM_RULES: dict[str, FormCheck] = {
    "keywords:existence": lambda text, given: all(_times(text, word) for word in given.texts("keywords")),
    "keywords:frequency": lambda text, given: given.compared(
        _times(text, given.text("keyword")), "frequency", "relation"
    ),
    "keywords:forbidden_words": lambda text, given: _without(text, given.texts("forbidden_words")),
    "keywords:letter_frequency": _letters,
    "language:response_language": lambda text, given: language_of(text) == given.text("language"),
    "length_constraints:number_sentences": lambda text, given: given.compared(
        sentence_count(text), "num_sentences", "relation"
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda text, given: given.compared(
        word_count(text), "num_words", "relation"
    ),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda text, given: (
        len(re.findall(r"\[.*?\]", text)) >= given.count("num_placeholders")
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda text, given: any(
        answer in text for answer in ("My answer is yes.", "My answer is no.", "My answer is maybe.")
    ),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _titled,
    "combination:two_responses": _two_answers,
    "combination:repeat_prompt": lambda text, given: (
        text.strip().lower().startswith(given.text("prompt_to_repeat").strip().lower())
    ),
    "startend:end_checker": lambda text, given: (
        text.strip().strip('"').lower().endswith(given.text("end_phrase").strip().lower())
    ),
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda text, given: text.isupper(),
    "change_case:english_lowercase": lambda text, given: text.islower(),
    "punctuation:no_comma": lambda text, given: "," not in text,
    "startend:quotation": _quoted,
}
