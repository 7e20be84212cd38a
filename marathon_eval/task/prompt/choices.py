"""Reads a row's answer options: their texts, letters and layout, and which of them is the gold answer."""

from __future__ import annotations

import ast
import json
import string
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.prompt.nulls import is_null
from marathon_eval.task.prompt.template import FromRow, from_row
from marathon_eval.task.yaml.config import Layout, TaskConfig
from marathon_eval.task.yaml.keys import WITHOUT_GOLD

_PARTS: dict[str, str] = {
    "A.": "{letter}. {text}",
    "A)": "{letter}) {text}",
    "A:": "{letter}: {text}",
    "(A)": "({letter}) {text}",
}
#: What an option says whose gold answer is JSON's true or false, without regard to case.
_WORDS_OF: Mapping[bool, tuple[str, str]] = {True: ("true", "yes"), False: ("false", "no")}
_TAIL_HINT = "; `missing_choice: drop` lets the last options of a row be absent"
MAX_OPTIONS = len(string.ascii_uppercase)
Spec = str | list[Any] | dict[str, Any] | None


#: Phrases in RowError messages by which `doctor` classifies faults (here: the gold answer is not an option).
NO_OPTION = (": gold ", "gold answers is empty", "gold answer is empty")


@lru_cache(maxsize=64)
def letters_of(count: int, layout: Layout | None = None) -> tuple[str, ...]:
    """Return `("A", "B", ...)`, in the layout's case.

    Raises RowError for more than 26 options, but not in the layout `plain`, which shows no letters: there "AA" follows "Z".
    """
    alphabet = (
        string.ascii_lowercase if layout and "a" in layout.replace("plain", "") else string.ascii_uppercase
    )
    if layout == "plain":
        pairs = [first + second for first in alphabet for second in alphabet]
        return (*alphabet, *pairs)[:count]
    if count > MAX_OPTIONS:
        raise RowError(f"{count} options, and only {MAX_OPTIONS} letters")
    return tuple(alphabet[:count])


def option_lines(texts: Sequence[str], layout: Layout | None = None) -> str:
    """Return the options as a prompt shows them, one per line; the default layout is `A. text`."""
    layout = layout or "A."
    if layout == "plain":
        return "\n".join(texts)
    pattern = _PARTS[layout.upper()]
    letters = letters_of(len(texts), layout)
    return "\n".join(
        pattern.format(letter=letter, text=text) for letter, text in zip(letters, texts, strict=True)
    )


class Choices:
    """Reads a row's option texts from fixed texts, columns, or a column or template that gives a list."""

    def __init__(self, spec: Spec, columns: Sequence[str] | None, optional_tail: bool, where: str) -> None:
        if spec is not None and columns is not None:
            raise MarathonError(f"{where}: give doc_to_choice or choice_columns, not both")
        self.where = where
        self.columns = tuple(columns or ())
        self.optional_tail = optional_tail
        self.fixed = _fixed(spec, where)
        self.rule: FromRow | None = from_row(spec, where) if isinstance(spec, str) else None

    @classmethod
    def of(cls, config: TaskConfig, where: str) -> Choices:
        """Create Choices from the task's YAML."""
        return cls(config.doc_to_choice, config.choice_columns, config.missing_choice == "drop", where)

    @property
    def given(self) -> bool:
        """Return whether there are options; False for open questions."""
        return bool(self.columns or self.rule or self.fixed)

    @property
    def names(self) -> frozenset[str]:
        """Return the columns that rows must have, without the trailing ones that may be absent."""
        needed = self.columns[:2] if self.optional_tail else self.columns
        return frozenset(needed) | (self.rule.names if self.rule else frozenset())

    def texts(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the option texts of a row, empty for an open question. Raises RowError."""
        if self.columns:
            return self._from_columns(fields)
        if self.rule is None:
            return self.fixed
        value = self.rule.value(fields)
        texts = _as_list(literal_value(value) if isinstance(value, str) else value)
        while self.optional_tail and texts and _is_absent(texts[-1]):
            texts.pop()
        if not texts:
            raise RowError(f"{self.where}: gives no list of options: {value!r}")
        for number, text in enumerate(texts, 1):
            if _is_absent(text):
                fault = "null" if is_null(text) else "empty"
                raise RowError(f"{self.where}: option {number} of {len(texts)} is {fault}{_TAIL_HINT}")
        return tuple(str(text) for text in texts)

    def _from_columns(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        values = [fields.get(name) for name in self.columns]
        filled = tuple(value for value in values if type(value) is str and value.strip())
        if values and len(filled) == len(values):
            return filled
        texts = [None if _is_absent(value) else str(value) for value in values]
        while self.optional_tail and texts and texts[-1] is None:
            texts.pop()
        missing = [name for name, text in zip(self.columns, texts, strict=False) if text is None]
        if missing or not texts:
            # an absent option is not skipped: the letters of the options after it would change
            raise RowError(f"{self.where}: the row has no '{(missing or self.columns)[0]}'")
        return tuple(text for text in texts if text is not None)


def refuse_words_for_columns(
    choices: Choices, known: set[str], shown: frozenset[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Raise MarathonError where every option of a list in the YAML is the name of a column: the columns are meant.

    `known`: the rows' columns; `shown`: those that the question's template reads. A note is printed, and nothing raised,
    where that template writes these columns itself, or where some row has the word as the value of its column.
    """
    words = choices.fixed
    if not words or not known.issuperset(words):
        return
    listed = ", ".join(words)
    of_columns = f"choice_columns: [{listed}]"
    if all(word.isidentifier() for word in words):
        of_columns = f'doc_to_choice: "{{{{ [{listed}] }}}}" (or {of_columns})'
    said = f"{choices.where}: {listed} are columns of the rows, and a list gives these words themselves as the options"
    asked_by_template = shown.issuperset(words) and not shown & {"options", "choices"}
    if asked_by_template or any(
        isinstance(row, Mapping) and any(str(row.get(word)) == word for word in words) for row in rows
    ):
        _note(f"{said}; for the texts in the columns write {of_columns}")
        return
    as_words = ", ".join(repr(word) for word in words)
    raise MarathonError(
        f"{said}. For the texts in the columns write {of_columns}; for the words "
        f'write doc_to_choice: "{{{{ [{as_words}] }}}}"'
    )


@cache
def _note(text: str) -> None:
    """Print a note once."""
    print(f"marathon-eval: note: {text}", file=sys.stderr)


def gold_of(raw: Any, texts: Sequence[str], letters: Sequence[str], where: str) -> str | tuple[str, ...]:
    """Return the target in the form that metrics compare; `raw` is a letter, an option's text, an index, or a list.

    A letter stays a letter, a text stays a text, and an index becomes the option's text, as in lm-eval. Without
    options, `raw` is returned as text. A list means several right answers. Raises RowError if gold is not an option.
    """
    if isinstance(raw, (list, tuple)):
        if not raw:
            raise RowError(f"{where}: the list of gold answers is empty")
        return tuple(_one_gold(item, texts, letters, where) for item in raw)
    return _one_gold(raw, texts, letters, where)


def _is_absent(value: Any) -> bool:
    """Return whether an option is absent: null or blank, as an empty cell of a CSV file is."""
    return is_null(value) or not str(value).strip()


def _one_gold(raw: Any, texts: Sequence[str], letters: Sequence[str], where: str) -> str:
    if is_null(raw):
        raise RowError(f"{where}: the gold answer is null")
    if not texts:
        if not str(raw).strip():
            raise RowError(f"{where}: the gold answer is empty; {WITHOUT_GOLD}")
        return str(raw)
    if isinstance(raw, bool):
        return _worded(raw, texts, letters, where)
    if isinstance(raw, int):
        return _indexed(int(raw), texts, letters, where)
    text = str(raw).strip()
    capital = text.upper()
    by_letter = [letter for letter in letters if letter.upper() == capital]
    by_text = [option for option in texts if option.strip() == text]
    if by_letter and by_text and texts.index(by_text[0]) != letters.index(by_letter[0]):
        raise RowError(f"{where}: gold '{text}' is the letter of one option and the text of another")
    if by_letter or by_text:
        return by_letter[0] if by_letter else by_text[0]
    if text.isdecimal():
        return _indexed(int(text), texts, letters, where)
    raise RowError(f"{where}: gold '{text}' is none of the options {', '.join(letters)} nor their texts")


def text_gold(raw: Any, texts: Sequence[str], letters: Sequence[str], where: str) -> str | tuple[str, ...]:
    """Return the target of `gold_is: text`, where numbers and lists in text form are texts, never indices.

    The option that differs only in case or outer white space is returned as the options spell it, or by its letter
    where its text is the letter of another option (musical keys). Without options, `raw` is returned as text. Raises
    RowError if gold is neither an option's text nor its letter.
    """
    if isinstance(raw, (list, tuple)) and texts:
        if not raw:
            raise RowError(f"{where}: the list of gold answers is empty")
        return tuple(_one_text_gold(item, texts, letters, where) for item in raw)
    return _one_text_gold(raw, texts, letters, where)


def _one_text_gold(raw: Any, texts: Sequence[str], letters: Sequence[str], where: str) -> str:
    gold = str(raw)
    if is_null(raw):
        raise RowError(f"{where}: the gold answer is null")
    if not gold.strip():
        raise RowError(f"{where}: the gold answer is empty; {WITHOUT_GOLD}")
    if not texts:
        return gold
    if isinstance(raw, bool):
        return _worded(raw, texts, letters, where)
    if gold in texts:
        return _named(texts.index(gold), texts, letters)
    plain = gold.strip().casefold()
    alike = [place for place, option in enumerate(texts) if option.strip().casefold() == plain]
    if alike:
        return _named(alike[0], texts, letters)
    by_letter = [letter for letter in letters if letter.casefold() == plain]
    if not by_letter:
        raise RowError(f"{where}: gold '{gold}' is none of the options: {', '.join(texts)}")
    return by_letter[0]


def _worded(raw: bool, texts: Sequence[str], letters: Sequence[str], where: str) -> str:
    """Return the option that says true or false: as an index, True would be the second option, whatever it says."""
    words = _WORDS_OF[raw]
    places = [place for place, option in enumerate(texts) if option.strip().casefold() in words]
    if len(places) == 1:
        return _named(places[0], texts, letters)
    found = "no option" if not places else "more than one option"
    raise RowError(
        f"{where}: gold {str(raw).lower()} is no text, and {found} of {', '.join(texts)} says {' or '.join(words)}; "
        f"write the option's letter, its text or its index from 0"
    )


def _indexed(index: int, texts: Sequence[str], letters: Sequence[str], where: str) -> str:
    if not 0 <= index < len(texts):
        raise RowError(f"{where}: gold {index} is no index of {len(texts)} options")
    return _named(index, texts, letters)


def _named(place: int, texts: Sequence[str], letters: Sequence[str]) -> str:
    """Return an option's text, or its letter where metrics would take the text for another option's letter."""
    return letters[place] if texts[place] in letters else texts[place]


def _fixed(spec: Spec, where: str) -> tuple[str, ...]:
    if spec is None or isinstance(spec, str):
        return ()
    texts = _as_list(spec) or []
    if not texts or any(isinstance(text, (bool, list, dict)) or text is None for text in texts):
        raise MarathonError(
            f"{where}: options must be texts, got {texts!r} (YAML reads yes and no as true and false: quote them)"
        )
    return tuple(str(text) for text in texts)


def option_keys(options: Mapping[Any, Any]) -> list[Any]:
    """Return the keys of a mapping of options in the order in which the options are shown."""
    lettered = all(len(str(key)) == 1 and str(key).isalpha() for key in options)
    return sorted(options, key=str) if lettered else list(options)


def _as_list(value: Any) -> list[Any] | None:
    """Return a list unchanged, or a mapping's values, sorted by key if all keys are letters; None for other types."""
    if isinstance(value, Mapping):
        return [value[key] for key in option_keys(value)]
    return list(value) if isinstance(value, (list, tuple)) else None


def literal_value(text: str) -> Any:
    """Parse text as JSON or a Python literal, since a template gives a list as text; None if it is neither."""
    # JSON first, because Python reads its escapes otherwise, such as "\/"; what is none may still be a Python literal
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
