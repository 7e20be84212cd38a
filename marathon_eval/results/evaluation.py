"""Presents a run to Python: as lm-eval's dictionary, as pandas tables, and as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.results import RunResult, Sample
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.results.label import label_words
from marathon_eval.results.lm_eval_export import results, sample_rows
from marathon_eval.results.outcomes import NAMES, deciding, is_over_rows, outcome_of
from marathon_eval.results.run_name import shown_model
from marathon_eval.scoring.grades import grades_in_words

if TYPE_CHECKING:
    import pandas

TableOf = Literal["samples", "scores"]
SCORE_COLUMNS = ("task", "reading", "metric", "value", "low", "high", "n", "coverage", "headline")


@dataclass(frozen=True, repr=False)
class Evaluation(RunResult):
    """Holds a run as `simple_evaluate` returns it; printed and in a notebook it shows itself as a table."""

    @classmethod
    def of(cls, result: RunResult) -> Evaluation:
        """Return the same run as an Evaluation."""
        return cls(**{item.name: getattr(result, item.name) for item in fields(RunResult)})

    def __getitem__(self, key: str) -> Any:
        """Return a part of lm-eval's result: `run["results"]["gtzan"]["accuracy,strict"]`. Raises KeyError."""
        if key == "samples":
            return {
                task: [row for s in rows for row in sample_rows(s)] for task, rows in self.samples.items()
            }
        parts = results(self)
        if key not in parts:
            known = [*parts, "samples"]
            hint = self._attribute_told(key) or did_you_mean(key, known)
            raise KeyError(f"no '{key}'.{hint} Known: {', '.join(known)}")
        return parts[key]

    def _attribute_told(self, key: object) -> str:
        """Return the words on an attribute of this name; empty where there is none."""
        if not isinstance(key, str) or key.startswith("_") or not hasattr(self, key):
            return ""
        call = "()" if callable(getattr(type(self), key, None)) else ""
        return f" The run has it as an attribute: run.{key}{call}."

    def keys(self) -> list[str]:
        """Return the names of the parts of lm-eval's result, for `"results" in run`, `list(run)` and `dict(run)`."""
        return [*results(self), "samples"]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the parts."""
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        """Return whether there is a part of this name."""
        return key in self.keys()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a part, or the default where there is none of this name."""
        try:
            return self[key]
        except KeyError:
            return default

    def to_pandas(self, of: TableOf = "samples") -> pandas.DataFrame:
        """Return a table with a row per document, or with `of="scores"` per task, reading and metric.

        Columns of samples: task, doc_id, target, response, status, error, cached, seconds (of audio), for each reading
        `<reading>` (its answer) and `<reading>_<metric>`, and the task's breakdown fields. F1 over labels has no value for
        a row: in its place stands `<reading>_right`, 1 for a right row and else 0. Raises MarathonError.
        """
        import pandas

        if of not in ("samples", "scores"):
            raise MarathonError(f"to_pandas: of must be 'samples' or 'scores', got {of!r}")
        if of == "scores":
            return pandas.DataFrame(list(score_records(self)), columns=list(SCORE_COLUMNS))
        return pandas.DataFrame(list(sample_records(self)))

    def __repr__(self) -> str:
        """Return the run as a plain table, for `print` and the interpreter."""
        table = text_table(SCORE_COLUMNS, score_records(self), self._caption())
        return "\n".join([table, *self._failed()])

    def _repr_html_(self) -> str:
        """Return the run as an HTML table, for notebooks. Every text of it is escaped."""
        note = "".join(f"<p>{line}</p>" for line in self._failed())
        return html_table(SCORE_COLUMNS, score_records(self), escape(self._caption())) + note

    def _caption(self) -> str:
        name = shown_model({"model": self.model, "config": self.config})
        return ", ".join([name, *label_words(self.condition, self.selection)])

    def _failed(self) -> list[str]:
        """Return the line on rows that failed; none where none did."""
        failed = sum(task.n_errors for task in self.tasks.values())
        return [f"{failed} rows failed and are not in the scores."] if failed else []


def score_records(result: RunResult) -> Iterator[dict[str, Any]]:
    """Yield a record per task, reading and metric: value and ends of the 95 % interval on the metric's own scale."""
    for name, task in result.tasks.items():
        headline = task.headline or {}
        for reading, metrics in task.readings.items():
            for metric, value in metrics.items():
                low, high = value.ci95 or (None, None)
                yield {
                    "task": name,
                    "reading": reading,
                    "metric": metric,
                    "value": value.value,
                    "low": low,
                    "high": high,
                    "n": task.n_in(reading),
                    "coverage": task.coverage_of(reading),
                    "headline": headline.get("reading") == reading and headline.get("metric") == metric,
                }


def _as_line(sample: Sample) -> dict[str, Any]:
    """Return what decides a sample's outcome, as its line of samples_<task>.jsonl has it."""
    readings = {
        name: {"answer": read.answer, "rule": read.rule, "scores": read.scores}
        for name, read in sample.readings.items()
    }
    return {"status": sample.status, "readings": readings}


def option_text(sample: Sample) -> str | None:
    """Return the text of the option that the target's letter names; None where the target is no letter of an option."""
    texts = dict(zip(sample.letters or (), sample.choices or (), strict=False))
    return texts.get(sample.target) if isinstance(sample.target, str) else None


def sample_records(result: RunResult) -> Iterator[dict[str, Any]]:
    """Yield a flat record per document of every task."""
    for task, samples in result.samples.items():
        of_task = result.tasks[task]
        decides = deciding(of_task.headline, of_task.metrics)
        for sample in samples:
            record: dict[str, Any] = {
                "task": task,
                **{
                    name: getattr(sample, name)
                    for name in ("doc_id", "target", "response", "status", "error")
                },
                "outcome": NAMES[outcome_of(_as_line(sample), of_task.headline_reading, decides).code],
                "target_text": option_text(sample),
                "cached": sample.cached,
                "seconds": sum(clip.get("seconds") or 0.0 for clip in sample.audio),
            }
            for reading, scored in sample.readings.items():
                record[reading] = grades_in_words(scored.answer)
                entries = result.tasks[task].metrics.get(reading, {})
                for metric, score in scored.scores.items():
                    record[f"{reading}_{_row_column(metric, entries.get(metric, {}))}"] = score
            yield {**record, **{f"field_{name}": value for name, value in sample.fields.items()}}


def _row_column(metric: str, entry: Mapping[str, Any]) -> str:
    """Return what a metric's number for a row is called: its name, or `right` where it has a value over rows only."""
    return "right" if is_over_rows(metric, entry) else metric


def text_table(columns: tuple[str, ...], rows: Iterator[Mapping[str, Any]], caption: str) -> str:
    """Return a plain table of records below its caption; columns of numbers are right-aligned."""
    records = list(rows)
    lines = [columns, *(tuple(plain_line(_cell(row.get(column))) for column in columns) for row in records)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    numbers = [
        all(isinstance(row.get(column), (int, float, type(None))) for row in records) for column in columns
    ]
    texts = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )
    return "\n".join([plain_line(caption), *texts])


def plain_line(text: str) -> str:
    """Return a text with every run of white space and unprintable characters as one space."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def html_table(columns: tuple[str, ...], rows: Iterator[Mapping[str, Any]], caption: str) -> str:
    """Return an HTML table of records; the caption is HTML already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(row.get(column)))}</td>" for column in columns) + "</tr>"
        for row in rows
    )
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "*" if value else ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
