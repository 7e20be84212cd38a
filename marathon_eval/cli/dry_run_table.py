"""A dry run as text: rows and hours per task, what is to be asked, the checks, and one sample as the model gets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.progress import hours
from marathon_eval.cli.terminal import duration

if TYPE_CHECKING:
    from marathon_eval.evaluator.dry_run import Cost, DryRun

HEADINGS = ("task", "rows", "errors", "requests", "clips", "hours")


def lines(found: DryRun) -> Iterator[str]:
    """Everything but the faults, which end the command."""
    rows = [
        (
            name,
            *(str(count) for count in (task.rows, task.errors, task.requests, task.clips)),
            f"{task.hours:.2f}",
        )
        for name, task in found.tasks.items()
    ]
    yield from table_columns(
        [HEADINGS, *rows, ("in all, each clip once", "", "", "", str(found.clips), f"{found.hours:.2f}")]
    )
    yield from (f"  {name}: {task.error}" for name, task in found.tasks.items() if task.error)
    yield ""
    for cost in found.costs:
        yield from asked(cost)
    yield ""
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        yield f"{check.name:<{width}}  {'FAILS' if check.fault else 'ok   '}  {check.said}"
    if found.sample is not None:
        yield from first_request(found.sample)


def table_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        numbers = (f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([f"{row[0]:<{widths[0]}}", *numbers]).rstrip()


def asked(cost: Cost) -> Iterator[str]:
    """One model's part of the run, in a line or two."""
    said = f"{cost.label}: " if cost.label else ""
    said += f"{cost.misses} to ask on {hours(cost.audio_hours * 3600)} of audio, {cost.hits} in the cache"
    if cost.unheard:
        said += f", {cost.unheard} on clips that cannot be heard"
    yield said
    if cost.misses:
        yield "  " + ", ".join(_estimates(cost))


def _estimates(cost: Cost) -> Iterable[str]:
    if cost.audio_tokens is None:
        yield "audio tokens unknown: the model has no fixed rate"
    else:
        yield f"about {cost.audio_tokens} audio tokens ({cost.token_rate:g} a second, before any press)"
    yield f"at most {cost.most_output_tokens} tokens of answers"
    if cost.forecast_s is None:
        yield "no forecast: no timed answer of this model is in the cache (a run with --limit 20 makes some)"
    else:
        yield f"about {duration(cost.forecast_s)} after loading, by {cost.timed} answers in the cache"


def first_request(found: dict[str, Any]) -> Iterator[str]:
    """The first request, whole."""
    yield ""
    yield f"row {found['doc_id']} of {found['task']}, asked as"
    yield from (f"  audio: {path}" for path in found["audio"])
    for part in ("system", "prompt"):
        if found[part]:
            yield from (f"  {line}" for line in f"{part}: {found[part]}".splitlines())
    yield f"  right answer: {shorten(str(found['target']), 100, placeholder=' …')}"
