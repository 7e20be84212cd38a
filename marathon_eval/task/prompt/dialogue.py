"""Writes the turns of a dialogue from a row and from the model's own earlier answers (`doc_to_messages`).

A turn of the user is asked, and the model's answer follows it in the chat. Where an `assistant` turn follows instead,
the user's turn is not asked: both stand in the chat as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from marathon_eval.api.request import CLIP_MARK, Turn
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.prompt.choices import literal_value
from marathon_eval.task.prompt.template import FromRow, Named, PlainText, from_row
from marathon_eval.task.yaml.dialogue_keys import Message

#: The name by which templates see the answers to the turns before.
ANSWERS = "answers"
#: A template of all turns also sees the answers that are not there yet, as "": it is filled before each turn.
_PADDED = 64


class Script(NamedTuple):
    """Holds all turns of a row, the last a question, with placeholders as answers, and the number of turns asked."""

    turns: list[Turn]
    asked: int

    @property
    def clips(self) -> int:
        """The places for clips in the user's turns."""
        return clip_places(self.turns)


class _Messages(Protocol):
    """Describes where the turns of a row come from."""

    @property
    def rules(self) -> list[Named]:
        """Return the rules whose columns rows must have."""

    def role(self, values: Mapping[str, Any], place: int) -> str | None:
        """Return the role of a turn; None after the last."""

    def text(self, values: Mapping[str, Any], place: int) -> str:
        """Return the text of a turn."""


class Dialogue:
    """Writes the turns of a task's rows. Raises MarathonError for a broken template or an impossible order of roles."""

    def __init__(self, spec: str | Sequence[str | Message], where: str) -> None:
        self.where = where
        self._messages: _Messages = _OfRow(spec, where) if isinstance(spec, str) else _Listed(spec, where)

    @property
    def rules(self) -> list[Named]:
        """Return the rules whose columns rows must have."""
        return self._messages.rules

    def turns(self, values: Mapping[str, Any], answers: Sequence[str]) -> list[Turn] | None:
        """Return the turns up to the question that follows these answers; None if no more turn is asked.

        `values` are what templates see. Raises RowError.
        """
        turns: list[Turn] = []
        asked = place = 0
        while True:
            seen = {**values, ANSWERS: list(answers[:asked])}
            role = self._messages.role(seen, place)
            if role is None:
                return None
            text = self._messages.text(seen, place)
            place += 1
            if role == "assistant":
                turns.append(Turn("assistant", text))
                continue
            turns.append(Turn("user", text))
            if self._messages.role(seen, place) != "assistant":
                if asked == len(answers):
                    return turns
                turns.append(Turn("assistant", answers[asked]))
                asked += 1

    def script(self, values: Mapping[str, Any]) -> Script:
        """Return all turns of a row, where `{{ answers[0] }}` and so on stand for the answers. Raises RowError."""
        answers: list[str] = []
        turns: list[Turn] = []
        while (more := self.turns(values, answers)) is not None:
            if len(answers) == _PADDED:
                raise RowError(f"{self.where}: asks more than {_PADDED} turns")
            turns = more
            answers.append(f"{{{{ {ANSWERS}[{len(answers)}] }}}}")
        if not answers:
            raise RowError(
                f"{self.where}: asks nothing: every turn of the user has an assistant turn after it"
            )
        return Script(turns, len(answers))


def clip_places(turns: Sequence[Turn]) -> int:
    """Count the places for clips in the user's turns."""
    return sum(turn.text.count(CLIP_MARK) for turn in turns if turn.role == "user")


class _Listed:
    """Holds turns that the YAML lists."""

    def __init__(self, spec: Sequence[str | Message], where: str) -> None:
        messages = [Message(content=each) if isinstance(each, str) else each for each in spec]
        self._roles = [message.role for message in messages]
        fault = _fault(self._roles)
        if fault is not None:
            raise MarathonError(f"{where}: {fault}")
        self._rules = [
            from_row(message.content, f"{where}: turn {number}") for number, message in enumerate(messages, 1)
        ]

    @property
    def rules(self) -> list[Named]:
        return [_ColumnsOf(rule) for rule in self._rules]

    def role(self, values: Mapping[str, Any], place: int) -> str | None:
        return self._roles[place] if place < len(self._roles) else None

    def text(self, values: Mapping[str, Any], place: int) -> str:
        rule = self._rules[place]
        return _text(rule.value(values), rule.where)


class _OfRow:
    """Reads the turns from one column or template that gives a list of texts, or of {role, content}."""

    def __init__(self, spec: str, where: str) -> None:
        self._rule = from_row(spec, where)
        if isinstance(self._rule, PlainText):
            raise MarathonError(f"{where}: must be a list of turns, or a column or template that gives one")

    @property
    def rules(self) -> list[Named]:
        return [_ColumnsOf(self._rule)]

    def role(self, values: Mapping[str, Any], place: int) -> str | None:
        turns = self._turns(values)
        return turns[place].role if place < len(turns) else None

    def text(self, values: Mapping[str, Any], place: int) -> str:
        return self._turns(values)[place].text

    def _turns(self, values: Mapping[str, Any]) -> list[Turn]:
        answers = values[ANSWERS]
        value = self._rule.value({**values, ANSWERS: [*answers, *[""] * (_PADDED - len(answers))]})
        listed = literal_value(value) if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            raise RowError(f"{self._rule.where}: gives no list of turns: {str(value)[:80]!r}")
        turns = [_turn(each, self._rule.where) for each in listed]
        fault = _fault([turn.role for turn in turns])
        if fault is not None:
            raise RowError(f"{self._rule.where}: {fault}")
        return turns


class _ColumnsOf:
    """Names the columns of a rule, without `answers`."""

    def __init__(self, rule: FromRow) -> None:
        self.names = rule.names - {ANSWERS}
        self.where = rule.where


def _fault(roles: Sequence[str]) -> str | None:
    """Return what is wrong with the order of roles; None if nothing is."""
    if not roles or roles[0] != "user":
        return "the first turn must be the user's"
    if roles[-1] != "user":
        return "the last turn must be the user's"
    if any(pair == ("assistant", "assistant") for pair in pairwise(roles)):
        return "an assistant turn must follow a turn of the user"
    return None


def _turn(value: Any, where: str) -> Turn:
    if isinstance(value, str):
        return Turn("user", value)
    role, content = (value.get("role"), value.get("content")) if isinstance(value, Mapping) else (None, None)
    if role not in ("user", "assistant"):
        raise RowError(
            f"{where}: a turn is a text or {{role: user|assistant, content}}, got {str(value)[:80]}"
        )
    return Turn("assistant" if role == "assistant" else "user", _text(content, where))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, (str, int, float)):
        raise RowError(f"{where}: must be text, and the row gives {type(value).__name__}")
    return str(value)
