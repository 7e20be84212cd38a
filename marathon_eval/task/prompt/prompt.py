"""Builds a row's prompt (question, options, few-shot examples, system prompt) and its gold answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from marathon_eval.errors import RowError
from marathon_eval.task.prompt.choices import (
    Choices,
    gold_of,
    letters_of,
    literal_value,
    option_lines,
    text_gold,
)
from marathon_eval.task.prompt.dialogue import Dialogue
from marathon_eval.task.prompt.nulls import is_null
from marathon_eval.task.prompt.template import FromRow, Named, from_row, wording
from marathon_eval.task.yaml.config import GoldForm, Layout, PromptVariant, TaskConfig
from marathon_eval.task.yaml.fewshot_keys import FewshotConfig
from marathon_eval.task.yaml.loader import Document

#: Names that templates see in addition to the row's columns.
OURS = frozenset({"choices", "letters", "options"})

#: How templates print a cell that holds nothing.
_NULLS = ("None", "nan")


class Prompt(NamedTuple):
    """Holds the prompt and the system prompt, if any, of one row."""

    text: str
    system: str | None


class Question:
    """Builds the question, options and gold answer of a row."""

    def __init__(
        self,
        text: FromRow,
        target: FromRow | int | list[Any],
        choices: Choices,
        layout: Layout | None,
        gold_is: GoldForm = "option",
        dialogue: Dialogue | None = None,
    ) -> None:
        self.dialogue = dialogue
        self.text = text
        self.target = target
        self.choices = choices
        self.layout: Layout | None = layout
        self.gold_is = gold_is

    @classmethod
    def of(cls, config: TaskConfig, document: Document, variant: PromptVariant | None = None) -> Question:
        """Create a Question from the task's YAML and a model's overrides. Raises MarathonError for a broken template."""
        target = config.doc_to_target
        at_choices = document.where("choice_columns" if config.choice_columns else "doc_to_choice")
        return cls(
            _text_rule(config, document, variant),
            from_row(target, f"{document.where('doc_to_target')}: doc_to_target")
            if isinstance(target, str)
            else target,
            Choices.of(
                config, f"{at_choices}: {'choice_columns' if config.choice_columns else 'doc_to_choice'}"
            ),
            (variant.choice_layout if variant else None) or config.choice_layout,
            config.gold_is,
            None
            if config.doc_to_messages is None
            else Dialogue(config.doc_to_messages, f"{document.where('doc_to_messages')}: doc_to_messages"),
        )

    def values(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the names that templates see: the row's columns, `choices`, `letters`, `options`. Raises RowError.

        A column of one of these names takes precedence, as in lm-eval, unless the task sets choice_layout.
        """
        if not self.choices.given:
            return fields
        texts = self.choices.texts(fields)
        ours = {
            "choices": list(texts),
            "letters": list(letters_of(len(texts), self.layout)),
            "options": _lines(texts, self.layout),
        }
        return {**ours, **fields} if self.layout is None else {**fields, **ours}

    def text_for(self, fields: Mapping[str, Any]) -> str:
        """Return the text of the question for a row. Raises RowError."""
        return _as_text(self.text, self.values(fields))

    def gold(self, fields: Mapping[str, Any]) -> str | tuple[str, ...]:
        """Return the target in the form that metrics compare, a tuple for several right answers. Raises RowError."""
        texts = self.choices.texts(fields)
        rule = self.target
        if isinstance(rule, (int, list)):
            return gold_of(rule, texts, letters_of(len(texts), self.layout), self.choices.where)
        # formatting the options takes longer than everything else here
        raw = rule.value(self.values(fields) if rule.names & OURS else fields)
        if any(is_null(fields[name]) for name in rule.names if name in fields) and str(raw) in _NULLS:
            raise RowError(f"{rule.where}: the gold answer is null")
        if self.gold_is == "any_text":
            return str(raw)
        letters = letters_of(len(texts), self.layout)
        if self.gold_is == "text":
            return text_gold(raw, texts, () if self.layout == "plain" else letters, rule.where)
        gold = gold_of(_listed(raw), texts, letters, rule.where)
        return _as_texts(gold, texts, letters) if self.layout == "plain" else gold

    @property
    def shown(self) -> frozenset[str]:
        """Return the names that the question reads."""
        asked: list[Named] = [self.text] if self.dialogue is None else self.dialogue.rules
        return frozenset().union(*(rule.names for rule in asked))

    def rules(self) -> list[Named]:
        """Return the rules that read rows; the columns they need are checked against the whole dataset."""
        unread = self.gold_is == "absent" or isinstance(self.target, (int, list))
        target: list[Named] = [] if unread or isinstance(self.target, (int, list)) else [self.target]
        asked: list[Named] = [self.text] if self.dialogue is None else self.dialogue.rules
        return [*asked, *target, self.choices]


class PromptWriter:
    """Writes a task's prompt for one model: description, few-shot examples, question, and start of the answer."""

    def __init__(self, config: TaskConfig, document: Document, variant: PromptVariant | None = None) -> None:
        self.question = Question.of(config, document, variant)
        self.config = config
        overrides = {name: value for name, value in variant if value is not None} if variant else {}
        if variant is not None and "system" in variant.model_fields_set:
            overrides["system"] = variant.system  # null: the model's own, whatever the task's is
        self.rules: dict[str, FromRow] = {}
        for key in ("system", "description", "gen_prefix"):
            text = overrides.get(key, getattr(config, key))
            # an empty system prompt takes the place of the model's own
            if text or (key == "system" and text is not None):
                self.rules[key] = wording(text, f"{document.where(key)}: {key}")
        self.fewshot = FewshotWriter(config, document, self.question) if config.num_fewshot else None

    def write(self, fields: Mapping[str, Any], examples: Sequence[Mapping[str, Any]] = ()) -> Prompt:
        """Return the prompt for a row; `examples` are the rows of its few-shot examples. Raises RowError."""
        values = self.question.values(fields)
        parts = [_as_text(self.rules["description"], values)] if "description" in self.rules else []
        if self.fewshot is not None:
            parts += [self.fewshot.write(example) for example in examples]
        question = _as_text(self.question.text, values)
        prefix = _as_text(self.rules["gen_prefix"], values) if "gen_prefix" in self.rules else ""
        parts.append(joined_texts(question, prefix, self.config.target_delimiter))
        return Prompt("".join(parts), self.system(values))

    def system(self, values: Mapping[str, Any]) -> str | None:
        """Return the system prompt of a row, None if the task has none; `values` are what templates see. Raises RowError."""
        return _as_text(self.rules["system"], values) if "system" in self.rules else None


class FewshotWriter:
    """Writes few-shot examples as lm-eval does without a chat template."""

    def __init__(self, config: TaskConfig, document: Document, question: Question) -> None:
        fewshot = config.fewshot_config
        self.where = f"{document.where('fewshot_config', 'fewshot_indices')}: fewshot_config"
        self.question = _overridden(fewshot, question, self.where)
        prefix = fewshot.gen_prefix if fewshot.gen_prefix is not None else config.gen_prefix
        self.prefix = wording(prefix, f"{self.where}: gen_prefix") if prefix else None
        self.target_delimiter = _first(fewshot.target_delimiter, config.target_delimiter)
        self.fewshot_delimiter = _first(fewshot.fewshot_delimiter, config.fewshot_delimiter)

    def write(self, fields: Mapping[str, Any]) -> str:
        """Return one example with its answer. Raises RowError."""
        gold = self.question.gold(fields)
        answer = gold if isinstance(gold, str) else gold[0]
        question = self.question.text_for(fields)
        prefix = _as_text(self.prefix, fields) if self.prefix else ""
        if prefix:
            return (
                joined_texts(question, joined_texts(prefix, answer), self.target_delimiter)
                + self.fewshot_delimiter
            )
        return question + self.target_delimiter + answer + self.fewshot_delimiter


def joined_texts(first: str, second: str, delimiter: str = " ") -> str:
    """Join two texts with the delimiter, or without it if one is empty or white space separates them already."""
    if not first or not second or first[-1].isspace() or second[0].isspace():
        return first + second
    return first + delimiter + second


@lru_cache(maxsize=16)
def _lines(texts: tuple[str, ...], layout: Layout | None) -> str:
    """Return the options as the prompt shows them; the rows of many tasks have the same options."""
    return option_lines(texts, layout)


def _text_rule(config: TaskConfig, document: Document, variant: PromptVariant | None) -> FromRow:
    if variant is not None and variant.doc_to_text is not None:
        return from_row(
            variant.doc_to_text, f"{document.where('prompt_variants')}: prompt_variants: doc_to_text"
        )
    return from_row(config.doc_to_text, f"{document.where('doc_to_text')}: doc_to_text")


def _overridden(fewshot: FewshotConfig, question: Question, where: str) -> Question:
    text, target, choices = question.text, question.target, question.choices
    if fewshot.doc_to_text is not None:
        text = from_row(fewshot.doc_to_text, f"{where}: doc_to_text")
    if fewshot.doc_to_target is not None:
        target = (
            from_row(fewshot.doc_to_target, f"{where}: doc_to_target")
            if isinstance(fewshot.doc_to_target, str)
            else fewshot.doc_to_target
        )
    if fewshot.doc_to_choice is not None:
        choices = Choices(fewshot.doc_to_choice, None, False, f"{where}: doc_to_choice")
    return Question(text, target, choices, question.layout, question.gold_is)


def _as_text(rule: FromRow, values: Mapping[str, Any]) -> str:
    value = rule.value(values)
    if isinstance(value, str):
        return str(value)
    if is_null(value):
        raise RowError(f"{rule.where}: is null in this row")
    if isinstance(value, (Mapping, list, tuple)):
        raise RowError(f"{rule.where}: must be text, and the row gives {type(value).__name__}")
    return str(value)


def _as_texts(
    gold: str | tuple[str, ...], texts: Sequence[str], letters: Sequence[str]
) -> str | tuple[str, ...]:
    """Return gold letters as the options' texts: options that are shown without letters are answered by their text."""
    if isinstance(gold, tuple):
        return tuple(texts[letters.index(one)] if one in letters else one for one in gold)
    return texts[letters.index(gold)] if gold in letters else gold


def _listed(raw: Any) -> Any:
    """Parse several references that a template gave as text `[...]`, as lm-eval does; keep other values."""
    if isinstance(raw, str) and raw.startswith("[") and raw.endswith("]"):
        read = literal_value(raw)
        return raw if read is None else read
    return raw


def _first(override: str | None, default: str) -> str:
    return default if override is None else override
