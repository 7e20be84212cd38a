"""Collects the samples of one task from all runs as columns: one value per document, every text stored once.

A row then costs a few bytes instead of a kilobyte, so that one page can hold a quarter of a million answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marathon_eval.api.results import TaskResult
from marathon_eval.results.outcomes import outcome_of

#: The usage fields that a report shows: seconds, bytes and token counts.
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
#: Extracted answers are cut to this length: a longer one, such as a transcript, is in the response in full.
SHOWN_ANSWER_CHARS = 300
BETWEEN_REPEATS = "\n\n— next repeat —\n\n"


@dataclass
class ReadingColumns:
    """Holds one reading's columns: answer, rule of the filter that extracted it, outcome code, and score."""

    answers: list[str | None] = field(default_factory=list)
    rules: list[str | None] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)


@dataclass
class CellColumns:
    """Holds one run's columns; `places` says which document of the task each value belongs to."""

    places: list[int] = field(default_factory=list)
    responses: list[str | None] = field(default_factory=list)
    readings: dict[str, ReadingColumns] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    usage: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in USAGE})
    cached: list[bool] = field(default_factory=list)
    prompts: list[str | None] = field(default_factory=list)


class TaskColumns:
    """Holds all runs' samples of one task; documents are numbered in the order in which the runs name them."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.places: dict[int, int] = {}
        self.targets: list[str | None] = []
        self.seconds: list[float | None] = []
        self.audio: list[list[dict[str, Any]]] = []
        self.fields: list[dict[str, Any]] = []
        self.cells: dict[int, CellColumns] = {}
        self.primary: str = ""
        self._texts: dict[str, str] = {}

    def add_cell(self, number: int, result: TaskResult, rows: Iterable[Mapping[str, Any]]) -> CellColumns:
        """Add a run's samples as cell `number`, the reading of the headline first, and return its columns."""
        headline = result.headline or {}
        names = sorted(result.readings, key=lambda name: name != headline.get("reading"))
        self.primary = self.primary or (names[0] if names else "")
        columns = self.cells[number] = CellColumns(readings={name: ReadingColumns() for name in names})
        for row in rows:
            self._add_row(columns, row, str(headline.get("metric", "")))
        return columns

    def _add_row(self, columns: CellColumns, row: Mapping[str, Any], metric: str) -> None:
        place = self.places.setdefault(row["doc_id"], len(self.places))
        if place == len(self.targets):
            self._add_document(row)
        columns.places.append(place)
        columns.responses.append(self._shared(joined_text(row["response"], BETWEEN_REPEATS)))
        columns.cached.append(bool(row["cached"]))
        columns.prompts.append(self._shared(row["prompt_sha256"]))
        if row["error"] is not None:
            columns.errors[place] = str(row["error"])
        for name, values in columns.usage.items():
            values.append(_rounded(row["usage"].get(name)))
        for name, reading in columns.readings.items():
            outcome = outcome_of(row, name, metric)
            extracted = row["readings"].get(name) or {}
            reading.codes.append(outcome.code)
            reading.scores.append(outcome.score)
            reading.answers.append(self._shared(_beginning(extracted.get("answer"))))
            reading.rules.append(self._shared(extracted.get("rule")))

    def _add_document(self, row: Mapping[str, Any]) -> None:
        lengths = [clip["seconds"] for clip in row["audio"] if clip.get("seconds") is not None]
        self.targets.append(self._shared(joined_text(row["target"], " | ")))
        self.seconds.append(round(sum(lengths), 2) if lengths else None)
        self.audio.append(row["audio"])
        self.fields.append(row["fields"])

    def _shared(self, text: str | None) -> str | None:
        """Return the stored copy of an equal text: many runs give the same four letters."""
        return None if text is None else self._texts.setdefault(text, text)

    def text_lengths(self) -> Iterable[int]:
        """Return the lengths of all distinct texts in characters."""
        return map(len, self._texts)


def joined_text(value: Any, between: str) -> str | None:
    """Return a target or response as one text; a list of repeats or right answers is joined by `between`."""
    if isinstance(value, list):
        return between.join("" if part is None else str(part) for part in value)
    return None if value is None else str(value)


def _beginning(answer: str | None) -> str | None:
    if answer is None or len(answer) <= SHOWN_ANSWER_CHARS:
        return answer
    return f"{answer[:SHOWN_ANSWER_CHARS]}… ({len(answer)} characters)"


def _rounded(value: Any) -> float | None:
    """Round seconds to three digits; more is noise and costs half a megabyte a column. Integers stay as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        return None
    return value if isinstance(value, int) else float(f"{value:.3g}")
