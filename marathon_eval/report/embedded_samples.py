"""Turns a task's columns into the JSON that the page unpacks; texts are stored once and referred to by number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from marathon_eval.report.documents import AskedDocument
from marathon_eval.report.long_edits import LongEdits
from marathon_eval.report.sample_columns import CellColumns, TaskColumns
from marathon_eval.results.failures import failure_kind
from marathon_eval.results.outcomes import ABSENT, GRADED, UNANSWERED
from marathon_eval.scoring.metrics.intervals import spans_in
from marathon_eval.scoring.metrics.times import times_in

#: What a document was asked, apart from its clip.
ASKED_TEXTS = ("target", "fields", "prompt", "options")


class ClipNumbers(NamedTuple):
    """Holds the clip numbers of one task: of each document, and by cell and place of clips that a run alone heard."""

    first: Sequence[int | None]
    own: Mapping[int, Mapping[int, int | None]]


class EmbeddedTask(NamedTuple):
    """Holds a task's JSON but for its texts, and these."""

    columns: Mapping[str, Any]
    texts: EmbeddedTexts

    @property
    def token_map_chars(self) -> int:
        """The characters of all token maps, which do not compress."""
        cells = self.columns["cells"].values()
        return sum(len(part or "") for cell in cells for found in cell["tokens"].values() for part in found)

    def without_token_maps(self) -> EmbeddedTask:
        """Return the task without its token maps."""
        cells = {number: {**cell, "tokens": {}} for number, cell in self.columns["cells"].items()}
        return EmbeddedTask({**self.columns, "cells": cells}, self.texts)

    def cut_to(self, limit: int) -> dict[str, Any]:
        """Return the task's JSON; texts longer than `limit` characters are cut."""
        return {**self.columns, "texts": self.texts.cut_to(limit)}


def embedded_samples(task: TaskColumns, clips: ClipNumbers, prompts: Mapping[str, str]) -> EmbeddedTask:
    """Return a task's columns as JSON. `prompts` has the prompt texts by prompt_sha256.

    What the first run with a document was asked stands in the document's columns; another run's gold, prompt, fields
    and clip stand in `own` of its cell, where they differ. Texts are numbered document by document, so that answers to
    one clip lie side by side and compress well.
    """
    texts = EmbeddedTexts()
    length = len(task.documents.first)
    cells = {number: _PackedCell(length, columns) for number, columns in task.cells.items()}
    documents: dict[str, list[int]] = {name: [] for name in ASKED_TEXTS}
    for place, asked in enumerate(task.documents.first):
        numbers = _numbered(asked, prompts, texts)
        for name, column in documents.items():
            column.append(numbers[name])
        for cell in cells.values():
            cell.number_texts(place, texts)
            own = cell.columns.own.get(place)
            if own is not None:
                cell.keep_own(place, _numbered(own, prompts, texts), numbers)
    edits = LongEdits(task.aligned)
    packed: dict[str, Any] = {
        "task": task.task,
        "doc": task.documents.doc_ids,
        "data": task.documents.ambiguous,
        "seconds": [asked.seconds for asked in task.documents.first],
        "cluster": _cluster_numbers(task),
        "clip": list(clips.first),
        **documents,
        "cells": {
            str(number): cell.as_json(texts, clips.own.get(number, {}), task, edits)
            for number, cell in cells.items()
        },
    }
    if task.timed:
        packed["times"] = _times(task, texts)
    return EmbeddedTask(packed, texts)


def _times(task: TaskColumns, texts: EmbeddedTexts) -> dict[int, list[tuple[float, float]]]:
    """Return the stretches or moments in each gold text and answer by its number, read as the metric reads them."""
    asked = [*task.documents.first, *(own for cell in task.cells.values() for own in cell.own.values())]
    read = {one.target for one in asked}
    for cell in task.cells.values():
        read.update(answer for reading in cell.readings.values() for answer in reading.answers)
    found = {texts.number(text): _read_times(text, task.timed) for text in read if text is not None}
    return {number: times for number, times in found.items() if times}


def _read_times(text: str, kind: str) -> list[tuple[float, float]]:
    if kind == "spans":
        return spans_in([text]) or []
    return [(time, time) for time in times_in(text) or ()]


def _numbered(asked: AskedDocument, prompts: Mapping[str, str], texts: EmbeddedTexts) -> dict[str, int]:
    # a dialogue's own hash stands for all its answers: its last turn holds those that were given
    sha256 = asked.last_turn or asked.prompt
    prompt = None if sha256 is None else prompts.get(sha256)
    return {
        "target": texts.number(asked.target),
        "fields": texts.number(_fields_text(asked.fields)),
        "prompt": texts.question(prompt),
        "options": texts.question(asked.options),
    }


def _cluster_numbers(task: TaskColumns) -> list[int] | None:
    """Number each document's cluster, the unit of intervals, as compare does; None if every document is one."""
    recorded = task.documents.clusters
    names: Sequence[Any] = recorded
    if None in recorded or len(set(recorded)) < 2:
        names = [
            str([clip["path"] for clip in asked.audio] or place)
            for place, asked in enumerate(task.documents.first)
        ]
    numbers: dict[Any, int] = {}
    numbered = [numbers.setdefault(name, len(numbers)) for name in names]
    return None if len(numbers) == len(numbered) else numbered


class EmbeddedTexts:
    """Numbers every distinct text in the order of first use; number 0 stands for no text."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}
        #: Numbers of prompts and options, which no samples file holds in full.
        self._questions: set[int] = set()

    def number(self, text: str | None) -> int:
        """Return the text's number, a new one for a new text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def question(self, text: str | None) -> int:
        """Return the number of a prompt or of options; if it must be cut, the note names the verb that prints it."""
        number = self.number(text)
        self._questions.add(number)
        return number

    def lengths(self) -> Iterable[int]:
        """Return the lengths of all texts in characters."""
        return (len(text) for text in self._numbers if text is not None)

    def cut_to(self, limit: int) -> list[str | None]:
        """Return all texts by number; one longer than `limit` characters is cut, with a note at its end."""
        return [
            None if text is None else _cut(text, limit, number in self._questions)
            for text, number in self._numbers.items()
        ]


def fitting_length(lengths: Iterable[int], budget: int) -> int:
    """Return the length to which texts must be cut so that all fit the budget (characters), but at least 200."""
    ordered = sorted(lengths)
    left = budget
    for place, length in enumerate(ordered):
        if length * (len(ordered) - place) > left:
            return max(200, left // (len(ordered) - place))
        left -= length
    return max(ordered, default=0)


def _cut(text: str, limit: int, question: bool) -> str:
    if len(text) <= limit:
        return text
    whole = "`marathon-eval show TASK ROW` prints it" if question else "see the run's samples file"
    return f"{text[:limit]}\n[… {len(text) - limit} more characters: {whole}]"


class _PackedCell:
    """Spreads one run's columns over all documents of the task and marks documents that it lacks."""

    def __init__(self, length: int, columns: CellColumns) -> None:
        self.columns = columns
        #: The run's row of each document; None for documents that it lacks.
        self._rows: list[int | None] = [None] * length
        for row, place in enumerate(columns.places):
            self._rows[place] = row
        self._response = [0] * length
        self._answers = {name: ([0] * length, [0] * length) for name in columns.readings}
        self._texts = [(columns.responses, self._response)]
        for name, reading in columns.readings.items():
            answers, rules = self._answers[name]
            self._texts += [(reading.answers, answers), (reading.rules, rules)]
        self._own: dict[str, dict[int, Any]] = {}

    def number_texts(self, place: int, texts: EmbeddedTexts) -> None:
        """Number the answer to one document."""
        row = self._rows[place]
        if row is not None:
            for values, numbers in self._texts:
                numbers[place] = texts.number(values[row])

    def keep_own(self, place: int, own: Mapping[str, int], first: Mapping[str, int]) -> None:
        """Keep the text numbers of a document that differ from those of the first run with it."""
        for name, number in own.items():
            if number != first[name]:
                self._own.setdefault(name, {})[place] = number

    def as_json(
        self, texts: EmbeddedTexts, clips: Mapping[int, int | None], task: TaskColumns, edits: LongEdits
    ) -> dict[str, Any]:
        columns = self.columns
        seconds = {
            place: asked.seconds
            for place, asked in columns.own.items()
            if asked.seconds != task.documents.first[place].seconds
        }
        own = {**self._own, **({"clip": dict(clips)} if clips else {})}
        return {
            "response": self._response,
            "readings": {name: self._reading(name, task, edits) for name in columns.readings},
            "error": {place: texts.number(text) for place, text in columns.errors.items()},
            "kind": {place: texts.number(failure_kind(text)) for place, text in columns.errors.items()},
            "tokens": {place: list(found) for place, found in columns.token_maps.items()},
            "judge": {place: texts.number(text) for place, text in columns.judged.items()},
            "usage": {
                name: self._spread(values, None)
                for name, values in columns.usage.items()
                if any(value is not None for value in values)
            },
            "cached": "".join("1" if cached else "0" for cached in self._spread(columns.cached, False)),
            "own": {**own, **({"seconds": seconds} if seconds else {})},
            **({"words": columns.word_errors} if columns.word_errors else {}),
        }

    def _reading(self, name: str, task: TaskColumns, edits: LongEdits) -> dict[str, Any]:
        reading = self.columns.readings[name]
        answers, rules = self._answers[name]
        graded = {
            place: float(f"{score:.4g}")
            for place, score, code in zip(self.columns.places, reading.scores, reading.codes, strict=True)
            # a grade of 1 or an error rate of 1 is shown too; of a right or wrong row the outcome says it
            if score is not None
            and (code == GRADED or score not in (0, 1) or (code == UNANSWERED and (score or task.falls)))
        }
        codes = "".join(self._spread(reading.codes, ABSENT))
        found = {"codes": codes, "answer": answers, "rule": rules, "score": graded}
        along = {
            place: counts
            for place, answer in zip(self.columns.places, reading.answers, strict=True)
            if place not in self.columns.errors
            and (counts := edits.of(task.asked(self.columns, place).target, answer)) is not None
        }
        return {**found, "edits": along} if along else found

    def _spread(self, values: Sequence[Any], empty: Any) -> list[Any]:
        """Return the run's values by document, with `empty` for documents that it lacks."""
        return [empty if row is None else values[row] for row in self._rows]


def _fields_text(fields: Mapping[str, Any]) -> str | None:
    return _indented(json.dumps(fields, ensure_ascii=False, default=str)) if fields else None


@lru_cache(maxsize=4096)
def _indented(text: str) -> str:
    """Return JSON with a line per entry; Python's slow encoder writes that, and few rows have fields of their own."""
    return json.dumps(json.loads(text), ensure_ascii=False, indent=1)
