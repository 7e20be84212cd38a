"""Formats a dry run as text: rows and hours per task, expected cost, checks, and the first request to the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.terminal import duration, reason_lines
from marathon_eval.evaluator.progress import hours

if TYPE_CHECKING:
    from marathon_eval.evaluator.budget import BudgetEstimate
    from marathon_eval.evaluator.dry_run import Cost, DryRun

HEADINGS = ("task", "rows", "errors", "requests", "clips", "hours")


def lines(plan: DryRun) -> Iterator[str]:
    """Yield the lines of the printout; the caller raises the faults."""
    rows = [
        (
            name,
            *(str(count) for count in (task.rows, task.errors, task.requests, task.clips)),
            f"{task.hours:.2f}",
        )
        for name, task in plan.tasks.items()
    ]
    yield from table_columns(
        [
            HEADINGS,
            *rows,
            ("total", *_sums(plan), str(plan.clips), f"{plan.hours:.2f}"),
        ]
    )
    yield from reason_lines(plan.unasked, "cannot be asked", "--json lists them")
    yield from (
        f"  {name}: {task.n_length} rows left out for their length"
        for name, task in plan.tasks.items()
        if task.n_length
    )
    if len(plan.costs) > 1:
        yield from shown_losses(plan)
    yield ""
    for cost in plan.costs:
        yield from asked(cost)
    for judge in plan.judge:
        yield (
            f"judge {judge.name}: at most {judge.misses} requests to run, {judge.hits} in the cache; "
            f"at most {judge.input_tokens + judge.output_tokens} tokens, and a retry for each reply that cannot be read"
        )
    if plan.estimate is not None:
        yield f"  {budget_line(plan.estimate)}"
    yield ""
    width = max(len(check.name) for check in plan.checks)
    for check in plan.checks:
        state = "FAILS" if check.fault else "warns" if check.warning else "ok   "
        yield f"{check.name:<{width}}  {state}  {check.said}"
    if plan.sample is not None:
        yield from first_request(plan.sample)
    if plan.would_fail:
        yield ""
        yield f"{plan.would_fail} of {sum(task.rows for task in plan.tasks.values())} rows would fail"


def _sums(plan: DryRun) -> tuple[str, ...]:
    """Return the rows, errors and requests of all tasks; a clip of several tasks counts once, a window as a clip."""
    tasks = plan.tasks.values()
    sums = (
        sum(task.rows for task in tasks),
        sum(task.errors for task in tasks),
        sum(task.requests for task in tasks),
    )
    return tuple(map(str, sums))


def budget_line(estimate: BudgetEstimate) -> str:
    """Return what the requests may take at most, and the limits that they would reach."""
    cost = "" if estimate.cost is None else f", cost {estimate.cost:.4f}"
    assumed = " (32 audio tokens a second assumed)" if estimate.assumed else ""
    over = f"; {' and '.join(estimate.exceeded)} may stop the run before its end" if estimate.exceeded else ""
    judged = f" ({estimate.judge_requests} to the judge)" if estimate.judge_requests else ""
    return (
        f"budget: at most {estimate.requests} requests{judged}, {estimate.tokens} tokens{cost}{assumed}{over}"
    )


def shown_losses(plan: DryRun) -> Iterator[str]:
    """Yield what loss of a press each task's rows can show."""
    yield "loss against no press that these rows show with 80 % power (95 % interval; a tenth of the answers flips, 0.3 correlated in a clip):"
    for name, task in plan.tasks.items():
        loss = task.no_loss if task.least_loss is None else f"{task.least_loss:.1f} points or more"
        yield f"  {name}: {loss}"


def table_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as aligned text: the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        numbers = (f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([f"{row[0]:<{widths[0]}}", *numbers]).rstrip()


def asked(cost: Cost) -> Iterator[str]:
    """Yield up to three lines on the requests that one model would get, and their expected cost."""
    line = f"{cost.label}: " if cost.label else ""
    line += f"{cost.misses} requests to run on {hours(cost.audio_hours * 3600)} of audio, {cost.hits} in the cache"
    if cost.unheard:
        line += f", {cost.unheard} whose audio cannot be read"
    yield line
    if cost.combining:
        yield (
            f"  {cost.combining} of them combine the notes on the windows of a row, without audio: "
            f"at most {cost.combining_tokens} tokens of text"
        )
    if cost.misses:
        yield "  " + ", ".join(_estimates(cost))


def _estimates(cost: Cost) -> Iterable[str]:
    if cost.audio_tokens is None:
        yield "number of audio tokens unknown: the model has no fixed rate"
    else:
        padding = (
            "" if cost.padded_to is None else f"every clip padded to a multiple of {cost.padded_to:g} s, "
        )
        yield f"about {cost.audio_tokens} audio tokens ({cost.token_rate:g} a second, {padding}before any press)"
    yield f"at most {cost.most_output_tokens} generated tokens"
    if cost.forecast_s is None:
        yield "time unknown: the cache has no timed answer of this model (a run with --limit 20 adds some)"
    else:
        yield f"about {duration(cost.forecast_s)} after loading the model, estimated from {cost.timed} answers in the cache"


def first_request(sample: dict[str, Any]) -> Iterator[str]:
    """Yield the audio paths, prompts and gold answer of the first request."""
    yield ""
    yield f"first request: row {sample['doc_id']} of {sample['task']}"
    yield from (f"  audio: {path}" for path in sample["audio"])
    for part in ("system", "prompt"):
        if sample[part]:
            yield from (f"  {line}" for line in f"{part}: {sample[part]}".splitlines())
    yield f"  right answer: {shorten(str(sample['target']), 100, placeholder=' …')}"
