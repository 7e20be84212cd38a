"""From a row to the text that a model is asked: question, options, solved examples, and the gold answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.prompt.choices import Choices, gold_of, letters_of, option_lines
from marathon_eval.task.prompt.template import FromRow, Named, from_row, wording
from marathon_eval.task.yaml.config import FewshotConfig, Layout, PromptVariant, TaskConfig
from marathon_eval.task.yaml.loader import Document

#: lm-eval's seed for few-shot examples. Ours adds the row's number, so that --limit and order change no prompt.
FEWSHOT_SEED = 1234
#: Names that templates see besides the row's columns.
OURS = frozenset({"choices", "letters", "options"})


class Prompt(NamedTuple):
    """What is asked in words."""

    text: str
    system: str | None


class Question:
    """How one row becomes a question, its options and its gold answer."""

    def __init__(
        self,
        text: FromRow,
        target: FromRow | int | list[Any],
        choices: Choices,
        layout: Layout | None,
        gold_as_text: bool = False,
    ) -> None:
        self.text = text
        self.target = target
        self.choices = choices
        self.layout: Layout | None = layout
        self.gold_as_text = gold_as_text

    @classmethod
    def of(cls, config: TaskConfig, document: Document, variant: PromptVariant | None = None) -> Question:
        """The task's own rules, with a model's variant laid over. Raises MarathonError for a broken template."""
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
            config.gold_is == "text",
        )

    def values(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """What templates see: the row's columns, and `choices`, `letters`, `options`. Raises RowError.

        A column of such a name comes first, as an lm-eval YAML expects, unless the task names a choice_layout.
        """
        if not self.choices.given:
            return fields
        texts = self.choices.texts(fields)
        ours = {
            "choices": list(texts),
            "letters": list(letters_of(len(texts), self.layout)),
            "options": option_lines(texts, self.layout),
        }
        return {**ours, **fields} if self.layout is None else {**fields, **ours}

    def asked(self, fields: Mapping[str, Any]) -> str:
        """The question as text. Raises RowError."""
        return _as_text(self.text, self.values(fields))

    def gold(self, fields: Mapping[str, Any]) -> str | tuple[str, ...]:
        """The target as scores compare it; several right answers are a tuple. Raises RowError."""
        texts = self.choices.texts(fields)
        rule = self.target
        if isinstance(rule, (int, list)):
            return gold_of(rule, texts, letters_of(len(texts), self.layout), self.choices.where)
        # laying the options out costs more than all the rest of a row
        raw = rule.value(self.values(fields) if rule.names & OURS else fields)
        if self.gold_as_text:
            return str(raw)
        return gold_of(_listed(raw), texts, letters_of(len(texts), self.layout), rule.where)

    def rules(self) -> list[Named]:
        """What reads the row: the names that they need are checked against the whole dataset."""
        target: list[Named] = [] if isinstance(self.target, (int, list)) else [self.target]
        return [self.text, *target, self.choices]


class PromptWriter:
    """A task's prompt for one model: description, solved examples, the question, the start of the answer."""

    def __init__(self, config: TaskConfig, document: Document, variant: PromptVariant | None = None) -> None:
        self.question = Question.of(config, document, variant)
        self.config = config
        chosen = {name: value for name, value in variant if value is not None} if variant else {}
        self.rules: dict[str, FromRow] = {}
        for key in ("system", "description", "gen_prefix"):
            text = chosen.get(key, getattr(config, key))
            if text:
                self.rules[key] = wording(text, f"{document.where(key)}: {key}")
        self.fewshot = FewshotWriter(config, document, self.question) if config.num_fewshot else None

    def write(self, fields: Mapping[str, Any], examples: Sequence[Mapping[str, Any]] = ()) -> Prompt:
        """The prompt for a row; `examples` are the rows of its solved examples. Raises RowError."""
        values = self.question.values(fields)
        parts = [_as_text(self.rules["description"], values)] if "description" in self.rules else []
        if self.fewshot is not None:
            parts += [self.fewshot.write(example) for example in examples]
        asked = _as_text(self.question.text, values)
        prefix = _as_text(self.rules["gen_prefix"], values) if "gen_prefix" in self.rules else ""
        parts.append(joined_texts(asked, prefix, self.config.target_delimiter))
        system = _as_text(self.rules["system"], values) if "system" in self.rules else None
        return Prompt("".join(parts), system)


class FewshotWriter:
    """Solved examples, put together as lm-eval does without a chat template."""

    def __init__(self, config: TaskConfig, document: Document, question: Question) -> None:
        own = config.fewshot_config
        self.where = f"{document.where('fewshot_config', 'fewshot_indices')}: fewshot_config"
        self.question = _overridden(own, question, self.where)
        prefix = own.gen_prefix if own.gen_prefix is not None else config.gen_prefix
        self.prefix = wording(prefix, f"{self.where}: gen_prefix") if prefix else None
        self.target_delimiter = _first(own.target_delimiter, config.target_delimiter)
        self.fewshot_delimiter = _first(own.fewshot_delimiter, config.fewshot_delimiter)

    def write(self, fields: Mapping[str, Any]) -> str:
        """One example with its answer. Raises RowError."""
        gold = self.question.gold(fields)
        answer = gold if isinstance(gold, str) else gold[0]
        asked = self.question.asked(fields)
        prefix = _as_text(self.prefix, fields) if self.prefix else ""
        if prefix:
            return (
                joined_texts(asked, joined_texts(prefix, answer), self.target_delimiter)
                + self.fewshot_delimiter
            )
        return asked + self.target_delimiter + answer + self.fewshot_delimiter


def examples_for(
    pool: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], doc_id: int, config: TaskConfig, where: str
) -> list[Mapping[str, Any]]:
    """The rows of a document's solved examples, never the document itself. Raises MarathonError when too few."""
    wanted = config.num_fewshot
    if config.fewshot_config.sampler == "first_n":
        found = [row for row in pool[: wanted + 1] if row != fields][:wanted]
    else:
        random = Random(f"{FEWSHOT_SEED}:{doc_id}")
        drawn = random.sample(pool, min(wanted + 1, len(pool)))
        found = [row for row in drawn if row != fields][:wanted]
    if len(found) < wanted:
        raise MarathonError(f"{where}: num_fewshot: {wanted}, and there are only {len(found)} other rows")
    return found


def joined_texts(first: str, second: str, delimiter: str = " ") -> str:
    """Two texts with the delimiter between them, unless there is white space already or nothing to part."""
    if not first or not second or first[-1].isspace() or second[0].isspace():
        return first + second
    return first + delimiter + second


def _text_rule(config: TaskConfig, document: Document, variant: PromptVariant | None) -> FromRow:
    if variant is not None and variant.doc_to_text is not None:
        return from_row(
            variant.doc_to_text, f"{document.where('prompt_variants')}: prompt_variants: doc_to_text"
        )
    return from_row(config.doc_to_text, f"{document.where('doc_to_text')}: doc_to_text")


def _overridden(own: FewshotConfig, question: Question, where: str) -> Question:
    text, target, choices = question.text, question.target, question.choices
    if own.doc_to_text is not None:
        text = from_row(own.doc_to_text, f"{where}: doc_to_text")
    if own.doc_to_target is not None:
        target = (
            from_row(own.doc_to_target, f"{where}: doc_to_target")
            if isinstance(own.doc_to_target, str)
            else own.doc_to_target
        )
    if own.doc_to_choice is not None:
        choices = Choices(own.doc_to_choice, None, False, f"{where}: doc_to_choice")
    return Question(text, target, choices, question.layout)


def _as_text(rule: FromRow, values: Mapping[str, Any]) -> str:
    found = rule.value(values)
    if isinstance(found, (Mapping, list, tuple)):
        raise RowError(f"{rule.where}: must be text, and the row gives {type(found).__name__}")
    return str(found)


def _listed(raw: Any) -> Any:
    """Several references, also where a template wrote the list as text (lm-eval reads `[...]` so)."""
    if isinstance(raw, str) and raw.startswith("[") and raw.endswith("]"):
        import ast

        try:
            return ast.literal_eval(raw)
        except (ValueError, SyntaxError):
            return raw
    return raw


def _first(own: str | None, other: str) -> str:
    return other if own is None else own
