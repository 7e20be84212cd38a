"""Builds the requests of the general judge (`judge: grade:`) and reads its grades: a scale or labels, by criteria.

A reply is one JSON object. Without criteria it is {"reason": ..., "grade": 4}, with criteria it has one key for each;
about two answers it has the keys "first" and "second", each with a grade or with an object of criteria. Text around the
object is ignored, and so is the reason; a reply with a missing, wrong or ambiguous grade is unparsed. One grade alone
may also be replied without JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marathon_eval.scoring.grades import OVERALL
from marathon_eval.task.yaml.judge_keys import GradePrompt

#: Keys of a reply about two answers.
PLACES = ("first", "second")
#: Objects that are tried in one reply: a hostile one may open thousands of brackets.
OBJECTS_TRIED = 50
#: Whole-number scales up to this many grades are listed in the schema.
LISTED_GRADES = 101
#: Characters of a wrong label that are repeated.
LABEL_CHARS = 60

_QUESTION = """\
[Question about a recording]
{{ asked }}
{% if reference %}[Right answer]
{{ reference }}
{% endif %}"""
_ONE_ANSWER = """\
[Answer to be graded]
{{ response }}
[End of the answer]

{{ form }}"""
_TWO_ANSWERS = """\
[Answer 1]
{{ first }}
[End of answer 1]
[Answer 2]
{{ second }}
[End of answer 2]

{{ form }}"""
#: Characters around a grade that is replied without JSON.
_AROUND = " \t\r\n\"'*`"
_NUMBER = re.compile(r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})")


@dataclass(frozen=True)
class Grading:
    """Says which grades there are, by which criteria, and whether two answers are graded in one reply."""

    spec: GradePrompt

    @property
    def criteria(self) -> dict[str, str]:
        """Return the criteria with their descriptions; one, `grade`, for a task that names none."""
        return self.spec.criteria_texts() or {OVERALL: ""}

    @property
    def pair(self) -> bool:
        """Whether each reply grades two answers."""
        return self.spec.against is not None

    @property
    def lowest(self) -> float:
        """Return the lowest grade, which an unanswered row gets."""
        return min(self.spec.labels.values()) if self.spec.labels else self.spec.bounds()[0]

    def prompt(self) -> str:
        """Return the template of the prompt: the task's own, or one with question and answers."""
        return self.spec.prompt or _QUESTION + (_TWO_ANSWERS if self.pair else _ONE_ANSWER)

    def form(self) -> str:
        """Return the end of the prompt: the criteria, the grades, and the reply's form."""
        what = "each answer" if self.pair else "the answer"
        lines = [f"Give {what} one grade: {self._grades_told()}."]
        if self.spec.criteria:
            lines = [f"Give {what} one grade by each criterion: {self._grades_told()}. The criteria:"]
            lines += [
                f"- {name}: {text}" if text != name else f"- {name}" for name, text in self.criteria.items()
            ]
        example = json.dumps({"reason": "<one sentence>", **self._reply_of("<grade>")}, ensure_ascii=False)
        return "\n".join(
            [*lines, f"Reply with one JSON object of this form and with nothing else: {example}"]
        )

    def _grades_told(self) -> str:
        if self.spec.labels:
            return "one of " + ", ".join(json.dumps(label, ensure_ascii=False) for label in self.spec.labels)
        low, high = self.spec.bounds()
        return f"a {'whole ' if self.spec.whole() else ''}number from {low:g} (worst) to {high:g} (best)"

    def _reply_of(self, grade: Any) -> dict[str, Any]:
        """Return the keys of a reply, with `grade` in the place of each grade."""
        of_one = dict.fromkeys(self.criteria, grade)
        if not self.pair:
            return of_one
        return dict.fromkeys(PLACES, of_one if self.spec.criteria else grade)

    def schema(self) -> str:
        """Return the reply's JSON Schema as text."""
        return json.dumps(_object({"reason": {"type": "string"}, **self._schemas()}), ensure_ascii=False)

    def _schemas(self) -> dict[str, Any]:
        of_one = dict.fromkeys(self.criteria, self._grade_schema())
        if not self.pair:
            return of_one
        return dict.fromkeys(PLACES, _object(of_one) if self.spec.criteria else self._grade_schema())

    def _grade_schema(self) -> dict[str, Any]:
        if self.spec.labels:
            return {"type": "string", "enum": list(self.spec.labels)}
        low, high = self.spec.bounds()
        if self.spec.whole() and high - low < LISTED_GRADES:
            return {"type": "integer", "enum": list(range(int(low), int(high) + 1))}
        return {"type": "integer" if self.spec.whole() else "number", "minimum": low, "maximum": high}

    def read(self, reply: str) -> dict[str, dict[str, float]] | None:
        """Return the grades by place ("only", or "first" and "second") and criterion; None if they cannot be read.

        Several objects with different grades in one reply are ambiguous.
        """
        found = [grades for value in _objects(reply) if (grades := self._grades_in(value)) is not None]
        if not found and not self.pair and not self.spec.criteria:
            bare = self._grade(_bare(reply))
            return None if bare is None else {"only": {OVERALL: bare}}
        return found[0] if found and all(grades == found[0] for grades in found) else None

    def _grades_in(self, value: Mapping[str, Any]) -> dict[str, dict[str, float]] | None:
        places = {place: value.get(place) for place in PLACES} if self.pair else {"only": value}
        read = {place: self._of_one(given, nested=self.pair) for place, given in places.items()}
        grades = {place: given for place, given in read.items() if given is not None}
        return grades if len(grades) == len(places) else None

    def _of_one(self, given: Any, nested: bool) -> dict[str, float] | None:
        if nested and not self.spec.criteria and not isinstance(given, Mapping):
            given = {OVERALL: given}
        if not isinstance(given, Mapping):
            return None
        read = {name: self._grade(given.get(name)) for name in self.criteria}
        grades = {name: number for name, number in read.items() if number is not None}
        return grades if len(grades) == len(read) else None

    def _grade(self, value: Any) -> float | None:
        """Return one grade as a number; None for what is no grade of the task."""
        if self.spec.labels:
            same = [
                n for label, n in self.spec.labels.items() if isinstance(value, str) and _same(label, value)
            ]
            return same[0] if len(same) == 1 else None
        number = _number(value)
        return None if number is None or self._beside_the_scale(number) else number

    def _beside_the_scale(self, number: float) -> str | None:
        """Return in words why a number is no grade of the scale, or None."""
        low, high = self.spec.bounds()
        if not low <= number <= high:
            return f"{number:.12g} is outside {low:g} to {high:g}"
        if self.spec.whole() and number != round(number):
            return f"{number:.12g} is no whole number from {low:g} to {high:g}"
        return None

    def off_scale(self, reply: str) -> str | None:
        """Return which grade of an unreadable reply the task does not have, as in `7 is outside 1 to 5`.

        Returns the first one, and None for a reply without a number (or with labels a text) in a grade's place.
        """
        given = [one for value in _objects(reply) for one in self._given(value)]
        if not given and not (self.pair or self.spec.criteria or self.spec.labels):
            given = [_bare(reply)]
        return next((words for one in given if (words := self._unknown(one)) is not None), None)

    def _given(self, value: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what stands in an object where grades should."""
        for of_one in [value.get(place) for place in PLACES] if self.pair else [value]:
            if isinstance(of_one, Mapping):
                yield from (of_one.get(name) for name in self.criteria)
            else:
                yield of_one

    def _unknown(self, value: Any) -> str | None:
        """Return in words which number or label this is, if it is one that the task does not have."""
        if self.spec.labels:
            if not isinstance(value, str) or any(_same(label, value) for label in self.spec.labels):
                return None
            return f"{value[:LABEL_CHARS]!r} is none of {', '.join(self.spec.labels)}"
        number = _number(value)
        return None if number is None else self._beside_the_scale(number)


def _bare(reply: str) -> str:
    """Return a reply without the marks that may stand around a lone grade."""
    return reply.lstrip(_AROUND).rstrip(_AROUND + ".")


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e12 else None


def _same(label: str, value: str) -> bool:
    return label.strip().casefold() == value.strip().casefold()


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _objects(reply: str) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects of a text, the outermost ones, in order."""
    # not strict: models write line breaks into the reason as they are
    decoder, at = json.JSONDecoder(strict=False), 0
    for _ in range(OBJECTS_TRIED):
        at = reply.find("{", at)
        if at < 0:
            return
        try:
            value, at = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield value
