"""Tests doctor on rows that lie beside the YAML of a user's task: each file is read once, and nothing unsaid is expected."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from marathon_eval.cli.main import main
from marathon_eval.cli.verbs.doctor import length_text

CLIPS, RATE = 4, 8000
OPEN = """\
task: open
dataset_path: json
dataset_kwargs: {data_files: open.json}
doc_to_audio: path
doc_to_text: "{{ question }}"
doc_to_choice: ["{{ choice_a }}", "{{ choice_b }}"]
doc_to_target: answer
"""
SAID = """\
task: said
dataset_path: csv
dataset_kwargs: {data_files: said.csv}
doc_to_audio: path
doc_to_text: Write what is said.
doc_to_target: text
metric_list: [{metric: wer, normalizer: none}]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    tasks = tmp_path / "own" / "tasks"
    tasks.mkdir(parents=True)
    for number in range(CLIPS):
        noise = np.random.default_rng(number).normal(0, 0.1, 4 * RATE)
        soundfile.write(tasks / f"{number}.wav", noise, RATE)
    rows = [
        {"path": f"{number}.wav", "question": "What?", "choice_a": "dog", "choice_b": "cat", "answer": letter}
        for number, letter in zip(range(CLIPS), "ABAB", strict=True)
    ]
    (tasks / "open.json").write_text(json.dumps(rows))
    (tasks / "said.csv").write_text(
        "path,text\n" + "".join(f"{number}.wav,word {number}\n" for number in range(CLIPS))
    )
    (tasks / "open.yaml").write_text(OPEN)
    (tasks / "said.yaml").write_text(SAID)
    return tmp_path / "own"


def checked(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[str]]:
    code = main(["doctor", *map(str, words)])
    printed = capsys.readouterr()
    assert not printed.err
    return code, printed.out.splitlines()


@pytest.mark.parametrize("task", ["open", "said"])
def test_rows_beside_the_yaml_are_read_once(task: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--tasks", task, "--include_path", own], ["--tasks", own / "tasks" / f"{task}.yaml"]):
        code, lines = checked(capsys, own, *words)
        assert (code, lines) == (0, [f"rows: {task} 4", "audio: 4 files, 16 s", "no fault found"])


def test_links_to_the_folder_and_to_its_files_count_nothing_twice(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own.parent / "folder"
    folder.symlink_to(own)
    files = own / "files"
    files.mkdir()
    for file in (own / "tasks").iterdir():
        (files / file.name).symlink_to(file)
    for root, yaml in ((folder, folder / "tasks"), (folder, own / "tasks"), (own, files)):
        code, lines = checked(capsys, root, "--tasks", yaml / "open.yaml")
        assert (code, lines) == (0, ["rows: open 4", "audio: 4 files, 16 s", "no fault found"])


def test_a_fault_of_such_a_row_is_told_once_with_its_place(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads((own / "tasks" / "open.json").read_text())
    rows[2]["answer"] = "horse"
    (own / "tasks" / "open.json").write_text(json.dumps(rows))
    code, lines = checked(capsys, own, "--tasks", "open", "--include_path", own)
    assert code == 3
    assert Counter(line.split(":")[0] for line in lines)["error    gold_not_an_option"] == 1
    assert any("tasks/open.json#2" in line for line in lines)


def test_the_tasks_of_a_folder_are_found_by_the_files_beside_their_yaml(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = checked(capsys, own, "--include_path", own)
    assert (code, lines[0], lines[-1]) == (0, "rows: open 4, said 4", "no fault found")


def test_short_clips_break_no_promise_that_nobody_made(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, own) == (0, ["rows: open 4", "audio: 4 files, 16 s", "no fault found"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (16, "16 s"), (150, "2.5 min"), (3600, "1.00 h"), (90000, "25.00 h")],
)
def test_a_total_is_told_in_the_unit_of_its_size(seconds: float, text: str) -> None:
    assert length_text(seconds) == text
