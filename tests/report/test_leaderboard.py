"""Tests leaderboards: the published tables, rows and averages, labels of runs, and escaped text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.report import tables
from marathon_eval.report.leaderboard import Score, champions, make_board, mean_interval, published_rows
from marathon_eval.report.published import benchmark_names, benchmark_of, published_benchmark
from marathon_eval.report.runs import read_cells
from marathon_eval.results.run_labels import labels

TEN = ("slue", "race", "librispeech", "desed", "gtzan", "tau", "had", "vesus", "vox_age", "vox_gender")
ROWS = dict.fromkeys(TEN, 6)


# -- the published tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audiomarathon", "air_bench_foundation", "mmar"])
def test_published_averages_follow_from_their_columns(name: str) -> None:
    table = published_benchmark(name)
    checked = 0
    for row in table.rows:
        if row.average is not None:
            assert table.average(row.scores) == pytest.approx(row.average, abs=0.1), row.name
            checked += 1
    assert checked >= 7


def test_audiomarathon_has_sixteen_models_and_humans_without_transcripts() -> None:
    table = published_benchmark("audiomarathon")
    assert tuple(column.task for column in table.columns) == TEN
    assert len([row for row in table.rows if not row.reference]) == 16
    (human,) = [row for row in table.rows if row.reference]
    assert human.scores["librispeech"] is None
    nine = [score for score in human.scores.values() if score is not None]
    assert len(nine) == 9
    assert sum(nine) / 9 == pytest.approx(87.6, abs=0.1)


def test_air_bench_chat_averages_but_for_two_misprints() -> None:
    table = published_benchmark("air_bench_chat")
    off = [
        row.name
        for row in table.rows
        if row.average is not None and abs((table.average(row.scores) or 0) - row.average) > 0.01
    ]
    assert off == ["Next-gpt", "Macaw-LLM"]
    assert all(name in table.source for name in off)


def test_every_table_names_its_source() -> None:
    for name in benchmark_names():
        table = published_benchmark(name)
        assert "README" in table.source
        assert {task for row in table.rows for task in row.scores} == {c.task for c in table.columns}


def test_a_benchmark_is_found_by_its_tasks() -> None:
    found = benchmark_of(["gtzan", "something_else"])
    assert found is not None
    assert found.name == "audiomarathon"
    assert benchmark_of(["something_else"]) is None


# -- rows ----------------------------------------------------------------------------------------------------


def test_columns_come_in_the_benchmarks_order_and_the_average_is_of_all_ten(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows=dict(reversed(ROWS.items()))), tmp_path)
    cells = read_cells([tmp_path])
    board = make_board(cells, published_benchmark("audiomarathon"))
    assert tuple(column.task for column in board.columns) == TEN
    (row,) = board.rows
    assert row.average is not None
    assert row.average.value == pytest.approx(sum(row.scores[task].value for task in TEN) / 10)


def test_no_average_over_some_of_the_tasks(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"gtzan": 6, "race": 6}), tmp_path)
    board = make_board(read_cells([tmp_path]), published_benchmark("audiomarathon"))
    assert [column.task for column in board.columns] == ["race", "gtzan"]
    assert board.rows[0].average is None
    assert not board.averaged


def test_the_interval_of_a_mean_adds_independent_errors() -> None:
    scores = [Score(50, 40, 60), Score(70, 60, 80)]
    low, high = mean_interval(60, scores)
    assert low == pytest.approx(60 - 10 / 2**0.5)
    assert high == pytest.approx(60 + 10 / 2**0.5)
    assert mean_interval(60, [*scores, Score(1.0)]) == (None, None)


def test_published_rows_stand_among_the_runs_by_their_average(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows=dict.fromkeys(TEN, 40), skill=0.5), tmp_path)
    board = make_board(read_cells([tmp_path]), published_benchmark("audiomarathon"), with_published=True)
    averages = [row.average.value for row in board.rows if row.average is not None]
    assert averages == sorted(averages, reverse=True)
    assert board.rows[0].kind == "reference"
    assert [row.kind for row in board.rows].count("published") == 16


def test_every_category_has_its_champion(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows=ROWS), tmp_path)
    table = published_benchmark("audiomarathon")
    found = {c.group: c for c in champions(make_board(read_cells([tmp_path]), table), table)}
    assert list(found) == ["speech", "audio", "voice"]
    for champion in found.values():
        means = {row.name: table.group_mean(champion.group, row.scores) for row in table.rows}
        assert champion.published is not None
        assert champion.published[1] == max(m for n, m in means.items() if m is not None and n != "Human")
        assert champion.run is not None
    assert found["audio"].reference is not None
    assert found["audio"].reference[1] == pytest.approx(98.73, abs=0.01)
    assert found["speech"].reference is None


# -- cells ---------------------------------------------------------------------------------------------------


def test_a_parent_gives_the_newest_of_each_task_and_a_run_only_itself(tmp_path: Path) -> None:
    old = make_result_folders.write(
        Made(rows={"race": 5, "gtzan": 5}, skill=0.0), tmp_path, "2026-01-01T00:00:00Z"
    )
    new = make_result_folders.write(Made(rows={"gtzan": 5}, skill=1.0), tmp_path, "2026-02-01T00:00:00Z")
    (merged,) = read_cells([tmp_path])
    assert merged.folders == {"gtzan": new, "race": old}
    assert merged.tasks["gtzan"].readings["strict"]["accuracy"].value == 1.0
    both = read_cells([old, new])
    assert [cell.tasks.keys() for cell in both] == [{"race", "gtzan"}, {"gtzan"}]
    assert both[0].label != both[1].label


def test_uncompressed_first_then_presses_by_rising_ratio(tmp_path: Path) -> None:
    for press, ratio in (("fastv", 0.5), ("dart", 0.9), ("dart", 0.1), (None, 0.0)):
        make_result_folders.write(Made(press=press, ratio=ratio, rows={"gtzan": 3}), tmp_path)
    cells = read_cells([tmp_path])
    assert [cell.label for cell in cells] == [
        "qwen_omni",
        "qwen_omni dart 0.1",
        "qwen_omni dart 0.9",
        "qwen_omni fastv 0.5",
    ]
    assert [cell.series for cell in cells] == ["qwen_omni", *["qwen_omni dart"] * 2, "qwen_omni fastv"]


def test_a_label_says_what_sets_a_model_apart() -> None:
    seven = {"model": "m", "pretrained": "Qwen/Qwen2.5-Omni-7B", "dtype": "bf16", "press": None}
    three = {**seven, "pretrained": "Qwen/Qwen2.5-Omni-3B"}
    assert labels([seven, three], ["t1", "t2"]) == [
        "m pretrained=Qwen2.5-Omni-7B",
        "m pretrained=Qwen2.5-Omni-3B",
    ]
    layers = [{**seven, "press": {"press": "dart", "ratio": 0.5, "layer": layer}} for layer in (2, 3)]
    assert labels(layers, ["t1", "t2"]) == ["m dart layer=2 0.5", "m dart layer=3 0.5"]
    assert len(set(labels([seven] * 3, ["t1", "t1", "t2"]))) == 3


def test_a_folder_without_runs_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"no results\.json here or below"):
        read_cells([tmp_path])


# -- text ----------------------------------------------------------------------------------------------------


def test_markdown_shows_names_as_they_are(tmp_path: Path) -> None:
    make_result_folders.write(Made(model="a|b<script>`*[x](y)\n\u202e", rows={"gtzan": 3}), tmp_path / "x")
    text = tables.markdown(make_board(read_cells([tmp_path])))
    assert r"a\|b&lt;script&gt;\`\*\[x\](y) " in text
    assert "\u202e" not in text
    assert {line.count(" | ") for line in text.splitlines() if line.startswith("|")} == {1}


def test_latex_escapes_every_special_letter() -> None:
    assert tables.for_latex(r"50%_$&#{}~^\ ") == (
        r"50\%\_\$\&\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} "
    )


def test_a_score_of_fewer_rows_than_loaded_is_marked(tmp_path: Path) -> None:
    assert tables.cell_text(Score(70.54, 68.0, 73.0), intervals=True) == "70.5 [68.0, 73.0]"
    assert tables.cell_text(Score(70.54, whole=False), intervals=True) == "70.5†"
    assert tables.cell_text(None, intervals=False) == "–"
    make_result_folders.write(Made(rows={"gtzan": 200}), tmp_path)  # one in fifty fails
    board = make_board(read_cells([tmp_path]))
    assert tables.INCOMPLETE_NOTE in tables.markdown(board)
    assert r"$^\dagger$" in tables.latex(board)


def test_the_verb_prints_each_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_result_folders.write(Made(rows=ROWS), tmp_path)
    assert main(["leaderboard", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    head = printed[0]
    assert printed[-1].startswith("Columns are tasks: SER = slue, SCR = race, ASR = librispeech, ")
    assert "MC = gtzan" in printed[-1]
    assert head == "| model | SER | SCR | ASR | SED | MC | ASC | SD | ER | SAR | SGR | Avg |"
    assert main(["leaderboard", str(tmp_path), "--json", "--with_published"]) == 0
    loaded = json.loads(capsys.readouterr().out)
    assert len(loaded["rows"]) == 1 + len(published_rows(published_benchmark("audiomarathon")))
    assert main(["leaderboard", str(tmp_path), "--latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SER = slue, SCR = race, ASR = librispeech" in lines[0]
    assert lines[1] == r"\begin{tabular}{lrrrrrrrrrrr}"
    assert main(["leaderboard", str(tmp_path), "--champions"]) == 0
    champions_lines = capsys.readouterr().out.splitlines()
    assert len(champions_lines) == 7, "the head, its rule, three categories, and the key of the short names"
    assert champions_lines[-1].startswith("Columns are tasks: SER = slue, ")


def test_one_benchmark_has_its_own_columns_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice = {f"voicebench_{name}": 6 for name in ("mmsu", "openbookqa")}
    make_result_folders.write(Made(rows={**ROWS, **voice}), tmp_path / "both")
    make_result_folders.write(Made(rows=ROWS, model="other"), tmp_path / "one")
    assert main(["leaderboard", str(tmp_path), "--benchmark", "voicebench"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0] == "| model | MMSU | OBQA |"
    assert len(lines) == 3, "the head, its rule, and the run that has the benchmark's tasks"
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path), "-o", str(page), "--benchmark", "voicebench", "--markdown"]) == 0
    head = page.with_suffix(".md").read_text().splitlines()[0]
    assert head.startswith("| model | MMSU")
    assert "SER" not in head
    assert main(["leaderboard", str(tmp_path), "--benchmark", "voicebanch"]) == 2
    assert (
        "no benchmark with a published table 'voicebanch'. Did you mean voicebench?"
        in capsys.readouterr().err
    )


def test_voicebench_s_published_averages_follow_from_its_columns() -> None:
    table = published_benchmark("voicebench")
    assert len(table.rows) == 33
    for row in table.rows:
        assert table.average(row.scores) == pytest.approx(row.average, abs=0.011), row.name


def test_no_published_table_for_tasks_of_no_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_result_folders.write(Made(rows={"mine": 3}), tmp_path)
    assert main(["leaderboard", str(tmp_path)]) == 0
    assert "Columns are tasks" not in capsys.readouterr().out, "the head is the task's own name"
    assert main(["leaderboard", str(tmp_path), "--with_published"]) == 2
    assert "audiomarathon" in capsys.readouterr().err


def test_reading_runs_needs_no_heavy_library(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows=ROWS), tmp_path)
    code = (
        "import sys; from marathon_eval.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({'numpy', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, "leaderboard", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert out.stdout.splitlines()[-1] == "[]"


def test_accuracies_are_not_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_result_folders.write(Made(rows=ROWS), tmp_path)
    for form in ("--markdown", "--latex"):
        assert main(["leaderboard", str(tmp_path), form]) == 0
        assert "lower is better" not in capsys.readouterr().out


def test_an_interrupted_run_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, stopped = (make_result_folders.write(Made(model=name), tmp_path / name) for name in ("a", "b"))
    results = json.loads((stopped / "results.json").read_text())
    (stopped / "results.json").write_text(json.dumps({**results, "interrupted": True}))
    assert main(["leaderboard", str(whole), str(stopped), "--markdown"]) == 0
    table = capsys.readouterr().out
    assert "**b (interrupted)**" in table
    assert table.count("interrupted") == 1
