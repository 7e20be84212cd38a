"""Weights that change between their hash and their loading are refused: nothing is stored under the earlier hash."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import soundfile

from helpers.minimal_task import HEARD, write_task
from helpers.tiny_press_run import noise
from marathon_eval import simple_evaluate
from marathon_eval.backends.hf.weights import SHIPPED
from marathon_eval.cache.database import TABLE
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.requests import Progress


class Between(Progress):
    """Does something when the requests are known and no weights are loaded."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act

    def start(self, hits: int, misses: int, seconds: float) -> None:
        self.act()


def run(place: Path, act: Callable[[], None] = lambda: None) -> list[str]:
    """Answer a row by a copy of the demonstration model; `act` runs between the hash and the loading."""
    if not (place / "copy").is_dir():
        shutil.copytree(SHIPPED / "nano", place / "copy")
        soundfile.write(place / "clip.wav", noise(1.0), 16000)
        write_task(
            place, HEARD + "output_type: generate_until\n", [{"q": "Is it?", "a": "A", "path": "clip.wav"}]
        )
    arguments = {"pretrained": str(place / "copy"), "device": "cpu"}
    made = simple_evaluate(
        "qwen_omni",
        [str(place / "own.yaml")],
        model_args=arguments,
        use_cache=str(place / "cache"),
        progress=Between(act),
    )
    return [sample.response for sample in made.samples["own"]]


def rewrite(file: Path) -> Callable[[], None]:
    return lambda: (file.write_text(file.read_text() + " "), None)[1]


@pytest.mark.parametrize("file", ["config.json", "chat_template.jinja"])
def test_a_checkpoint_that_changes_until_it_is_loaded_is_refused(tmp_path: Path, file: str) -> None:
    said = r"--model qwen_omni: copy: changed while the model was loaded \((chat_template, )?weights\)"
    with pytest.raises(MarathonError, match=said):
        run(tmp_path, lambda: rewrite(tmp_path / "copy" / file)())
    with closing(sqlite3.connect(tmp_path / "cache" / "answers.sqlite")) as connection:
        keys = [key for (key,) in connection.execute(f"SELECT key FROM {TABLE}")]
    assert not any(key.startswith("response/") for key in keys)
    assert run(tmp_path) == run(tmp_path)


def test_a_file_that_is_written_again_unchanged_is_no_change(tmp_path: Path) -> None:
    run(tmp_path)
    config = tmp_path / "copy" / "config.json"
    shutil.rmtree(tmp_path / "cache")
    run(tmp_path, lambda: (config.write_text(config.read_text()), None)[1])
