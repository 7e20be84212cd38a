"""The samples of one task over all cells, as columns: one value per document, every text stored once.

A row costs a few bytes instead of a kilobyte, which is what lets one page hold a quarter of a million answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marathon_eval.report.outcomes import ABSENT, outcome_of
from marathon_eval.results import TaskResult

#: What a report shows of an answer's cost; seconds and counts.
USAGE = (
    "heard_seconds",
    "audio_tokens",
    "kept_tokens",
    "input_tokens",
    "output_tokens",
    "encode_s",
    "prefill_s",
    "decode_s",
    "peak_bytes",
    "kv_bytes",
)
BETWEEN_REPEATS = "\n\n— next repeat —\n\n"


class Texts:
    """Every different text once, numbered in the order of first use; number 0 is no text."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}

    def number(self, text: str | None) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def cut_to(self, limit: int) -> list[str | None]:
        """All texts by number, none longer than `limit` characters; a cut one says so."""
        return [None if text is None else _cut(text, limit) for text in self._numbers]


def fitting_length(lengths: Iterable[int], budget: int) -> int:
    """The length to cut to so that all together stay within the budget, but at least 200."""
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


@dataclass
class Reading:
    """One reading's column of answers, with the rule that found each and the outcome's letter."""

    answers: list[str | None] = field(default_factory=list)
    rules: list[str | None] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)


@dataclass
class CellColumns:
    """One cell's column values; `places` says which document each belongs to."""

    places: list[int] = field(default_factory=list)
    responses: list[str | None] = field(default_factory=list)
    readings: dict[str, Reading] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    usage: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in USAGE})
    cached: list[bool] = field(default_factory=list)
    prompts: list[str | None] = field(default_factory=list)


class TaskColumns:
    """All cells' samples of one task. Documents are numbered in the order in which the cells bring them."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.places: dict[int, int] = {}
        self.targets: list[str | None] = []
        self.seconds: list[float | None] = []
        self.audio: list[list[dict[str, Any]]] = []
        self.fields: list[dict[str, Any]] = []
        self.cells: dict[int, CellColumns] = {}
        self.primary: str = ""
        self._known: dict[str, str] = {}

    def add_cell(self, number: int, result: TaskResult, rows: Iterable[Mapping[str, Any]]) -> CellColumns:
        """Read a cell's samples; the headline's reading comes first."""
        headline = result.headline or {}
        names = sorted(result.readings, key=lambda name: name != headline.get("reading"))
        self.primary = self.primary or (names[0] if names else "")
        columns = self.cells[number] = CellColumns(readings={name: Reading() for name in names})
        for row in rows:
            self._add_row(columns, row, str(headline.get("metric", "")))
        return columns

    def _add_row(self, columns: CellColumns, row: Mapping[str, Any], metric: str) -> None:
        place = self.places.setdefault(row["doc_id"], len(self.places))
        if place == len(self.targets):
            self._add_document(row)
        columns.places.append(place)
        columns.responses.append(self._shared(text_of(row["response"], BETWEEN_REPEATS)))
        columns.cached.append(bool(row["cached"]))
        columns.prompts.append(self._shared(row["prompt_sha256"]))
        if row["error"] is not None:
            columns.errors[place] = str(row["error"])
        for name, values in columns.usage.items():
            values.append(_rounded(row["usage"].get(name)))
        for name, reading in columns.readings.items():
            outcome = outcome_of(row, name, metric)
            read = row["readings"].get(name) or {}
            reading.codes.append(outcome.code)
            reading.scores.append(outcome.score)
            reading.answers.append(self._shared(read.get("answer")))
            reading.rules.append(self._shared(read.get("rule")))

    def _add_document(self, row: Mapping[str, Any]) -> None:
        known = [clip["seconds"] for clip in row["audio"] if clip.get("seconds") is not None]
        self.targets.append(self._shared(text_of(row["target"], " | ")))
        self.seconds.append(round(sum(known), 2) if known else None)
        self.audio.append(row["audio"])
        self.fields.append(row["fields"])

    def _shared(self, text: str | None) -> str | None:
        """The one copy of a text: 37 cells give the same four letters."""
        return None if text is None else self._known.setdefault(text, text)

    def text_lengths(self) -> Iterable[int]:
        """Lengths of all different texts."""
        return map(len, self._known)

    def packed(self, clips: list[int | None], prompts: Mapping[str, str], limit: int) -> dict[str, Any]:
        """The JSON of this task: `clips` numbers each document's audio, `prompts` gives text by prompt_sha256.

        Texts are numbered document by document, so that answers to one clip lie side by side and compress.
        """
        texts = Texts()
        rows = {number: dict(zip(c.places, range(len(c.places)), strict=True)) for number, c in self.cells.items()}
        packed = {number: _PackedCell(len(self.places), c) for number, c in self.cells.items()}
        documents: dict[str, list[int]] = {"target": [], "fields": [], "prompt": []}
        for place in range(len(self.places)):
            documents["target"].append(texts.number(self.targets[place]))
            documents["fields"].append(texts.number(_fields_text(self.fields[place])))
            shas = [c.prompts[rows[n][place]] for n, c in self.cells.items() if place in rows[n]]
            documents["prompt"].append(texts.number(_prompt(shas, prompts)))
            for number, columns in self.cells.items():
                if place in rows[number]:
                    packed[number].fill(place, rows[number][place], columns, texts)
        return {
            "task": self.task,
            "doc": list(self.places),
            "seconds": self.seconds,
            "clip": clips,
            **documents,
            "cells": {str(number): cell.as_json(texts) for number, cell in packed.items()},
            "texts": texts.cut_to(limit),
        }


class _PackedCell:
    """One cell's columns spread over all documents, absent ones marked."""

    def __init__(self, length: int, columns: CellColumns) -> None:
        self._errors = columns.errors
        self._response = [0] * length
        self._usage: dict[str, list[float | None]] = {
            name: [None] * length
            for name, values in columns.usage.items()
            if any(value is not None for value in values)
        }
        self._readings = {
            name: {"codes": [ABSENT] * length, "answer": [0] * length, "rule": [0] * length}
            for name in columns.readings
        }
        self._graded: dict[str, dict[int, float]] = {name: {} for name in columns.readings}
        self._cached = [0] * length

    def fill(self, place: int, row: int, columns: CellColumns, texts: Texts) -> None:
        self._response[place] = texts.number(columns.responses[row])
        self._cached[place] = int(columns.cached[row])
        for name, values in self._usage.items():
            values[place] = columns.usage[name][row]
        for name, reading in columns.readings.items():
            target = self._readings[name]
            target["codes"][place] = reading.codes[row]
            target["answer"][place] = texts.number(reading.answers[row])
            target["rule"][place] = texts.number(reading.rules[row])
            score = reading.scores[row]
            if score is not None and score not in (0, 1):
                self._graded[name][place] = float(f"{score:.4g}")

    def as_json(self, texts: Texts) -> dict[str, Any]:
        readings = {
            name: {**values, "codes": "".join(values["codes"]), "score": self._graded[name]}
            for name, values in self._readings.items()
        }
        return {
            "response": self._response,
            "readings": readings,
            "error": {place: texts.number(text) for place, text in self._errors.items()},
            "usage": self._usage,
            "cached": "".join(map(str, self._cached)),
        }


def text_of(value: Any, between: str) -> str | None:
    """A target or response as one text; repeats and several right answers joined."""
    if isinstance(value, list):
        return between.join("" if part is None else str(part) for part in value)
    return None if value is None else str(value)


def _fields_text(fields: Mapping[str, Any]) -> str | None:
    return json.dumps(fields, ensure_ascii=False, indent=1, default=str) if fields else None


def _prompt(shas: Iterable[str | None], prompts: Mapping[str, str]) -> str | None:
    """The document's prompt; where models were asked differently, each wording."""
    found = dict.fromkeys(prompts[sha] for sha in shas if sha is not None and sha in prompts)
    return "\n\n— another model was asked —\n\n".join(found) or None


def _rounded(value: Any) -> float | None:
    """Three digits: more is noise in a timing, and costs half a megabyte a column. Counts stay whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        return None
    return value if isinstance(value, int) else float(f"{value:.3g}")
