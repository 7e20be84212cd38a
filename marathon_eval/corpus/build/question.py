"""Makes the question of a file, its options and the right letter; every random draw depends on (seed, file)."""

from __future__ import annotations

import math
import random
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from marathon_eval.corpus.build.fields import filled
from marathon_eval.corpus.build.recipe import RecipeQuestion
from marathon_eval.errors import MarathonError, did_you_mean


class BuiltQuestion(NamedTuple):
    """Holds a question with its option texts in the order shown, and the index of the right one."""

    question: str
    options: tuple[str, ...]
    answer: int

    @property
    def letter(self) -> str:
        return string.ascii_uppercase[self.answer]

    def fields(self) -> dict[str, Any]:
        """Return the fields for a layout's row: question, options, choices, choice_a ..., letter, answer_text."""
        letters = string.ascii_uppercase[: len(self.options)]
        shown = zip(letters.lower(), self.options, strict=True)
        return {
            "question": self.question,
            "options": list(self.options),
            "choices": dict(zip(letters, self.options, strict=True)),
            "letter": self.letter,
            "answer_text": self.options[self.answer],
            **{f"choice_{letter}": text for letter, text in shown},
        }


def question_for(
    rule: RecipeQuestion, fields: Mapping[str, Any], draw: random.Random, where: str
) -> BuiltQuestion | None:
    """Return the question for one file, or None if there are too few false options. Raises MarathonError."""
    right, others = _options(rule, fields, where)
    count = len(others) if rule.shown is None else rule.shown - 1
    if len(others) < count:
        return None
    if rule.shown is None and not rule.shuffle:  # all options in the recipe's own order
        texts = list(rule.choices.values())
    else:
        first = [text for text in _offered(rule, fields, where) if text in others][:count]
        rest = [text for text in others if text not in first]
        texts = [right, *first, *draw.sample(rest, count - len(first))]
        if rule.shuffle:
            draw.shuffle(texts)
    return BuiltQuestion(filled(rule.text, fields, where), tuple(texts), texts.index(right))


def _options(rule: RecipeQuestion, fields: Mapping[str, Any], where: str) -> tuple[str, Sequence[str]]:
    """Return the right option's text, and the texts of all possible distractors in a fixed order."""
    value = fields.get(rule.answer)
    if value is None:
        raise MarathonError(f"{where}: no field '{rule.answer}'.{did_you_mean(rule.answer, fields)}")
    if rule.numbers is not None:
        number, template = int(value), rule.numbers.template
        span = max(rule.shown or 4, math.ceil(number * rule.numbers.spread))
        near = [other for other in range(max(0, number - span), number + span + 1) if other != number]
        return _numbered(template, number), [_numbered(template, other) for other in near]
    if str(value) not in rule.choices:
        names = ", ".join(rule.choices)
        raise MarathonError(
            f"{where}: '{value}' is none of the choices.{did_you_mean(str(value), rule.choices)} They are: {names}"
        )
    also_true = {str(other) for other in fields[rule.not_in]} if rule.not_in else set()
    right = rule.choices[str(value)]
    true = {right} | {text for name, text in rule.choices.items() if name in also_true}
    return right, list(dict.fromkeys(text for text in rule.choices.values() if text not in true))


def _offered(rule: RecipeQuestion, fields: Mapping[str, Any], where: str) -> list[str]:
    """Return the texts of the classes that the file's field `offer` lists, in its order."""
    if rule.offer is None:
        return []
    if rule.offer not in fields:
        raise MarathonError(f"{where}: no field '{rule.offer}'.{did_you_mean(rule.offer, fields)}")
    names = dict.fromkeys(str(name) for name in fields[rule.offer])
    return [rule.choices[name] for name in names if name in rule.choices]


def _numbered(template: str, number: int) -> str:
    return filled(template, {"number": number}, "question.numbers.template")
