"""Tests the report's numbers and figures: breakdowns, curves, the Pareto front, timing, plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from marathon_eval.api.model import Response, Usage
from marathon_eval.api.results import Sample, TaskResult
from marathon_eval.report import figures
from marathon_eval.report.breakdown import NO_ANSWER, OTHER, Breakdown, broken_down
from marathon_eval.report.curves import curves, on_front, shared_tasks
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells
from marathon_eval.report.sample_columns import TRANSCRIBE, USAGE, CellColumns, TaskColumns, answer_like_gold
from marathon_eval.report.summary import timing_lines
from marathon_eval.report.timing import Spread, Timing
from marathon_eval.results.files import write_run
from marathon_eval.scoring.usage import answer_seconds, mean_usage


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_result_folders.write_sweep(tmp_path_factory.mktemp("swept"))


def answered(
    task: str,
    rows: Sequence[tuple[Any, str | None, float]],
    grade: Callable[[int], float] | None = None,
    more: dict[str, Any] | None = None,
) -> Breakdown:
    """The breakdown of rows of (gold, answer, seconds); `grade` gives them scores by number, `more` keys of samples."""
    columns = TaskColumns(task)
    lines = [
        {
            "doc_id": number,
            "target": gold,
            "response": answer,
            "status": "ok",
            "error": None,
            "readings": {
                "strict": {
                    "answer": answer,
                    "rule": "",
                    "scores": {"x": float(answer == gold) if grade is None else grade(number)},
                }
            },
            "usage": {},
            "cached": False,
            "prompt_sha256": None,
            "audio": [{"path": "x", "seconds": seconds}],
            **(more or {}),
            "fields": {
                "half": "long" if seconds > 150 else "short",
                "place": seconds,
                "a_start": number,
                "a_stop": number % 5,
            },
        }
        for number, (gold, answer, seconds) in enumerate(rows)
    ]
    result = TaskResult(
        task,
        {"strict": {}},
        0,
        0,
        0,
        0,
        0,
        {},
        0,
        headline={"reading": "strict", "metric": "x"},
        breakdown={"half": {}, "place": {}},
    )
    return broken_down(columns, columns.add_cell(0, result, lines), "strict")


def test_columns_that_samples_only_keep_have_no_tables_and_crowded_ones_are_named() -> None:
    parts = answered("t", [("A", "A", float(n)) for n in range(40)])
    assert (parts.crossed, parts.many) == (None, {"place": 40})
    assert list(parts.by_field) == []


def test_graded_rows_have_a_mean_by_duration() -> None:
    parts = answered("t", [("A", "A", float(n)) for n in range(60)], grade=lambda n: 0.1 if n < 20 else 0.4)
    assert (parts.by_duration, parts.by_field) == ((), {})
    assert [(part.name, round(part.value, 4), part.n) for part in parts.graded_by_duration] == [
        ("0–19 s", 0.1, 20),
        ("20–39 s", 0.4, 20),
        ("40–59 s", 0.4, 20),
    ]


def test_an_unanswered_row_has_its_score_in_the_mean_by_duration() -> None:
    rows = [("A", None if n < 10 else "A", 9.0) for n in range(20)]
    parts = answered("t", rows, grade=lambda n: 1.0 if n < 10 else 0.4)
    assert [(part.value, part.n) for part in parts.graded_by_duration] == [(pytest.approx(0.7), 20)]


def test_a_recogniser_s_time_counts_as_a_stage() -> None:
    cell = CellColumns(usage={name: [None] for name in USAGE} | {TRANSCRIBE: [4.0], "heard_seconds": [60.0]})
    timing = Timing()
    timing.add(cell)
    (line,) = timing_lines({"whisper": timing})
    assert (line.medians, line.speed) == ((None, None, None, 4.0), 15.0)
    assert answer_seconds(row_with({"details": {"transcribe_s": 4.0}})) == 4.0
    assert answer_seconds(row_with({"decode_s": 1.0, "details": {"transcribe_s": 4.0}})) == 1.0
    assert answer_seconds(row_with({"details": {"transcribe_s": "soon"}})) is None


def test_counts_of_tokens_are_whole_where_a_row_has_repeats() -> None:
    usage = mean_usage(
        [Response("A", usage=Usage(audio_tokens=12345, kept_tokens=6789, decode_s=1.23456))] * 2
    )
    row = {"response": ["A", "A"], "prompt_sha256": None, "audio": [], "readings": {}, "usage": usage}
    sample = {"doc_id": 0, "target": "A", "status": "ok", "error": None, "fields": {}, "cached": False, **row}
    cell = TaskColumns("t").add_cell(0, TaskResult("t", {}, 1, 1, 0, 0, 1, {}, 0), [sample])
    shown = [cell.usage[name] for name in ("audio_tokens", "kept_tokens", "decode_s")]
    assert shown == [[12345], [6789], [1.23]]


def row_with(usage: dict[str, Any]) -> Sample:
    return Sample("t", 0, "A", "x", "ok", None, {}, usage, False, None, [], {})


def test_the_label_that_is_right_in_most_rows_counts_every_right_answer() -> None:
    """Each row has two right answers, of which one is the same in all; a dialogue's are those of its turns."""
    golds: list[Any] = [[first, "z"] for first in ("w", "x", "y") * 4]
    rows = [(gold, "z", 1.0) for gold in golds]
    assert answered("t", rows, grade=lambda number: 1.0).majority == 1.0
    dialogue = answered("t", rows, grade=lambda number: 1.0, more={"turns_sha256": ["0", "1"]})
    assert dialogue.majority == pytest.approx(1 / 3)


def test_a_breakdown_counts_every_scored_row_once() -> None:
    rows: list[tuple[str, str | None, float]] = [
        ("A", "A", 100.0),
        ("A", "B", 110.0),
        ("A", None, 120.0),
        ("B", "B", 200.0),
        ("B", "a long answer", 210.0),
        ("B", "B", 220.0),
    ]
    parts = answered("t", rows)
    assert parts.labels == ("A", "B")
    assert parts.answers == ("A", "B", OTHER, NO_ANSWER)
    assert parts.confusion == ((1, 1, 0, 1), (0, 2, 1, 0))
    assert parts.letters == (("A", 3, 1), ("B", 3, 3))
    assert parts.counts == {"right": 3, "wrong": 2, "unanswered": 1}
    assert [(s.name, s.right, s.n) for s in parts.by_class] == [("A", 1, 3), ("B", 2, 3)]
    assert [(s.name, s.right, s.n) for s in parts.by_field["half"]] == [("long", 2, 3), ("short", 1, 3)]
    assert parts.majority == 0.5
    share = parts.by_class[1]
    # three rows say nothing
    assert (share.low, share.high) == (None, None)
    whole = answered("t", rows * 4).by_class[1]
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low < 2 / 3 < whole.high


def test_duration_bins_are_even_and_cut_no_duration_in_two() -> None:
    rows: list[tuple[str, str | None, float]] = [
        ("A", "A" if n % 2 else "B", 90.0 + n // 3) for n in range(240)
    ]
    bins = answered("t", rows).by_duration
    assert len(bins) == 6
    assert sum(share.n for share in bins) == 240
    assert max(share.n for share in bins) - min(share.n for share in bins) <= 6
    assert all(share.n % 3 == 0 for share in bins)


def test_few_durations_are_a_bin_each() -> None:
    rows: list[tuple[str, str | None, float]] = [
        ("A", "A" if n % 4 else "B", (2.0, 6.1, 15.0, 40.0)[n % 4]) for n in range(16)
    ]
    bins = answered("t", rows).by_duration
    assert [(share.name, share.right, share.n, share.ends) for share in bins] == [
        ("2 s", 0, 4, (2.0, 2.0)),
        ("6 s", 4, 4, (6.1, 6.1)),
        ("15 s", 4, 4, (15.0, 15.0)),
        ("40 s", 4, 4, (40.0, 40.0)),
    ]


def test_breakdown_figures_have_a_panel_for_each_column() -> None:
    from marathon_eval.report.breakdown_plot import breakdown_plot

    figure = breakdown_plot(answered("t", [("A", "A", 100.0), ("B", "A", 200.0)] * 3), "run: t")
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[-1] == "accuracy by place"
    assert "accuracy by half" in titles


def test_open_answers_have_no_confusion() -> None:
    rows: list[tuple[str, str | None, float]] = [(f"text {n}", "text", 100.0) for n in range(40)]
    parts = answered("t", rows)
    assert parts.labels == ()
    assert parts.confusion == ()
    assert parts.majority is None


def test_curves_rise_by_ratio_and_keep_to_shared_tasks(swept: Path) -> None:
    cells = read_cells([swept])
    tasks = shared_tasks(cells)
    assert set(tasks) == {"gtzan", "race", "librispeech"}
    found = curves(cells, tasks)
    assert found is not None
    assert list(found.series) == ["qwen_omni dart", "qwen_omni random"]
    for points in found.series.values():
        assert [point.ratio for point in points] == [0.1, 0.5, 0.9]
        for point in points:
            assert point.score.low is not None
            assert point.score.high is not None
            assert point.score.low < point.score.value < point.score.high
    assert [point.label for point in found.baselines] == ["qwen_omni"]
    assert curves([cell for cell in cells if cell.press is None], tasks) is None


def test_the_pareto_front() -> None:
    points = [(1.0, 50.0), (2.0, 60.0), (2.0, 55.0), (3.0, 60.0), (4.0, 70.0)]
    assert [on_front(point, points) for point in points] == [True, True, False, False, True]


def test_the_seconds_of_a_front_are_of_the_tasks_of_its_scores(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"race": 9, "librispeech": 9}), tmp_path)
    make_result_folders.write(Made(press="dart", ratio=0.5, rows={"race": 9}), tmp_path)
    report = make_report(read_cells([tmp_path]))
    (race,) = [columns for columns in report.gathered.tasks if columns.task == "race"]
    medians = figures.prefill_medians(report, ["race"])
    for number, cell in enumerate(report.cells):
        assert medians[cell.label] == median(
            v for v in race.cells[number].usage["prefill_s"] if v is not None
        )
    assert medians["qwen_omni"] != figures.prefill_medians(report, ["race", "librispeech"])["qwen_omni"]


def test_spreads() -> None:
    spread = Spread.of([float(n) for n in range(1, 102)])
    assert spread is not None
    assert (spread.p5, spread.q1, spread.median, spread.q3, spread.p95) == (6.0, 26.0, 51.0, 76.0, 96.0)
    assert Spread.of([]) is None
    single = Spread.of([2.0])
    assert single is not None
    assert (single.p5, single.p95, single.n) == (2.0, 2.0, 1)


def test_speed_is_audio_heard_per_second_spent(tmp_path: Path) -> None:
    run = make_result_folders.fabricate(Made(press="dart", ratio=0.5, rows={"gtzan": 10}))
    folder = tmp_path / "run" / "1"
    folder.mkdir(parents=True)
    write_run(run, folder)
    report = make_report(read_cells([tmp_path]))
    timing = report.gathered.timings["qwen_omni dart 0.5"]
    usages = [sample.usage for sample in run.samples["gtzan"]]
    spent = sum(u["encode_s"] + u["prefill_s"] + u["decode_s"] for u in usages)
    assert timing.speed == pytest.approx(sum(u["heard_seconds"] for u in usages) / spent, rel=0.01)
    assert timing.kept == pytest.approx(0.5, abs=0.001)


def test_plots_are_written_as_svg_and_png_and_breakdowns_as_pdf_too(swept: Path, tmp_path: Path) -> None:
    cells = [cell for cell in read_cells([swept]) if cell.label in ("qwen_omni", "qwen_omni dart 0.5")]
    written = {path.name for path in figures.write_plots(make_report(cells), tmp_path)}
    for name in ("radar", "ratio", "ratio_by_task", "pareto", "timing"):
        assert {f"{name}.svg", f"{name}.png"} <= written
        ElementTree.parse(tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    endings = [name.rpartition(".")[2] for name in written if name.startswith("race_")]
    assert sorted(endings) == sorted(["pdf", "png", "svg"] * len(cells))


def test_a_name_in_a_figure_is_text_and_no_formula(tmp_path: Path) -> None:
    name = "_$\\frac{1}{2}$<b>&\u8a9e"
    for press, ratio in ((None, 0.0), (name, 0.5)):
        make_result_folders.write(Made(press=press, ratio=ratio, rows={"a": 9, "b": 9, "c": 9}), tmp_path)
    svgs = figures.inline(make_report(read_cells([tmp_path])))
    assert set(svgs) == {"radar", "ratio", "ratio_by_task", "pareto", "timing"}
    for svg in svgs.values():
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label")
        assert "#1b1c1e" not in svg  # colours are the page's, so that dark works
        assert name in "".join(root.itertext())


def test_the_same_runs_give_the_same_page(swept: Path) -> None:
    cells = read_cells([swept])[:1]
    first, second = (render_page(make_report(cells), swept / "report.html") for _ in range(2))
    assert first == second


def test_a_letter_is_shown_as_its_option_where_the_gold_is_a_text() -> None:
    """Else every wrong letter of a task with `gold_is: text` stands under "other" in the confusion."""
    row = {"letters": ["A", "B"], "choices": ["high", "low"], "target": "high"}
    assert [answer_like_gold(row, answer) for answer in ("B", "low", "neither", None)] == [
        "low",
        "low",
        "neither",
        None,
    ]
    assert answer_like_gold({**row, "target": "A"}, "B") == "B"
    assert answer_like_gold({"target": "high"}, "B") == "B"
