"""Offers runs and sweeps to Python: `simple_evaluate` and `simple_sweep` (exported as `sweep`) take the command line's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Never

from marathon_eval.api.model import Model
from marathon_eval.api.results import scaled_interval
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.requests import Progress
from marathon_eval.evaluator.settings import checked_settings
from marathon_eval.results.evaluation import Evaluation, html_table, text_table

if TYPE_CHECKING:
    import pandas

    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.sweep_cells import SweepCell

AnyPath = str | PathLike[str]
Arguments = Mapping[str, Any] | str
DIFFERENCE_OF_A_CELL = ("difference", "difference_low", "difference_high", "lost", "won", "p_holm")
SWEEP_CELL_COLUMNS = (
    *("task", "cell", "press", "ratio", "score", "low", "high"),
    *(*DIFFERENCE_OF_A_CELL, "kept", "n", "kv_bytes", "seconds", "speed_up"),
)


def simple_evaluate(
    model: str | Model,
    tasks: Sequence[str],
    model_args: Arguments = "",
    *,
    include_path: AnyPath | Sequence[AnyPath] = (),
    trust_task_code: bool = False,
    data_dir: AnyPath | None = None,
    subset: str | None = None,
    limit: float | None = None,
    samples: Mapping[str, list[int]] | None = None,
    min_seconds: float | None = None,
    max_seconds: float | None = None,
    long_audio: str | None = None,
    gen_kwargs: Arguments = "",
    use_cache: AnyPath | None = None,
    no_cache: bool = False,
    output_path: AnyPath | None = None,
    log_samples: bool = True,
    predict_only: bool = False,
    retry_errors: bool = False,
    seed: int = 0,
    num_fewshot: int | None = None,
    system_instruction: str | None = None,
    judge_model: str | None = None,
    judge_args: Arguments = "",
    judge_gen_kwargs: Arguments = "",
    no_audio: str | None = None,
    swap_audio: bool = False,
    permute_choices: int | None = None,
    transform: str = "",
    manifest: AnyPath | None = None,
    max_requests: int | None = None,
    max_tokens_total: int | None = None,
    max_cost: float | None = None,
    prices: Arguments = "",
    judge_prices: Arguments = "",
    selftest: AnyPath | None = None,
    run_name: str | None = None,
    progress: bool | Progress = False,
    **unknown: Never,
) -> Evaluation:
    """Evaluate a model on tasks and return the run, as `marathon-eval run` does.

    Each argument is the flag of its name (`marathon-eval run --help`); paths may be path objects, and arguments of models
    a mapping or `a=1,b=2`. Without `output_path` nothing is written. `progress=True` shows a bar, or lines in a log.
    Raises one MarathonError for every mistake that the command line reports, and for a misspelt argument.
    """
    given = {name: value for name, value in locals().items() if name not in ("model", "progress", "unknown")}
    name = model if isinstance(model, str) else model.name() if isinstance(model, Model) else model
    config = checked_settings({**unknown, **given, "model": name})
    result = evaluate(config, None if isinstance(model, str) else model, progress=shown(progress))
    if config.output_path is not None:
        write_below(result, Path(config.output_path), config.log_samples)
    return Evaluation.of(result)


def shown(progress: bool | Progress) -> Progress | None:
    """Return the Progress for an argument `progress`. Raises MarathonError for another value."""
    if isinstance(progress, Progress):
        return progress
    if not isinstance(progress, bool):
        raise MarathonError(f"progress: must be True, False or a Progress, got {progress!r}")
    if not progress:
        return None
    from marathon_eval.evaluator.progress import terminal_progress

    return terminal_progress()


def write_below(result: RunResult, output_path: Path, log_samples: bool = True) -> Path:
    """Write a run below the folder and return its own folder. Raises MarathonError."""
    from marathon_eval.results.files import run_folder, write_run

    folder = run_folder(output_path, result)
    write_run(result, folder, log_samples=log_samples)
    return folder


@dataclass(repr=False)
class SweepRuns:
    """Holds the runs of a sweep by the label of their cell (`none`, `dart 0.5`), and its table as sweep.json has it."""

    runs: dict[str, Evaluation] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a record per task and cell: its headline on the column's scale, and what the printed table says of the difference to `none`."""
        presses = {cell["label"]: cell for cell in self.table["cells"]}
        for task, cells in self.table["tasks"].items():
            for label, cell in cells.items():
                low, high = cell["ci95"] or (None, None)
                press = {name: presses[label][name] for name in ("press", "ratio")}
                shown = {name: cell[name] for name in ("score", "kept", "n")}
                cost = {
                    "kv_bytes": cell["kv_bytes"],
                    "seconds": _seconds(cell),
                    "speed_up": cell["measured_speedup"],
                }
                score = {"task": task, "cell": label, **press, **shown, **cost, "low": low, "high": high}
                yield score | dict(zip(DIFFERENCE_OF_A_CELL, _difference(cell), strict=True))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row per task and cell."""
        import pandas

        return pandas.DataFrame(list(self.records()), columns=list(SWEEP_CELL_COLUMNS))

    def __repr__(self) -> str:
        """Return the sweep as a plain table, for `print` and the interpreter."""
        return text_table(SWEEP_CELL_COLUMNS, self.records(), self._caption())

    def _repr_html_(self) -> str:
        """Return the sweep as an HTML table, for notebooks."""
        return html_table(SWEEP_CELL_COLUMNS, self.records(), self._caption())

    def _caption(self) -> str:
        return "INTERRUPTED" if self.interrupted else "sweep"


def _seconds(cell: Mapping[str, Any]) -> float | None:
    """Return the mean seconds of a response over all stages; None where no stage is measured."""
    measured = [seconds for seconds in cell["seconds"].values() if seconds is not None]
    return sum(measured) if measured else None


class _Difference(NamedTuple):
    """Holds a cell's headline minus that of the uncompressed cell, on the column's scale, and its test."""

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    lost: int | None = None
    won: int | None = None
    p_holm: float | None = None


def _difference(cell: Mapping[str, Any]) -> _Difference:
    difference = cell["difference"]
    if difference is None:
        return _Difference()
    headline = difference["headline"] or {}
    readings: dict[str, Any] = difference["readings"]
    reading: dict[str, Any] = readings.get(headline.get("reading", "")) or next(
        iter(readings.values()), {"metrics": {}}
    )
    metric: dict[str, Any] = reading["metrics"].get(headline.get("metric")) or next(
        iter(reading["metrics"].values()), {}
    )
    found, test = metric.get("difference"), reading.get("discordance") or {}
    return _Difference(
        None if found is None else found * cell["scale"],
        *(scaled_interval(metric.get("ci95"), cell["scale"]) or (None, None)),
        *(test.get(name) for name in ("only_a", "only_b", "holm_p")),
    )


def simple_sweep(
    model: str,
    tasks: Sequence[str],
    model_args: Arguments = "",
    *,
    presses: Sequence[str],
    ratios: Sequence[float] | str = "0.1:0.9:0.2",
    layers: Sequence[int] = (),
    output_path: AnyPath | None = None,
    progress: bool | Progress = False,
    **settings: Any,
) -> SweepRuns:
    """Evaluate a model under every combination of presses and ratios, in one pass, as `marathon-eval sweep` does.

    `presses` are names, with `none` for the uncompressed model, which the others are compared with; `ratios` the fractions
    of audio tokens to remove, as numbers or as `first:last:step`; `settings` the other arguments of `simple_evaluate`.
    Raises one MarathonError for every mistake that the command line reports.
    """
    from marathon_eval.evaluator.sweep import sweep
    from marathon_eval.evaluator.sweep_cells import Grid, parse_ratios
    from marathon_eval.evaluator.sweep_table import SweepTable

    if isinstance(presses, str):
        raise MarathonError(
            f"presses: must be a list of names, got the text {presses!r}: write [{presses!r}]"
        )
    config = checked_settings({**settings, "model": model, "tasks": tasks, "model_args": model_args})
    config = replace(config, output_path=None if output_path is None else str(output_path))
    text = ratios if isinstance(ratios, str) else ",".join(str(ratio) for ratio in ratios)
    grid = Grid(tuple(presses), parse_ratios(text), tuple(layers))
    table, runs = SweepTable(), SweepRuns()

    def take(cell: SweepCell, result: RunResult) -> None:
        runs.runs[cell.label] = Evaluation.of(result)
        table.add(
            cell,
            result,
            None if config.output_path is None else write_below(result, Path(config.output_path)),
        )

    runs.interrupted = not sweep(config, grid, take, shown(progress))
    table.finish()
    runs.table = sweep_summary(table.as_json(), config, runs.interrupted)
    if config.output_path is not None:
        from marathon_eval.files import json_line, write_atomically

        write_atomically(Path(config.output_path) / "sweep.json", [json_line(runs.table)])
    return runs


def sweep_summary(table: Mapping[str, Any], config: RunConfig, interrupted: bool) -> dict[str, Any]:
    """Return the content of sweep.json."""
    return {**table, "config": config.recorded(), "interrupted": interrupted}
