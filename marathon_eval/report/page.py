"""Renders a gathered report as one self-contained HTML page with tables, figures and compressed samples.

The page loads nothing from the network: its Content-Security-Policy forbids it, whatever text a model's answer holds.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.api.results import TaskResult
from marathon_eval.report import figures, prompts
from marathon_eval.report.addresses import address
from marathon_eval.report.clips import ReportClips, ServedClips, clip_counts, lost_clips
from marathon_eval.report.documents import same_clips
from marathon_eval.report.embedded_samples import ClipNumbers, embedded_samples, fitting_length
from marathon_eval.report.facets import board_facets
from marathon_eval.report.gather import Report
from marathon_eval.report.leaderboard import LeaderboardRow, champions, published_rows
from marathon_eval.report.published import Benchmark, benchmark_names, published_benchmark
from marathon_eval.report.runs import ReportRun
from marathon_eval.report.sample_columns import TaskColumns
from marathon_eval.report.summary import (
    chances,
    rows_by_task,
    run_facts,
    started_and_rows,
    task_lines,
    timing_lines,
)
from marathon_eval.report.tables import (
    displaced_notes,
    listening_falls,
    listening_gaps,
    listening_text,
    one_line,
    rows_text,
)
from marathon_eval.results.directions import LOWER_NOTE, marked
from marathon_eval.results.outcomes import NAMES

#: Characters of text in a page; if there are more, the longest texts are cut.
TEXT_BUDGET = 32_000_000
#: Bytes of all compressed samples; TEXT_BUDGET is halved until they fit, but not below LEAST_TEXT_BUDGET.
SAMPLES_BYTES = 14_000_000
LEAST_TEXT_BUDGET = 100_000
#: Characters of all maps of kept audio tokens in a page; if there are more, it has none.
TOKEN_MAP_CHARS = 4_000_000
FOLDER = Path(__file__).parent
#: The parts of the page's script, in the order in which they stand in it.
SCRIPTS = (
    "core",
    "breakdown",
    "statistics",
    "words",
    "rows",
    "sound",
    "marks",
    "detail",
    "blind",
    "board",
    "state",
    "live",
)


def render_page(
    report: Report,
    page: Path,
    with_published: bool = False,
    embed_bytes: int = 0,
    data_dirs: Sequence[str] = (),
    use_cache: str | None = None,
    served: ServedClips | None = None,
) -> str:
    """Return the HTML of a page that will be written to the path `page`, to which its audio links are relative.

    For a server, `served` is filled with the clips, and links name them by number.

    `with_published` adds the tables of other benchmarks; `embed_bytes` is the size of all audio previews together, which
    are made of clips below `data_dirs` only. Prompts come from the user's cache and the one in the folder `use_cache`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    script, style = page_script(), _part("page.css.j2")
    samples = packed_samples(report, page.parent, embed_bytes, data_dirs, use_cache, served)
    drawn = figures.inline(report)
    text: str = environment.get_template("page.html.j2").render(
        script=Markup(script),
        script_sha256=_digest(script),
        style=Markup(style),
        figures={name: Markup(svg) for name, svg in drawn.items()},
        crossed_maps={name: Markup(svg) for name, svg in drawn.items() if name.startswith(figures.CROSSED)},
        data=_safe_json(page_data(report, samples.clips)),
        blocks=samples.blocks,
        breakdowns=compressed(_breakdown_data(report)),
        previews=samples.previews,
        report=report,
        one_line=one_line,
        listening_text=listening_text,
        listening_gaps=listening_gaps,
        displaced_notes=displaced_notes,
        rows_text=rows_text,
        champions=champions(report.board, report.benchmark) if report.benchmark else [],
        published=_other_tables(report) if with_published else [],
        task_lines=task_lines(report.cells, report.gathered.breakdowns),
        timing_lines=timing_lines(report.gathered.timings),
        runs=[run_facts(cell) for cell in report.cells],
        **_beside_scores(report),
        **_directions(report),
        failures=report.gathered.failures,
        clip_counts=clip_counts(samples.clips, samples.previews),
        address=address,
        served=served is not None,
    )
    # a lone surrogate in a name cannot be encoded as UTF-8
    return text.encode("utf-8", "replace").decode("utf-8")


def _directions(report: Report) -> dict[str, Any]:
    """Return what marks the columns of which a lower score is better."""
    return {
        "listening_falls": listening_falls,
        "marked": marked,
        "lower_note": LOWER_NOTE,
        "falling": [column.task for column in report.board.columns if report.board.falls(column.task)],
    }


class PageSamples(NamedTuple):
    """Holds a compressed block per task, the clips that the blocks number, and previews by clip number."""

    blocks: list[str]
    clips: list[dict[str, Any]]
    previews: dict[int, str]


def packed_samples(
    report: Report,
    folder: Path,
    embed_bytes: int,
    data_dirs: Sequence[str] = (),
    use_cache: str | None = None,
    served: ServedClips | None = None,
) -> PageSamples:
    """Compress all samples for a page in `folder`, with at most `embed_bytes` of audio previews.

    Prints a line if clips are not embedded because they lie outside `data_dirs`, and one if they are nowhere.
    """
    tasks = report.gathered.tasks
    texts = prompts.prompts_by_sha(prompts.cache_files(use_cache))
    clips = ReportClips(folder, tuple(map(Path, data_dirs)), served)
    numbers = {task.task: _clip_numbers(task, report.cells, clips) for task in tasks}
    blocks = _blocks(tasks, numbers, texts)
    previews = clips.embed(embed_bytes) if embed_bytes else {}
    if clips.outside:
        print(
            f"report: {len(clips.outside)} clips are not embedded, because no --data_dir holds them; "
            f"to allow the first, type --data_dir {str(clips.outside[0].parent)!r}",
            file=sys.stderr,
        )
    if clips.lost:
        print(lost_clips(clips.lost), file=sys.stderr)
    return PageSamples(blocks, clips.listed, previews)


def _clip_numbers(task: TaskColumns, cells: Sequence[ReportRun], clips: ReportClips) -> ClipNumbers:
    """Number the clips of a task: those of the first runs with the documents, then those that other runs heard."""
    roots = {number: _data_dir(cells[number], task.task) for number in task.cells}
    documents = task.documents
    first = [
        clips.number(asked.audio, roots[cell])
        for asked, cell in zip(documents.first, documents.cells, strict=True)
    ]
    own = {
        number: {
            place: clip
            for place, asked in columns.own.items()
            if not same_clips(asked.audio, documents.first[place].audio)
            and (clip := clips.number(asked.audio, roots[number])) != first[place]
        }
        for number, columns in task.cells.items()
    }
    return ClipNumbers(first, own)


def _blocks(
    tasks: Sequence[TaskColumns], clips: Mapping[str, ClipNumbers], prompts: Mapping[str, str]
) -> list[str]:
    budget = TEXT_BUDGET
    embedded = [embedded_samples(task, clips[task.task], prompts) for task in tasks]
    if sum(task.token_map_chars for task in embedded) > TOKEN_MAP_CHARS:
        print(
            "report: the maps of kept audio tokens are left out, because they are too many for one page; "
            "make it of fewer runs",
            file=sys.stderr,
        )
        embedded = [task.without_token_maps() for task in embedded]
    lengths = [length for task in embedded for length in task.texts.lengths()]
    while True:
        limit = fitting_length(lengths, budget)
        blocks = [compressed(task.cut_to(limit)) for task in embedded]
        if sum(map(len, blocks)) <= SAMPLES_BYTES or budget <= LEAST_TEXT_BUDGET:
            return blocks
        budget //= 2


def page_data(report: Report, clips: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON that the page's script needs before it unpacks a block."""
    return {
        "cells": [cell.label for cell in report.cells],
        "tasks": [
            {
                "name": task.task,
                "reading": task.primary,
                "aligned": task.aligned,
                "low": task.falls,
                "metric": task.metric,
            }
            for task in report.gathered.tasks
        ],
        "outcomes": NAMES,
        "clips": clips,
    }


def compressed(value: Any) -> str:
    """Return the value as JSON, compressed with gzip and encoded in base64, which HTML cannot misread."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # a lone surrogate, from a broken decoder, cannot be encoded as UTF-8; it becomes a question mark
    # level 7 would take 70 % longer for 1.5 % fewer bytes
    packed = gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _breakdown_data(report: Report) -> dict[str, Any]:
    numbers = {cell.label: number for number, cell in enumerate(report.cells)}
    return {
        task: {str(numbers[label]): asdict(parts) for label, parts in by_cell.items()}
        for task, by_cell in report.gathered.breakdowns.items()
    }


def _other_tables(report: Report) -> list[tuple[Benchmark, list[LeaderboardRow]]]:
    """Return the published tables of all benchmarks but the report's own."""
    shown = report.benchmark.name if report.benchmark else None
    others = [published_benchmark(name) for name in benchmark_names() if name != shown]
    return [(other, published_rows(other)) for other in others]


def _data_dir(cell: ReportRun, task: str) -> str | None:
    folder = cell.configs.get(task, {}).get("data_dir")
    return str(folder) if folder else None


def waiting_page() -> str:
    """Return the page that a server shows while no run is finished."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    script = _part("page_live.js.j2")
    text: str = environment.get_template("waiting.html.j2").render(
        script=Markup(script), script_sha256=_digest(script), style=Markup(_part("page.css.j2"))
    )
    return text


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def page_script() -> str:
    """Return the page's script, which is one so that the policy can name its hash."""
    return "".join(_part(f"page_{name}.js.j2") for name in SCRIPTS)


def _beside_scores(report: Report) -> dict[str, Any]:
    """Return what the leaderboard shows beside its scores."""
    return {
        "coverage": _coverage(report),
        "chances": chances(report.cells),
        "asides": started_and_rows(report.cells),
        "facets": board_facets(report.board.rows, report.cells),
        "sizes": rows_by_task(report.cells),
    }


def _coverage(report: Report) -> dict[tuple[str, str], TaskResult]:
    """Return the result of each run and task, by the run's label and the task."""
    return {(cell.label, name): task for cell in report.cells for name, task in cell.tasks.items()}


def _part(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _safe_json(value: Mapping[str, Any]) -> Any:
    """Return JSON for a script element, escaped so that nothing in it can end the element."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, ensure_ascii=True, separators=(",", ":"))
