"""Tests what `show` says of a row that is asked in windows: how many, and where their answers are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.minimal_task import HEARD, write_task
from marathon_eval.cli.main import main

KEYS = (
    HEARD
    + "doc_to_choice: [one, two]\nfilter_list: [{name: strict, filter: [{function: choice}]}]\n"
    + "metric_list: [{metric: accuracy}]\nheadline: {reading: strict, metric: accuracy}\n"
)
WINDOWS = "long_audio: {window: {seconds: 2, combine: vote}}\n"


class Asked:
    """Asks `dummy` about a clip of some seconds, and shows the row of the task and of the run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def run(self, seconds: float, keys: str, *flags: str) -> None:
        soundfile.write(self.folder / "a.wav", np.full(round(1000 * seconds), 0.1), 1000)
        self.task = write_task(self.folder, keys, [{"q": "?", "a": "A", "path": "a.wav"}])
        self.where = ["--data_dir", str(self.folder), "--use_cache", str(self.folder / "cache")]
        command = ["--model", "dummy", "--model_args", "answer=so: A", "--tasks", str(self.task)]
        assert main([*command, "-o", str(self.folder / "out"), *self.where, *flags]) == 0

    def shown(self, what: Path, *flags: str) -> str:
        self.capsys.readouterr()
        assert main(["show", str(what), "0", *self.where, *flags]) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asked:
    return Asked(tmp_path, capsys)


def test_show_says_where_the_answers_of_windows_are(asked: Asked) -> None:
    asked.run(6, KEYS + WINDOWS)
    said = "answers  0 in the cache to the whole clip: it is asked in 3 windows; for their answers see `show RUN ROW`"
    assert said in asked.shown(asked.task)
    details = json.loads(asked.shown(asked.folder / "out", "--json"))["usage"]["details"]
    assert details["window_responses"] == ["so: A"] * 3
    shown = asked.shown(asked.folder / "out")
    assert "  | ?\nasked    3 times with this prompt, each about a window of the clip\n" in shown.replace(
        "  | \n", ""
    )
    assert "window   2 (2-4 s): 'so: A', read as 'A'\nwindow   3 (4-6 s): " in shown


def test_show_prints_what_each_window_was_asked(asked: Asked) -> None:
    ask = WINDOWS.replace("vote", "vote, ask: 'Part {part} of {parts}: {question}'")
    asked.run(4, KEYS + ask)
    shown = asked.shown(asked.folder / "out")
    assert "asked    2 times, each about a window of the clip; not as above, but as stands below\n" in shown
    assert (
        "window   2 (2-4 s) was asked\n  | Part 2 of 2: ?\nwindow   2 (2-4 s): 'so: A', read as 'A'\n"
        in shown
    )
    details = json.loads(asked.shown(asked.folder / "out", "--json"))["usage"]["details"]
    assert [prompt.splitlines()[0] for prompt in details["window_prompts"]] == [
        "Part 1 of 2: ?",
        "Part 2 of 2: ?",
    ]


def test_show_prints_what_the_notes_of_windows_were_asked_for(asked: Asked) -> None:
    asked.run(4, KEYS + WINDOWS.replace("vote", "map_reduce"))
    shown = asked.shown(asked.folder / "out")
    assert "asked    about the notes on 2 windows of the clip; each window's prompt stands below\n" in shown
    assert "window   1 (0-2 s) was asked\n  | This recording is part 1 of 2" in shown


def test_a_clip_that_is_short_enough_is_asked_as_it_is(asked: Asked) -> None:
    asked.run(2, KEYS + WINDOWS)
    assert "answers  1 in the cache\n" in asked.shown(asked.task)
    assert "window " not in asked.shown(asked.folder / "out")


def test_a_clip_that_a_flag_cut_has_no_answer_of_its_own(asked: Asked) -> None:
    asked.run(36, KEYS, "--long_audio", "window:seconds=20,combine=vote")
    assert "answers  0 in the cache to the whole clip; for those of a run that cut" in asked.shown(asked.task)
