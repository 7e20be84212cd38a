"""Defines filters, which extract the answer from the texts of a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from marathon_eval.errors import MarathonError, RowError

_Item = TypeVar("_Item")

#: Rules for rows that a reading excludes because the judge, not the response, failed: the judge gave an error, replied what
#: cannot be parsed, graded off its scale, could not be asked, or was not there.
LEFT_OUT = ("judge_failed", "judge_unparsed", "judge_off_scale", "judge_not_asked", "not_judged")


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds what a reading extracted from a response.

    `value` None: no answer; `rule` says which rule matched or why not.
    """

    value: str | None
    rule: str

    @property
    def left_out(self) -> bool:
        """Whether the row is left out of the reading's metrics, which lowers the reading's coverage."""
        return self.value is None and self.rule in LEFT_OUT


@dataclass(frozen=True, slots=True)
class FilterContext:
    """Holds what a filter may use of the row. `choices` and `letters` are empty for open questions.

    `letters` are in the layout's case: ("A", "B", ...) or ("a", "b", ...). `free_gold` says that targets are any text
    (`gold_is: any_text`); else a target or an answer that is a letter of the row never stands for an option's text.
    """

    choices: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    doc: Mapping[str, Any] = field(default_factory=dict)
    free_gold: bool = False

    def means(self, target: str, place: int) -> bool:
        """Return whether a target is the option at `place`, by its letter or by its text."""
        letter = self.letters[place] if place < len(self.letters) else None
        if target in self.letters and not self.free_gold:
            return target == letter
        return target in (letter, self.choices[place])


class Held(NamedTuple):
    """Holds an intermediate text of a pipeline. `found` False: it has no answer, and later filters skip it."""

    text: str
    rule: str = "response"
    found: bool = True


#: A filter: turns the texts of a row's repeats into the same number of texts, or fewer.
FilterStep = Callable[[Sequence[Held], FilterContext], Sequence[Held]]


@dataclass(frozen=True)
class Pipeline:
    """Defines a reading: a name and its filters in order.

    `needs_choices`: a filter reads options, so the pipeline refuses an open question. Where several repeats are left
    after the last filter, the first of them is taken, as lm-eval does by default.
    """

    name: str
    steps: tuple[FilterStep, ...]
    needs_choices: bool = False
    #: The turn of a dialogue whose answer is read, from 1, or "last"; None for a task with one question a row.
    turn: int | Literal["last"] | None = None
    #: The entries of the task's `filter`, as results record them.
    entries: Sequence[Mapping[str, Any]] = field(default=(), compare=False)

    def apply(self, texts: Sequence[str], context: FilterContext) -> Answer:
        """Extract the answer from a row's responses, one text per repeat or per turn of a dialogue.

        Raises MarathonError where options are missing, and RowError for a turn that the row does not have.
        """
        if self.turn is not None:
            texts = [at_turn(texts, self.turn, f"reading '{self.name}'")]
        if self.needs_choices and not context.choices:
            raise MarathonError(
                f"reading '{self.name}': one of its filters needs options, and the row has none (doc_to_choice)"
            )
        results: Sequence[Held] = [Held(text) for text in texts]
        for step in self.steps:
            results = step(results, context)
        if not results:
            return Answer(None, "empty")
        text, rule, found = results[0]
        if not found:
            return Answer(None, rule)
        return Answer(text, rule) if text.strip() else Answer(None, "empty")


def at_turn(items: Sequence[_Item], turn: int | Literal["last"], where: str) -> _Item:
    """Return the item of a turn, counted from 1. Raises RowError, which begins with `where`, if there is none."""
    place = len(items) if turn == "last" else turn
    if not 1 <= place <= len(items):
        raise RowError(f"{where}: reads turn {turn}, and the row has {len(items)}")
    return items[place - 1]
