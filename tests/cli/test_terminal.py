"""Tests the table that ends a run: its numbers, its width and its escaping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from marathon_eval.api.results import MetricValue, RunResult
from marathon_eval.cli.terminal import PIPE_WIDTH, duration, print_run
from marathon_eval.scoring.usage import answer_seconds

LONGEST_TASK = "air_bench_synthesized_voice_clean"
LONGEST_METRIC = "audiomarathon.wer_accuracy"


@pytest.fixture
def run() -> RunResult:
    return make_result_folders.fabricate(Made(rows={"race": 400, "librispeech": 3}))


def line_of(text: str, *words: str) -> list[str]:
    (line,) = [line.split() for line in text.splitlines() if line.split()[: len(words)] == list(words)]
    return line


def test_each_reading_says_what_it_could_read(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(run)
    assert "Not shown: readings paper (--readings all shows them)." in capsys.readouterr().out
    print_run(run, every_reading=True)
    text = capsys.readouterr().out
    task = run.tasks["race"]
    unanswered = task.n_unanswered["strict"]
    assert unanswered
    parsed = f"{100 * (1 - unanswered / task.n_scored):.1f}%"
    first = line_of(text, "race", "strict")
    assert parsed in first
    assert f"{100 * task.n_scored / 400:.1f}%" in first
    assert str(task.n_scored) in first
    assert f"{task.n_errors} rows FAILED" in text.replace("\n", " ") if task.n_errors else True
    # the paper's reading found an answer in every row
    assert [word for word in line_of(text, "paper", "accuracy") if "%" in word] == ["100.0%"]


def test_time_is_what_the_answers_took(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    stages = ("encode_s", "prefill_s", "decode_s")
    spent = sum(row.usage.get(stage, 0.0) for row in run.samples["race"] for stage in stages)
    assert run.tasks["race"].answer_s == pytest.approx(spent)
    row = run.samples["race"][0]
    assert answer_seconds(replace(row, response=["A", "B", "A"])) == pytest.approx(
        3 * (answer_seconds(row) or 0.0)
    )
    assert answer_seconds(replace(row, usage={"heard_seconds": 1.0})) is None
    print_run(run)
    assert " ".join(line_of(capsys.readouterr().out, "race", "strict")).endswith(duration(spent))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 s"), (8.314, "8.31 s"), (74, "74 s"), (720, "12 min"), (12_240, "3.4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pipe_holds_the_widest_table_whole(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    """Long names, full counts, a wide group: nothing is cut, and no line is longer than a pipe's."""
    headline: dict[str, Any] = {"reading": "strict", "metric": LONGEST_METRIC, "scale": 100.0}
    value = MetricValue(0.1234, (0.1, 0.2))
    metrics = {LONGEST_METRIC: value, "accuracy": value, "chance": MetricValue(0.25)}
    wide = replace(run.tasks["race"], task=LONGEST_TASK, readings={"strict": metrics}, headline=headline)
    wide = replace(wide, n_loaded=100_000, n_scored=99_999, n_unanswered={"strict": 0})
    missing = {
        "score": None,
        "missing": [LONGEST_TASK, LONGEST_TASK, "race"],
        "groups": {"speech": {"score": 12.3}},
    }
    samples = {LONGEST_TASK: run.samples["race"]}
    print_run(replace(run, tasks={LONGEST_TASK: wide}, samples=samples, groups={"audiomarathon": missing}))
    text = capsys.readouterr().out
    table, _, below = text.partition("audiomarathon has no mean: ")
    assert max(map(len, table.splitlines())) <= PIPE_WIDTH <= 130
    assert "…" not in table
    for whole in ("0.100 - 0.200", "99999", "100.0%", "12.30"):
        assert whole in table
    columns = [line.split("  ") for line in table.splitlines()]
    # a long name goes on below itself
    assert LONGEST_TASK in "".join(line[1].strip() for line in columns if len(line) > 1)
    assert below.startswith(f"{LONGEST_TASK}, {LONGEST_TASK} and 1 more not run.")


def test_no_colour_reaches_a_pipe(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(run)
    assert "\x1b" not in capsys.readouterr().out


def test_a_task_without_a_score_has_empty_cells(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    failed = replace(
        run.tasks["race"],
        n_scored=0,
        n_unanswered={"strict": 0, "paper": 0},
        readings={"strict": {}},
        answer_s=None,
    )
    print_run(replace(run, tasks={"race": failed}, samples={"race": []}))
    assert line_of(capsys.readouterr().out, "race", "strict") == ["race", "strict", "*", "0", "0.0%"]


def test_brackets_in_a_name_are_no_markup(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    task = run.tasks["race"]
    strict = task.readings["strict"]
    named = replace(
        task, task="[/task]", readings={"[/reading]": strict}, headline=None, n_unanswered={"[/reading]": 0}
    )
    print_run(replace(run, tasks={"[/task]": named}, model="[bold]model"))
    text = capsys.readouterr().out
    assert "[/task]" in text
    assert "[/reading]" in text
    assert "[bold]model" in text


def test_a_data_file_of_no_known_release_is_told(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(run)
    assert "none of the releases" not in capsys.readouterr().out
    manifests = {
        "race": {"metadata_version": "unknown", "metadata_sha256": "ab" * 32},
        "librispeech": {"metadata_version": "v1", "metadata_sha256": "cd" * 32},
    }
    print_run(replace(run, manifests=manifests))
    told = [line for line in capsys.readouterr().out.splitlines() if "none of the releases" in line]
    assert len(told) == 1
    assert told[0].startswith("race: the data file has sha256 abababababab")
