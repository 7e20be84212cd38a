"""Turns a task's columns into the JSON that the page unpacks; texts are stored once and referred to by number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from marathon_eval.report.sample_columns import CellColumns, TaskColumns
from marathon_eval.results.outcomes import ABSENT


def embedded_samples(
    task: TaskColumns, clips: Sequence[int | None], prompts: Mapping[str, str], limit: int
) -> dict[str, Any]:
    """Return a task's JSON. `clips` has each document's clip number, `prompts` the prompt text by prompt_sha256.

    Texts are numbered document by document, so that answers to one clip lie side by side and compress well.
    Texts longer than `limit` characters are cut.
    """
    texts = EmbeddedTexts()
    length = len(task.places)
    rows = {n: {place: row for row, place in enumerate(c.places)} for n, c in task.cells.items()}
    cells = {number: _PackedCell(length, columns) for number, columns in task.cells.items()}
    documents: dict[str, list[int]] = {"target": [], "fields": [], "prompt": []}
    for place in range(length):
        documents["target"].append(texts.number(task.targets[place]))
        documents["fields"].append(texts.number(_fields_text(task.fields[place])))
        shas = [c.prompts[rows[n][place]] for n, c in task.cells.items() if place in rows[n]]
        documents["prompt"].append(texts.number(_prompt(shas, prompts)))
        for number, columns in task.cells.items():
            if place in rows[number]:
                cells[number].fill(place, rows[number][place], columns, texts)
    return {
        "task": task.task,
        "doc": list(task.places),
        "seconds": task.seconds,
        "clip": list(clips),
        **documents,
        "cells": {str(number): cell.as_json(texts) for number, cell in cells.items()},
        "texts": texts.cut_to(limit),
    }


class EmbeddedTexts:
    """Numbers every distinct text in the order of first use; number 0 stands for no text."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}

    def number(self, text: str | None) -> int:
        """Return the text's number, a new one for a new text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def cut_to(self, limit: int) -> list[str | None]:
        """Return all texts by number; one longer than `limit` characters is cut, with a note at its end."""
        return [None if text is None else _cut(text, limit) for text in self._numbers]


def fitting_length(lengths: Iterable[int], budget: int) -> int:
    """Return the length to which texts must be cut so that all fit the budget (characters), but at least 200."""
    ordered = sorted(lengths)
    left = budget
    for place, length in enumerate(ordered):
        if length * (len(ordered) - place) > left:
            return max(200, left // (len(ordered) - place))
        left -= length
    return max(ordered, default=0)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[… {len(text) - limit} more characters: see the run's samples file]"


class _PackedCell:
    """Spreads one run's columns over all documents of the task and marks documents that it lacks."""

    def __init__(self, length: int, columns: CellColumns) -> None:
        self._errors = columns.errors
        self._response = [0] * length
        self._usage: dict[str, list[float | None]] = {
            name: [None] * length
            for name, values in columns.usage.items()
            if any(value is not None for value in values)
        }
        self._codes = {name: [ABSENT] * length for name in columns.readings}
        self._answers = {name: ([0] * length, [0] * length) for name in columns.readings}
        self._graded: dict[str, dict[int, float]] = {name: {} for name in columns.readings}
        self._cached = [0] * length

    def fill(self, place: int, row: int, columns: CellColumns, texts: EmbeddedTexts) -> None:
        self._response[place] = texts.number(columns.responses[row])
        self._cached[place] = int(columns.cached[row])
        for name, values in self._usage.items():
            values[place] = columns.usage[name][row]
        for name, reading in columns.readings.items():
            answers, rules = self._answers[name]
            self._codes[name][place] = reading.codes[row]
            answers[place] = texts.number(reading.answers[row])
            rules[place] = texts.number(reading.rules[row])
            score = reading.scores[row]
            if score is not None and score not in (0, 1):
                self._graded[name][place] = float(f"{score:.4g}")

    def as_json(self, texts: EmbeddedTexts) -> dict[str, Any]:
        readings = {
            name: {"codes": "".join(codes), "answer": answers, "rule": rules, "score": self._graded[name]}
            for (name, codes), (answers, rules) in zip(
                self._codes.items(), self._answers.values(), strict=True
            )
        }
        return {
            "response": self._response,
            "readings": readings,
            "error": {place: texts.number(text) for place, text in self._errors.items()},
            "usage": self._usage,
            "cached": "".join(map(str, self._cached)),
        }


def _fields_text(fields: Mapping[str, Any]) -> str | None:
    return json.dumps(fields, ensure_ascii=False, indent=1, default=str) if fields else None


def _prompt(shas: Iterable[str | None], prompts: Mapping[str, str]) -> str | None:
    """Return the document's prompt; if models got different prompts, all of them, one after the other."""
    texts = dict.fromkeys(prompts[sha] for sha in shas if sha is not None and sha in prompts)
    return "\n\n— prompt of another model —\n\n".join(texts) or None
