"""Prints a run as a table with one row per task; results.json holds everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.fitted_table import FittedTable, print_sentences, table_console
from marathon_eval.results.directions import LOWER, LOWER_NOTE, falling_metrics
from marathon_eval.results.label import label_words
from marathon_eval.results.run_name import shown_model
from marathon_eval.scoring.scorer import SCORABLE_STATUS

if TYPE_CHECKING:
    from marathon_eval.api.results import MetricValue, RunResult, TaskResult
    from marathon_eval.results.failures import FailureKind

PIPE_WIDTH = 130
#: Reasons of failed rows that are printed below the table; `show RUN --wrong` lists all rows.
MOST_REASONS = 8
LEFT = ("task", "reading", "metric")
RIGHT_ALIGNED = ("value", "95 % CI", "accuracy", "chance", "n", "coverage", "parsed", "time")


def print_run(result: RunResult, every_reading: bool = False, source: str | None = None) -> None:
    """Print each task's headline, or with `every_reading` all metrics of all readings, the groups, and the footer.

    `source` says where the answers come from if no model was asked, such as `the run`.
    """
    console = table_console(PIPE_WIDTH)
    words = label_words(result.condition, result.selection)
    name = shown_model({"model": result.model, "config": result.config})
    title = ", ".join([f"{name}{press_label(result.fingerprint)}", *words])
    n_keys = len(LEFT) if every_reading else len(LEFT) - 1
    table = FittedTable((*LEFT, *RIGHT_ALIGNED), len(LEFT), n_keys, title)
    for task in result.tasks.values():
        add_task(table, task, every_reading)
    for name, group in result.groups.items():
        add_group(table, name, group)
    table.print(console)
    if any(falling_metrics(task.task, task.metrics) for task in result.tasks.values()):
        console.print(LOWER_NOTE, markup=False, highlight=False, soft_wrap=True)
    hidden = [] if every_reading else list(not_shown(result.tasks.values()))
    for line in (
        *without_mean(result.groups),
        *of_unknown_release(result.manifests),
        *hidden,
        footer(result, source),
        *failure_lines(result),
    ):
        print_sentences(console, line)


def not_shown(tasks: Iterable[TaskResult]) -> Iterator[str]:
    """Yield a line that names the readings and metrics that the table leaves out, if there are any."""
    readings: dict[str, None] = {}
    metrics: dict[str, None] = {}
    for task in tasks:
        shown = task.headline_reading
        rows = shown_readings(task, every_reading=False)
        readings |= dict.fromkeys(name for name in task.readings if name not in rows)
        columns = (main_metric(task, shown)[0], "accuracy", "chance")
        metrics |= dict.fromkeys(name for name in task.readings.get(shown, {}) if name not in columns)
    parts = [
        f"{kind} {', '.join(names)}"
        for kind, names in (("readings", readings), ("metrics", metrics))
        if names
    ]
    if parts:
        yield f"Not shown: {'; '.join(parts)} (--readings all shows them)."


def press_label(fingerprint: dict[str, Any]) -> str:
    """Return `, press dart, ratio 0.5`, or an empty text for a model without a press."""
    press = fingerprint.get("press")
    return f", press {press['press']}, ratio {press['ratio']:g}" if press else ""


def add_task(table: FittedTable, task: TaskResult, every_reading: bool) -> None:
    """Add a row per reading, the headline's first; the first row alone holds the values that all readings share."""
    took = "" if task.answer_s is None else duration(task.answer_s)
    falling = falling_metrics(task.task, task.metrics)
    for position, reading in enumerate(shown_readings(task, every_reading)):
        metrics = task.readings.get(reading, {})
        name, value = main_metric(task, reading)
        chance = task.chance_of(reading)
        table.add_row(
            task.task if position == 0 else "",
            reading,
            _marked(name, falling.get(reading, ())) + (" *" if _is_headline(task, reading) else ""),
            *(numbers(value) if value else ("", "")),
            three_digits(metrics.get("accuracy")) if name != "accuracy" else "",
            "" if chance is None or name == "chance" else f"{chance:.3f}",
            *(counted(task, reading) if position == 0 or reading in task.n_left_out else ("", "")),
            parsed_share(task, reading),
            took if position == 0 else "",
        )
        for other in metrics if every_reading else ():
            if other != name:
                named = _marked(other, falling.get(reading, ()))
                table.add_row("", reading, named, *numbers(metrics[other]))
    table.add_section()


def _marked(metric: str, falling: Sequence[str]) -> str:
    """Return the metric's name, with a mark if a lower value is better."""
    return f"{metric} {LOWER}" if metric in falling else metric


def shown_readings(task: TaskResult, every_reading: bool) -> list[str]:
    """Return the readings that have a row, the headline's first: without `every_reading` those of another coverage too."""
    ordered = sorted(task.readings, key=lambda reading: reading != task.headline_reading) or [""]
    return [name for name in ordered if every_reading or name == ordered[0] or name in task.n_left_out]


def counted(task: TaskResult, reading: str) -> tuple[str, str]:
    """Return the rows that a reading includes, of how many if a selection left rows out, and its coverage."""
    n = task.n_in(reading)
    return str(
        n
    ) if task.n_loaded == task.full_n else f"{n} of {task.full_n}", f"{task.coverage_of(reading):.1%}"


def parsed_share(task: TaskResult, reading: str) -> str:
    """Return the percentage of scored rows in whose response the reading's filters found an answer."""
    unanswered = task.n_unanswered.get(reading)
    metrics = task.readings.get(reading, {})
    unscored = bool(metrics) and all(metric.value is None for metric in metrics.values())
    if unanswered is None or unscored or not task.n_in(reading):
        return ""
    return f"{1 - unanswered / task.n_in(reading):.1%}"


def duration(seconds: float) -> str:
    """Return a duration as text: `8.31 s`, `74 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _is_headline(task: TaskResult, reading: str) -> bool:
    return task.headline is not None and task.headline["reading"] == reading


def _has_star(task: TaskResult) -> bool:
    return any(_is_headline(task, reading) for reading in shown_readings(task, every_reading=False))


def main_metric(task: TaskResult, reading: str) -> tuple[str, MetricValue | None]:
    """Return name and value of the headline's metric if the reading has it, else of the reading's first metric."""
    metrics = task.readings.get(reading, {})
    headline = task.headline["metric"] if task.headline else None
    name = headline if headline in metrics else next(iter(metrics), "")
    return name or "", metrics.get(name or "")


def add_group(table: FittedTable, name: str, group: dict[str, Any]) -> None:
    """Add a row with the group's mean and what it is a mean of, and one for each of its sub-groups."""
    score = group.get("score")
    table.add_row(
        name,
        "",
        group.get("averaged", "mean of headlines"),
        "none" if score is None else f"{score:.2f}",
    )
    for inner, part in group.get("groups", {}).items():
        add_group(table, f"  {inner}", part)


def without_mean(groups: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each group without a mean that names the tasks that were not run, or whose scores are unlike."""
    for name, group in groups.items():
        if absent := group.get("missing"):
            more = f" and {len(absent) - 2} more" if len(absent) > 2 else ""
            yield f"{name} has no mean: {', '.join(absent[:2])}{more} not run."
        elif reason := group.get("unlike"):
            yield f"{name} has no mean, because the scores are unlike: {reason}."
        yield from without_mean(group.get("groups", {}))


def of_unknown_release(manifests: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each task whose data file is none of the releases that its YAML names."""
    for name, manifest in manifests.items():
        if manifest.get("metadata_version") == "unknown":
            digest = manifest.get("metadata_sha256")
            seen = f"has sha256 {digest[:12]}..., which" if digest else "has no known hash: it"
            yield f"{name}: the data file {seen} is none of the releases that the task names (expected_sha256)."


def numbers(value: MetricValue) -> tuple[str, str]:
    """Return the value with four digits and its 95 % interval with three (or why it has none), as texts."""
    if value.value is None:
        return "none", ""
    interval = value.no_interval or ""
    if value.ci95 is not None:
        interval = f"{value.ci95[0]:.3f} - {value.ci95[1]:.3f}"
    return f"{value.value:.4f}", interval


def three_digits(value: MetricValue | None) -> str:
    """Return the value with three digits, or an empty text if there is none."""
    return "" if value is None or value.value is None else f"{value.value:.3f}"


def footer(result: RunResult, source: str | None = None) -> str:
    """Return the line below the table: cache use, duration, and everything that makes the run incomplete."""
    hits, misses = result.cache["hits"], result.cache["misses"]
    answers = f"{hits} answers from the cache, {misses} asked"
    if "windows" in str((result.condition or {}).get("long_audio", "")):
        answers += " window by window"
    if source is not None:
        answers = f"{sum(task.n_loaded for task in result.tasks.values())} answers from {source}"
    legend = "* headline. " if any(map(_has_star, result.tasks.values())) else ""
    text = f"{legend}{answers}{judge_calls(result)}, {result.wall_s:.1f} s."
    not_reached = result.n_not_reached
    if failed := sum(task.n_errors for task in result.tasks.values()) - not_reached:
        text += f" {failed} rows FAILED."
    unverified = sum(task.n_unverified for task in result.tasks.values())
    if unverified:
        text += f" {unverified} answers UNVERIFIED: the server does not report how much of the audio the model received."
    cut = sum(task.n_cut for task in result.tasks.values())
    if cut:
        text += f" {cut} answers were CUT at their token limit."
    if result.spent is not None:
        text += spent_line(result.spent)
    if result.interrupted:
        reached = (
            f"{not_reached} rows were not asked and count as errors" if not_reached else "every row was asked"
        )
        text += f" INTERRUPTED: {reached}; the same command continues where this one stopped."
    elif not result.whole:
        empty = [task.task for task in result.tasks.values() if not task.n_loaded]
        if empty:
            text += f" NO ROWS in {', '.join(empty)}: every row was filtered out or lacks its audio."
        if len(empty) < sum(task.coverage < 1 for task in result.tasks.values()):
            text += " INCOMPLETE: rows failed, and are not in the scores."
    return text + left_out_by_judge(result) + unscored(result)


def judge_calls(result: RunResult) -> str:
    """Return ` (judge: 3 from the cache, 9 asked)`, or an empty text for a run without a judge."""
    facts = [manifest["judge"] for manifest in result.manifests.values() if manifest.get("judge")]
    if not facts:
        return ""
    cached, asked = (sum(fact.get(name, 0) for fact in facts) for name in ("n_cached", "n_asked"))
    return f" (judge: {cached} from the cache, {asked} asked)"


def spent_line(spent: Mapping[str, Any]) -> str:
    """Return what the requests of model and judge took, the judge's part of it, and the limit that ended the asking."""
    judge = spent.get("judge")
    sides = [spent] if judge is None else [spent, judge]
    priced = [side for side in sides if "cost" in side]
    total = _amounts(sides, f", cost {sum(side['cost'] for side in priced):.4f}" if priced else "")
    if judge is not None:
        total += f" (the judge's: {_amounts([judge], _judge_cost(judge, bool(priced)))})"
    ended = f" BUDGET: {spent['reached']}; rerun with a higher limit to continue." if spent["reached"] else ""
    return f" Spent: {total}.{ended}"


def _amounts(sides: Sequence[Mapping[str, Any]], cost: str) -> str:
    requests = sum(side["requests"] for side in sides)
    tokens = sum(side["input_tokens"] + side["output_tokens"] for side in sides)
    return f"{requests} requests, {tokens} tokens{cost}"


def _judge_cost(judge: Mapping[str, Any], priced: bool) -> str:
    if "cost" in judge:
        return f", cost {judge['cost']:.4f}"
    return ", not in the cost: no --judge_prices" if priced else ""


def failure_lines(result: RunResult) -> Iterator[str]:
    """Yield why rows failed: a line per reason with its number of rows by task, the most frequent first."""
    from marathon_eval.results.failures import failure_kinds

    yield from reason_lines(failure_kinds(failed_rows(result)), "failed", "show RUN --wrong lists them")


def failed_rows(result: RunResult) -> Iterator[tuple[str, int, str | None]]:
    """Yield task, row and error of each row that failed; rows that an interrupted run did not reach are none."""
    for task in result.tasks.values():
        for sample in result.samples.get(task.task, ()) if task.n_errors else ():
            if sample.status not in SCORABLE_STATUS and not sample.not_reached:
                yield sample.task, sample.doc_id, sample.error


def reason_lines(kinds: Sequence[FailureKind], verb: str, rest_in: str) -> Iterator[str]:
    """Yield a line per reason for which rows failed; `rest_in` says where those stand that are left out."""
    for kind in kinds[:MOST_REASONS]:
        tasks = ", ".join(f"{task} {n}" for task, n in kind.rows.items())
        first = f" (first: row {kind.first})" if kind.count > 1 else ""
        yield f"  {kind.count} {verb} ({tasks}): {kind.error}{first}"
    if rest := kinds[MOST_REASONS:]:
        yield f"  {sum(kind.count for kind in rest)} {verb} for {len(rest)} other reasons: {rest_in}"


def unscored(result: RunResult) -> str:
    """Return the sentence on rows that metrics could not score, or an empty text."""
    counts = [
        f"{n} of {task.n_in(reading)} rows by {task.task} {reading} {metric}"
        for task in result.tasks.values()
        for reading, metrics in task.n_unscored.items()
        for metric, n in metrics.items()
    ]
    return f" NOT SCORED: {', '.join(counts)}: target or answer has no value for it." if counts else ""


def left_out_by_judge(result: RunResult) -> str:
    """Return the sentence on rows that judged readings leave out, or an empty text."""
    counts = [
        f"{n} of {task.n_scored} rows from {task.task} {reading}"
        for task in result.tasks.values()
        for reading, n in task.n_left_out.items()
    ]
    if not counts:
        return ""
    return (
        f" LEFT OUT: {', '.join(counts)}: the judge failed or its replies cannot be read; `show RUN "
        f"--wrong` says why. The same command asks a judge that failed again.{_failure_of_judge(result)}"
    )


def _failure_of_judge(result: RunResult) -> str:
    """Return the last reason for which the judge failed, or an empty text."""
    facts = (manifest.get("judge") for manifest in result.manifests.values())
    reasons = [fact["failure"] for fact in facts if isinstance(fact, dict) and fact.get("failure")]
    return f" It {reasons[-1]}" if reasons else ""
