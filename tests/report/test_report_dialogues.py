"""Tests what the page shows of dialogues: each turn behind its role, with the answers that the run itself got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.called_command import called
from helpers.minimal_task import write_task
from helpers.report_page_parser import parsed
from marathon_eval.results.files import newest_run, read_samples

KEYS = """doc_to_messages:
  - "<audio> Which one is heard?"
  - "You said {{ answers[0] }}. And now: <audio> {{ two }}"
system: Listen.
doc_to_target: "{{ [a, a] }}"
doc_to_audio: path
filter_list:
  - {name: first, turn: 1, filter: [{function: take_first}]}
  - {name: second, turn: last, filter: [{function: take_first}]}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs of one dialogue, by models that answer B and C."""
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.full(8000, 0.1 * (number + 1)), 16000)
    task = write_task(tmp_path, KEYS, [{"two": "higher?", "a": "B", "path": ["0.wav", "1.wav"]}])
    for answer in "BC":
        words = f"--model dummy --model_args answer={answer} --tasks {task} --data_dir {tmp_path} -o runs"
        done = called(words.split(), tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


def shown(answer: str) -> str:
    return (
        "[system] Listen.\n\n[user]\n<audio> Which one is heard?\n"
        f"[assistant]\n{answer}\n[user]\nYou said {answer}. And now: <audio> higher?"
    )


def test_every_turn_is_shown_with_the_answers_of_the_run(folder: Path) -> None:
    block = parsed(folder / "runs").tasks()["own"]
    texts: list[str | None] = block["texts"]
    cells: list[dict[str, Any]] = [block["cells"][number] for number in "01"]
    prompts = [texts[cell["own"].get("prompt", {}).get("0", block["prompt"][0])] for cell in cells]
    assert sorted(map(str, prompts)) == [shown("B"), shown("C")]
    answers = {texts[cell["response"][0]] for cell in cells}
    assert answers == {f"{letter}\n\n— answer to the next turn —\n\n{letter}" for letter in "BC"}
    assert len(block["doc"]) == 1, "both runs asked one document"


def test_samples_record_the_hash_of_each_turn(folder: Path) -> None:
    (row,) = read_samples(newest_run(folder / "runs"), "own")
    assert len(row["turns_sha256"]) == 2
    assert row["prompt_sha256"] not in row["turns_sha256"]
