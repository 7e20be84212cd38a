"""Offers the comparison of two runs to Python: `marathon_eval.compare(a, b)`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.results import RunResult
from marathon_eval.results.compare import compare_runs
from marathon_eval.results.evaluation import html_table, plain_line, text_table
from marathon_eval.results.files import write_run
from marathon_eval.results.gate import limits
from marathon_eval.results.judges import judge_difference_text
from marathon_eval.results.metric_differences import metric_difference_text
from marathon_eval.results.shown_metric import shown_metric

if TYPE_CHECKING:
    import pandas

_CAPTION = "differences are B minus A"
DIFFERENCE_COLUMNS = ("task", "reading", "metric", "a", "b", "difference", "low", "high", "p", "p_holm", "n")


class Comparison(dict[str, Any]):
    """Holds what `marathon-eval compare --json` prints; printed and in a notebook it shows itself as a table."""

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a record per task, reading and metric; p stands at the metric that tables show, which it is about."""
        for task, entry in self["tasks"].items():
            for reading, difference in entry["readings"].items():
                test, tested = difference["discordance"] or {}, shown_metric(entry, reading)
                for metric, value in difference["metrics"].items():
                    low, high = value["ci95"] or (None, None)
                    shown = {name: value[name] for name in ("a", "b", "difference")}
                    yield {
                        "task": task,
                        "reading": reading,
                        "metric": metric,
                        **shown,
                        "low": low,
                        "high": high,
                    } | {
                        "p": test.get("p") if metric == tested else None,
                        "p_holm": test.get("holm_p") if metric == tested else None,
                        "n": difference["n"] - value["n_unscored"],
                    }

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row per task, reading and metric."""
        import pandas

        return pandas.DataFrame(list(self.records()), columns=list(DIFFERENCE_COLUMNS))

    def __repr__(self) -> str:
        """Return the comparison as a plain table with its runs, for `print` and the interpreter."""
        sides = [
            f"{side.upper()}: {plain_line(', '.join([self[side]['name'], *self[side]['label']]))}"
            for side in "ab"
        ]
        verdicts = [
            f"gate {each['task']} >= {each['points']:g} {each['unit']}: {each['verdict']}"
            for each in self["gate"]
        ]
        table = text_table(DIFFERENCE_COLUMNS, self.records(), _CAPTION)
        return "\n".join([*sides, table, *self._unlike(), *verdicts])

    def _repr_html_(self) -> str:
        """Return the comparison as an HTML table, for notebooks."""
        notes = "".join(f"<p>{escape(line)}</p>" for line in self._unlike())
        return html_table(DIFFERENCE_COLUMNS, self.records(), _CAPTION) + notes

    def _unlike(self) -> Iterator[str]:
        """Yield a line for each way in which the runs were judged or measured differently."""
        for task, entry in self["tasks"].items():
            if entry["judge_differences"]:
                yield f"{task}: the judges differ: {judge_difference_text(entry['judge_differences'])}"
            if entry["metric_differences"]:
                yield f"{task}: not measured alike: {metric_difference_text(entry['metric_differences'])}"


def compare(
    a: RunResult | str | PathLike[str],
    b: RunResult | str | PathLike[str],
    *,
    force: bool = False,
    gate: str = "",
) -> Comparison:
    """Compare two runs, or the folders of two, document by document; differences are B minus A.

    `gate` are limits such as `race>=-1.0`, whose verdicts are in the comparison's `gate`. Raises MarathonError if data or prompts
    differ, unless `force` is set.
    """
    with ExitStack() as folders:

        def folder_of_run(run: RunResult | str | PathLike[str]) -> Path:
            if not isinstance(run, RunResult):
                return Path(run)
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="marathon_eval_")))
            write_run(run, folder)
            return folder

        paths = folder_of_run(a), folder_of_run(b)
        return Comparison(compare_runs(*paths, force, limits(gate) if gate else []))
