"""Collects the samples of one task from all runs as columns: one value per document, every text stored once.

A row then costs a few bytes instead of a kilobyte, so that one page can hold a quarter of a million answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marathon_eval.api.results import TaskResult
from marathon_eval.report.documents import AskedDocument, RunData, TaskDocuments, joined_text
from marathon_eval.results.outcomes import UNANSWERED, Deciding, deciding, outcome_of, unanswered_score
from marathon_eval.results.word_errors import WordErrors, word_errors_of
from marathon_eval.scoring.usage import sounding_tokens

#: What speech recognisers time in place of the stages; it stands in the details of a response's usage.
TRANSCRIBE = "transcribe_s"
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
    TRANSCRIBE,
    "peak_bytes",
    "kv_bytes",
)
#: Extracted answers are cut to this length: a longer one, such as a transcript, is in the response in full.
SHOWN_ANSWER_CHARS = 300
#: Metrics that compare stretches of time, and those that compare moments (scoring/metrics/intervals.py).
OF_SPANS, OF_TIMES = ("interval_iou", "recall_at_iou", "span_f1"), ("event_f1", "time_match")
#: Characters of gold and answer, of one task of all runs, whose errors are counted for the page (half a minute for English).
MOST_COUNTED_CHARS = 12_000_000
#: Characters of gold times those of the answer above which a row is not aligned for it.
MOST_ROW_CELLS = 50_000_000_000
#: The errors of each kind that the page lists.
SHOWN_ERRORS = 30
BETWEEN_REPEATS = "\n\n— next repeat —\n\n"
BETWEEN_TURNS = "\n\n— answer to the next turn —\n\n"


@dataclass
class ReadingColumns:
    """Holds one reading's columns: answer, rule of the filter that extracted it, outcome code, and score."""

    answers: list[str | None] = field(default_factory=list)
    rules: list[str | None] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)


class TokenMap(NamedTuple):
    """Holds which audio tokens a press kept, as `backends/hf/engine/token_map.py` writes it."""

    shares: str
    starts: str | None

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> TokenMap | None:
        """Return what a response's usage records; None if nothing."""
        details = usage.get("details") or {}
        shares, starts = details.get("token_map"), details.get("token_starts")
        if not isinstance(shares, str):
            return None
        return cls(shares, starts if isinstance(starts, str) else None)


@dataclass
class CellColumns:
    """Holds one run's columns; `places` says which document of the task each value belongs to.

    `own` has, by place, how this run asked a document, where that is not how the first run asked it; `judged` has the
    texts of the judges by place, and `token_maps` which audio tokens the press kept, where the run recorded it.
    `breakdown` names the columns of the task whose values have figures of their own. `word_errors` are the most frequent
    errors of transcripts, with `not_counted`, the rows that were too many for a page.
    """

    places: list[int] = field(default_factory=list)
    responses: list[str | None] = field(default_factory=list)
    readings: dict[str, ReadingColumns] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    judged: dict[int, str] = field(default_factory=dict)
    token_maps: dict[int, TokenMap] = field(default_factory=dict)
    usage: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in USAGE})
    cached: list[bool] = field(default_factory=list)
    own: dict[int, AskedDocument] = field(default_factory=dict)
    breakdown: tuple[str, ...] = ()
    word_errors: Mapping[str, Any] | None = None


class TaskColumns:
    """Holds all runs' samples of one task."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.cells: dict[int, CellColumns] = {}
        self.primary: str = ""
        #: The headline's metric of the first run; empty if that run has none.
        self.metric: str = ""
        #: Whether a lower value of the metric that decides the outcomes is better.
        self.falls = False
        #: The function that builds it, which its entry in metric_list names.
        self.factory: str = ""
        self._texts: dict[str, str] = {}
        self.documents = TaskDocuments(self._texts)
        self._left_chars = MOST_COUNTED_CHARS

    def add_cell(
        self, number: int, result: TaskResult, rows: Iterable[Mapping[str, Any]], data: RunData | None = None
    ) -> CellColumns:
        """Add a run's samples as cell `number`, the reading of the headline first, and return its columns.

        `data` says which documents the run asked, so that rows of other documents stay apart.
        """
        headline = result.headline or {}
        names = sorted(result.readings, key=lambda name: name != headline.get("reading"))
        self.primary = self.primary or (names[0] if names else "")
        columns = self.cells[number] = CellColumns(
            readings={name: ReadingColumns() for name in names}, breakdown=tuple(result.breakdown)
        )
        metric = str(headline.get("metric", ""))
        decides = deciding(headline, result.metrics)
        if len(self.cells) == 1:
            self.falls = decides.falls(decides.among(result.metrics.get(self.primary, {})))
        self.metric = self.metric or metric
        entry = result.metrics.get(str(headline.get("reading")), {}).get(metric, {})
        self.factory = self.factory or str(entry.get("metric", metric))
        known = self.documents.of_run(number, data or RunData())
        whole = bool(self.aligned or self.timed)
        errors = word_errors_of(headline, result.metrics, self.primary) if self.aligned else None
        not_counted = 0
        for row in rows:
            place, own = known.place_of(row)
            if own is not None:
                columns.own[place] = own
            self._add_row(columns, place, row, decides, whole)
            if errors is not None:
                not_counted += not self._count_errors(errors, row)
        if errors is not None:
            columns.word_errors = {**errors.facts(SHOWN_ERRORS), "not_counted": not_counted}
        return columns

    def _count_errors(self, errors: WordErrors, row: Mapping[str, Any]) -> bool:
        """Count the errors of a row; return False where so many characters were read before that a page would take too long."""
        if self._left_chars <= 0:
            return False
        read = row["readings"].get(self.primary) or {}
        gold, answer = len(joined_text(row["target"], "") or ""), len(read.get("answer") or "")
        if gold * answer > MOST_ROW_CELLS:
            return False
        self._left_chars -= gold + answer
        errors.add(row, self.primary)
        return True

    @property
    def aligned(self) -> str:
        """What answers are aligned with their gold by: "words" or "characters" if an error rate counts these, else ""."""
        words = set(self.metric.split("_"))
        return "words" if "wer" in words else "characters" if "cer" in words else ""

    def asked(self, columns: CellColumns, place: int) -> AskedDocument:
        """Return how the run with these columns asked the document at `place`."""
        own = columns.own.get(place)
        return self.documents.first[place] if own is None else own

    @property
    def timed(self) -> str:
        """What the headline compares: "spans" or "times" in the clip, or "" where it compares neither."""
        return "spans" if self.factory in OF_SPANS else "times" if self.factory in OF_TIMES else ""

    def _add_row(
        self, columns: CellColumns, place: int, row: Mapping[str, Any], headline: Deciding, whole: bool
    ) -> None:
        """Add a row's values; answers are kept `whole` where the page aligns them or reads times in them."""
        columns.places.append(place)
        between = BETWEEN_TURNS if row.get("turns_sha256") else BETWEEN_REPEATS
        columns.responses.append(self._shared(joined_text(row["response"], between)))
        columns.cached.append(bool(row["cached"]))
        if row["error"] is not None:
            columns.errors[place] = str(row["error"])
        if row.get("judge"):
            columns.judged[place] = judge_text(row["judge"])
        usage = row["usage"]
        token_map = TokenMap.of(usage)
        if token_map is not None:
            columns.token_maps[place] = token_map
        audio, kept = sounding_tokens(usage)
        for name, values in columns.usage.items():
            value = audio if name == "audio_tokens" else kept if name == "kept_tokens" else usage.get(name)
            if name == TRANSCRIBE:
                value = (usage.get("details") or {}).get(name)
            values.append(None if value is None else _rounded(value))
        readings = row["readings"]
        for name, reading in columns.readings.items():
            code, score, _ = outcome_of(row, name, headline)
            if code == UNANSWERED:
                score = unanswered_score(row, name, headline)
            extracted = readings.get(name) or {}
            reading.codes.append(code)
            reading.scores.append(score)
            answer = answer_like_gold(row, extracted.get("answer"))
            reading.answers.append(self._shared(answer if whole else _beginning(answer)))
            reading.rules.append(self._shared(extracted.get("rule")))

    def _shared(self, text: str | None) -> str | None:
        """Return the stored copy of an equal text: many runs give the same four letters."""
        return None if text is None else self._texts.setdefault(text, text)


def answer_like_gold(row: Mapping[str, Any], answer: str | None) -> str | None:
    """Return the option's text for an answer's letter if the row's gold is a text, so that both name the same classes."""
    letters, choices = row.get("letters") or (), row.get("choices") or ()
    if answer is None or answer not in letters or row["target"] in letters or len(letters) != len(choices):
        return answer
    return str(choices[letters.index(answer)])


def judge_text(judge: Mapping[str, Any]) -> str:
    """Return all replies of the judges to one response: a heading per kind, then every attempt of every call."""
    lines: list[str] = []
    for kind, calls in judge.items():
        for number, replies in enumerate(calls if isinstance(calls, list) else [calls], 1):
            attempts = replies if isinstance(replies, list) else [replies]
            for attempt, reply in enumerate(attempts, 1):
                again = f", attempt {attempt}" if len(attempts) > 1 else ""
                lines.append(f"[{kind}, call {number}{again}]\n{reply}")
    return "\n\n".join(lines)


def _beginning(answer: str | None) -> str | None:
    if answer is None or len(answer) <= SHOWN_ANSWER_CHARS:
        return answer
    return f"{answer[:SHOWN_ANSWER_CHARS]}… ({len(answer)} characters)"


def _rounded(value: Any) -> float | None:
    """Round seconds to three digits; more is noise and costs half a megabyte a column. Whole numbers stay as they are."""
    # a quarter of a million rows have ten values each: exact types are the fastest test, and JSON has no others
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is not float or value - value != 0:
        return None
    # a count of tokens is a float where it is a mean over repeats
    return int(value) if value.is_integer() else float(f"{value:.3g}")
