"""Tests which runs below a folder are merged, which stay apart, and how both are labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from helpers.report_page_parser import Parsed, parsed
from marathon_eval.api.results import TaskResult
from marathon_eval.cli.main import main
from marathon_eval.report import tables
from marathon_eval.report.curves import compared_over_ratios
from marathon_eval.report.gather import make_report
from marathon_eval.report.leaderboard import champions, make_board
from marathon_eval.report.published import published_benchmark
from marathon_eval.report.runs import ReportRun, read_cells

DAYS = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 9)]


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of results.json; `...` removes one."""
    file = folder / "results.json"
    results = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in results.items() if value is not ...}))


def accuracy(task: TaskResult) -> float | None:
    return task.readings["strict"]["accuracy"].value


def labels(cells: list[ReportRun]) -> list[str]:
    return [cell.label for cell in cells]


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        ({"no_audio": "silence"}, "silence"),
        ({"no_audio": "none"}, "no audio"),
        ({"swap_audio": True}, "swapped audio"),
        ({"transform": "speed=1.2"}, "transform speed=1.2"),
        ({"permute_choices": 3}, "permuted 3 orders"),
        ({"gen_kwargs": {"temperature": 0.5, "max_new_tokens": 8}}, "max_new_tokens=8 temperature=0.5"),
        ({"seed": 4}, "seed 4"),
        ({"samples": {"gtzan": [0, 3]}}, "rows b99eecae"),
        ({"no_audio": "silence", "gen_kwargs": {"stop": ["x"]}}, 'silence, stop=["x"]'),
    ],
)
def test_a_run_asked_otherwise_is_a_row_of_its_own(tmp_path: Path, flags: dict[str, Any], label: str) -> None:
    make_result_folders.write(Made(skill=0.4), tmp_path, DAYS[0])
    make_result_folders.write(Made(skill=1.0, flags=flags), tmp_path, DAYS[1])
    cells = read_cells([tmp_path])
    assert labels(cells) == ["qwen_omni", f"qwen_omni ({label})"]
    assert accuracy(cells[0].tasks["race"]) != accuracy(cells[1].tasks["race"])
    board = make_board(cells)
    assert f"**qwen\\_omni ({label})**".replace("\\_", "_") in tables.markdown(board).replace("\\", "")
    assert tables.for_latex(f"({label})") in tables.latex(board)
    assert parsed(tmp_path).data()["cells"] == labels(cells)


def test_equal_runs_are_merged_and_fewer_scored_rows_displace_nothing(tmp_path: Path) -> None:
    whole = make_result_folders.write(Made(rows={"gtzan": 12}, skill=0.3), tmp_path, DAYS[0])
    newer = make_result_folders.write(Made(rows={"gtzan": 12}, skill=0.9), tmp_path, DAYS[1])
    assert [cell.folders["gtzan"] for cell in read_cells([tmp_path])] == [newer]
    tasks = json.loads((newer / "results.json").read_text())["tasks"]
    tasks["gtzan"] |= {"n_scored": 3, "n_errors": 9}
    edit(newer, tasks=tasks, interrupted=True)
    (cell,) = read_cells([tmp_path])
    assert cell.folders["gtzan"] == whole
    assert not cell.interrupted


def test_runs_of_another_headline_that_are_not_shown_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [make_result_folders.write(Made(rows={"gtzan": 12}), tmp_path, day) for day in DAYS[:4]]
    assert main(["leaderboard", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    for folder, reading in zip(folders, ("paper", "paper", "strict"), strict=False):
        tasks = json.loads((folder / "results.json").read_text())["tasks"]
        tasks["gtzan"]["headline"] = {**tasks["gtzan"]["headline"], "reading": reading}
        edit(folder, tasks=tasks)
    for form in ("--markdown", "--json"):
        assert main(["leaderboard", str(tmp_path), form]) == 0
        assert capsys.readouterr().err == (
            "marathon-eval: note: qwen_omni: gtzan is shown by strict accuracy, in the place of 2 runs with another headline "
            "(paper accuracy); give the folder of each run to see all\n"
        )
    assert main(["leaderboard", *map(str, folders)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({}, None),
        (
            {"reading": "paper"},
            "is shown by strict accuracy, in the place of 1 run with another headline (paper accuracy)",
        ),
        (
            {"scale": 1},
            "is shown by strict accuracy with scale 100, in the place of 1 run with another headline (strict accuracy with scale 1)",
        ),
    ],
)
def test_the_page_and_its_verb_tell_of_another_headline_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], note: str | None
) -> None:
    older, _ = [make_result_folders.write(Made(rows={"gtzan": 12}), tmp_path, day) for day in DAYS[:2]]
    tasks = json.loads((older / "results.json").read_text())["tasks"]
    assert tasks["gtzan"]["headline"]["scale"] == 100
    tasks["gtzan"]["headline"] |= change
    edit(older, tasks=tasks)
    page = tmp_path / "report.html"
    told = note and f"qwen_omni: gtzan {note}; give the folder of each run to see all"
    line = f"marathon-eval: note: {told}\n" if told else ""
    assert main(["leaderboard", str(tmp_path)]) == 0
    assert capsys.readouterr().err == line
    assert main(["report", str(tmp_path), "-o", str(page)]) == 0
    assert capsys.readouterr().err == f"{page}\n{line}"
    shown = " ".join(Parsed(page.read_text()).shown)
    assert f"{told}." in shown if told else "another headline" not in shown


def test_other_prompts_rows_or_generation_arguments_of_a_task_stay_apart(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"gtzan": 12, "race": 9}), tmp_path, DAYS[0])
    make_result_folders.write(Made(rows={"gtzan": 12}, prompts="shorter"), tmp_path, DAYS[1])
    one, other = read_cells([tmp_path])
    assert {*one.tasks, *other.tasks} == {"gtzan", "race"}
    assert one.label != other.label
    assert all("(prompts " in cell.label for cell in (one, other))
    make_result_folders.write(Made(rows={"gtzan": 10}, prompts="shorter"), tmp_path, DAYS[2])
    assert all("(data " in cell.label for cell in read_cells([tmp_path]))
    edited = make_result_folders.write(Made(rows={"race": 9}), tmp_path, DAYS[3])
    manifests = json.loads((edited / "results.json").read_text())["manifests"]
    manifests["race"]["generation"] = {"max_new_tokens": 99}
    edit(edited, manifests=manifests)
    assert any("generation arguments" in cell.label for cell in read_cells([tmp_path]))


def test_runs_of_earlier_versions_are_labelled_by_their_config(tmp_path: Path) -> None:
    old = make_result_folders.write(Made(flags={"no_audio": "silence", "limit": 2}), tmp_path, DAYS[0])
    tasks = json.loads((old / "results.json").read_text())["tasks"]
    for task in tasks.values():
        task["n_meta"] += 100
    edit(old, tasks=tasks, condition=..., selection=...)
    (cell,) = read_cells([tmp_path])
    assert cell.label == "qwen_omni (silence, limit 2)"


def test_runs_that_tell_no_condition_are_never_merged(tmp_path: Path) -> None:
    for day, task in zip(DAYS, ("race", "gtzan"), strict=False):
        folder = make_result_folders.write(Made(rows={task: 9}), tmp_path, day)
        edit(folder, condition=..., selection=..., config={"tasks": [task]})
    cells = read_cells([tmp_path])
    assert [list(cell.tasks) for cell in cells] == [["race"], ["gtzan"]]
    assert all("condition unknown, rows unknown" in cell.label for cell in cells)
    assert all(row.average is None for row in make_board(cells).rows)


def test_prompts_that_an_earlier_run_did_not_record_are_read_from_its_samples(tmp_path: Path) -> None:
    for day in DAYS[:2]:
        folder = make_result_folders.write(Made(rows={"race": 9}), tmp_path, day)
        manifests = json.loads((folder / "results.json").read_text())["manifests"]
        edit(folder, manifests={"race": {"manifest_sha256": manifests["race"]["manifest_sha256"]}})
    assert len(read_cells([tmp_path])) == 1
    lines = (folder / "samples_race.jsonl").read_text().replace('"prompt_sha256":"', '"prompt_sha256":"0')
    (folder / "samples_race.jsonl").write_text(lines)
    assert all("(prompts " in cell.label for cell in read_cells([tmp_path]))


def test_no_average_mixes_selections(tmp_path: Path) -> None:
    """Without labels, two tasks of a whole run and the third of a limited one gave an average over all three."""
    make_result_folders.write(Made(rows={"gtzan": 9, "race": 9}), tmp_path, DAYS[0])
    few = make_result_folders.write(Made(rows={"tau": 2}), tmp_path, DAYS[1])
    tasks = json.loads((few / "results.json").read_text())["tasks"]
    tasks["tau"]["n_meta"] = 9
    edit(few, tasks=tasks, selection={"subset": None, "limit": 2, "samples": None, "tasks": {}})
    board = make_board(read_cells([tmp_path]))
    assert [row.average for row in board.rows] == [None, None]
    text = tables.markdown(board)
    assert "n=2 of 9" in text
    assert tables.PARTIAL_NOTE in text
    assert any("n=2 of 9" in shown for shown in parsed(tmp_path).shown)


def test_a_silent_run_is_no_baseline_and_no_champion(tmp_path: Path) -> None:
    silent = {"no_audio": "silence"}
    rows = dict.fromkeys(("gtzan", "race", "tau", "desed"), 20)
    for skill, made in ((0.4, {}), (0.3, {"press": "dart", "ratio": 0.5}), (1.0, {"flags": silent})):
        make_result_folders.write(Made(skill=skill, rows=rows, **made), tmp_path)
    report = make_report(read_cells([tmp_path]))
    assert labels(compared_over_ratios(report.cells)) == ["qwen_omni", "qwen_omni dart 0.5"]
    assert report.outside_curves == ["qwen_omni (silence)"]
    assert any("Not in these figures" in shown for shown in parsed(tmp_path).shown)
    best = champions(report.board, published_benchmark("audiomarathon"))
    assert {champion.run[0] for champion in best if champion.run} == {"qwen_omni"}


def test_a_sweep_under_a_condition_has_its_own_curves(tmp_path: Path) -> None:
    flags = {"transform": "speed=1.2"}
    for press, ratio in ((None, 0.0), ("dart", 0.1), ("dart", 0.5)):
        make_result_folders.write(Made(press=press, ratio=ratio, flags=flags), tmp_path)
    make_result_folders.write(Made(), tmp_path)
    cells = compared_over_ratios(read_cells([tmp_path]))
    assert len(cells) == 3
    assert {cell.series for cell in cells if cell.press} == {"qwen_omni dart (transform speed=1.2)"}


def test_listening_is_score_minus_control_paired_by_document(tmp_path: Path) -> None:
    for flags, skill in (({}, 0.9), ({"no_audio": "silence"}, 0.2), ({"swap_audio": True}, 0.9)):
        make_result_folders.write(Made(rows={"gtzan": 80}, skill=skill, flags=flags), tmp_path)
    report = make_report(read_cells([tmp_path]))
    heard = {entry.control: entry for entry in report.heard}
    assert {entry.run for entry in report.heard} == {"qwen_omni"}
    assert list(heard) == ["silence", "swapped audio"]
    entry = heard["silence"].scores["gtzan"]
    runs = {cell.aside: cell for cell in report.cells}
    answers = [right_answers(runs[aside].folders["gtzan"]) for aside in ("", " (silence)")]
    both = answers[0].keys() & answers[1].keys()
    gains = [answers[0][doc] - answers[1][doc] for doc in both]
    assert entry.n == len(both)
    assert entry.value == pytest.approx(100 * sum(gains) / len(gains))
    assert entry.low is not None
    assert entry.high is not None
    assert 0 < entry.low < entry.value < entry.high < 100
    assert heard["swapped audio"].scores["gtzan"].value == 0.0
    shown = tables.listening_text(entry)
    assert shown in tables.listening_markdown(report.heard, report.board.columns)
    assert shown in tables.listening_latex(report.heard, report.board.columns)
    assert tables.table_as_json(report.board, report.heard)["listening"][0]["scores"]["gtzan"]["n"] == entry.n
    assert any(shown in text for text in parsed(tmp_path).shown)


def right_answers(folder: Path) -> dict[int, float]:
    rows = map(json.loads, (folder / "samples_gtzan.jsonl").read_text().splitlines())
    return {row["doc_id"]: row["readings"]["strict"]["scores"]["accuracy"] for row in rows if row["readings"]}


def test_listening_of_other_prompts_or_without_samples_says_why_there_is_none(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"gtzan": 8}), tmp_path)
    silent = make_result_folders.write(Made(rows={"gtzan": 8}, flags={"no_audio": "silence"}), tmp_path)
    samples = silent / "samples_gtzan.jsonl"
    text = samples.read_text()
    samples.write_text(text.replace('"prompt_sha256":"', '"prompt_sha256":"0'))
    assert "different prompts" in listening_of(tmp_path)
    samples.unlink()
    assert "no samples of qwen_omni (silence)" in listening_of(tmp_path)


def listening_of(folder: Path) -> str:
    report = make_report(read_cells([folder]))
    return tables.listening_markdown(report.heard, report.board.columns)


def test_runs_of_two_models_on_different_data_say_so(tmp_path: Path) -> None:
    """They share no folder and no place, but stand in one column; chosen rows have their own word."""
    make_result_folders.write(Made(rows={"gtzan": 12, "race": 9}), tmp_path / "a")
    make_result_folders.write(Made(model="whisper", rows={"gtzan": 12, "race": 9}), tmp_path / "b")
    make_result_folders.write(
        Made(model="phi", rows={"gtzan": 12, "race": 9}, flags={"samples": {"gtzan": [0]}}), tmp_path / "c"
    )
    paths = [tmp_path / name for name in "abc"]
    assert not any("(data " in label for label in labels(read_cells(paths)))
    for folder in (tmp_path / "b", tmp_path / "c"):
        results = next(folder.rglob("results.json")).parent
        manifests = json.loads((results / "results.json").read_text())["manifests"]
        manifests["gtzan"]["manifest_sha256"] = "d" * 64
        edit(results, manifests=manifests)
    phi, first, second = labels(read_cells(paths))
    assert "data" not in phi
    assert first.startswith("qwen_omni (data ")
    assert second.startswith("whisper (data ")
    assert first.split()[2:] != second.split()[2:]


def judged(parent: Path, day: str, arguments: dict[str, Any], prompt: str, fingerprint: str) -> Path:
    """Write a run of `race` whose judge had these arguments and this prompt, and return its folder."""
    flags = {"judge_model": "text_lm", "judge_args": arguments}
    folder = make_result_folders.write(Made(rows={"race": 9}, flags=flags), parent, day)
    manifests = json.loads((folder / "results.json").read_text())["manifests"]
    judge = {
        "name": "judge",
        "fingerprint_sha256": fingerprint * 64,
        "prompts_sha256": {"grade": prompt * 64},
    }
    edit(folder, manifests={"race": {**manifests["race"], "judge": judge}})
    return folder


@pytest.mark.parametrize("apart", [True, False])
def test_runs_with_other_judges_are_told_apart_by_what_differs(tmp_path: Path, apart: bool) -> None:
    """The same from a folder above them and from the runs' own folders, which are not merged."""
    cold = judged(tmp_path, DAYS[0], {"temperature": 0}, "b", "a")
    hot = judged(tmp_path, DAYS[1], {"temperature": 0.7}, "b", "c")
    paths = [cold, hot] if apart else [tmp_path]
    assert set(labels(read_cells(paths))) == {
        "qwen_omni (judge temperature=0)",
        "qwen_omni (judge temperature=0.7)",
    }
    reworded = judged(tmp_path, DAYS[2], {"temperature": 0}, "d", "a")
    found = labels(read_cells([cold, reworded] if apart else [tmp_path]))
    assert len(found) == len(set(found)) == (2 if apart else 3)
    assert all("judge prompt " in label or not apart for label in found)
    assert not any(" @ " in label for label in found)


def test_runs_with_other_generation_arguments_of_the_judge_are_not_merged(tmp_path: Path) -> None:
    for day, tokens in zip(DAYS, (9, 10, 10), strict=False):
        folder = judged(tmp_path, day, {"temperature": 0}, "b", "a")
        config = json.loads((folder / "results.json").read_text())["config"]
        edit(folder, config={**config, "judge_gen_kwargs": {"max_new_tokens": tokens}})
    assert set(labels(read_cells([tmp_path]))) == {
        "qwen_omni (judge max_new_tokens=9)",
        "qwen_omni (judge max_new_tokens=10)",
    }
