"""Tests that a run asked otherwise, or on fewer rows, replaces no other run's score, by the commands that users type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.minimal_task import HEARD, write_task
from marathon_eval.cli.main import main
from marathon_eval.results.files import newest_run, read_results

LISTENER = '''
from marathon_eval.api.model import Model, ModelSettings, Response


class Listener(Model):
    """Says A to sound, B to silence, C without audio, and D if it may say one token only."""

    Settings = ModelSettings

    def generate(self, requests):
        for request in requests:
            heard = [abs(audio.samples(16000)).max() > 0 for audio in request.audios]
            said = "C" if not heard else "A" if heard[0] else "B"
            yield request, Response("D" if request.generation.max_new_tokens == 1 else said)
'''
KEYS = f"""\
{HEARD}filter_list:
  - {{name: strict, filter: [{{function: take_first}}]}}
metric_list:
  - {{metric: accuracy, filter_list: strict}}
headline: {{reading: strict, metric: accuracy, scale: 100}}
subsets: {{few: {{drop: [{{fields: {{a: B}}}}]}}, all: {{}}}}
"""
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run("--limit", "2")` runs the listener on six rows, of which sound has two right and silence four."""
    (tmp_path / "listener.py").write_text(LISTENER)
    for number in range(6):
        noise = np.random.default_rng(number).normal(size=4000 + 240 * number) * 0.1
        soundfile.write(tmp_path / f"{number}.wav", noise, 16000)
    rows = [{"q": f"{n}?", "a": gold, "path": f"{n}.wav"} for n, gold in enumerate("AABBBB")]
    task = write_task(tmp_path, KEYS, rows)

    def flags(*more: str, model: str = str(tmp_path / "listener.py"), verb: str = "run") -> int:
        given = ["--model", model, "--tasks", str(task), "--data_dir", str(tmp_path)]
        return main([verb, *given, "-o", str(tmp_path / "out"), "--no_cache", *more])

    return flags


@pytest.mark.parametrize(
    ("flags", "label", "score"),
    [
        (("--limit", "2"), "limit 2", "100.0 n=2 of 6"),
        (("--no_audio", "silence"), "silence", "66.7"),
        (("--no_audio", "none"), "no audio", "0.0"),
        (("--swap_audio",), "swapped audio", "33.3"),
        (("--transform", "speed:factor=1.2"), "transform speed:factor=1.2", "33.3"),
        (("--subset", "few"), "subset few", "100.0 n=2"),
        (("--max_seconds", "0.27"), "up to 0.27 s", "100.0 n=2"),
        (("--min_seconds", "0.27"), "from 0.27 s", "0.0 n=4"),
        (("--min_seconds", "0.1", "--max_seconds", "0.27"), "0.1 to 0.27 s", "100.0 n=2"),
        (("--gen_kwargs", "max_new_tokens=1"), "max_new_tokens=1", "0.0"),
        (("--samples", '{"own": [0]}'), None, "100.0 n=1 of 6"),
    ],
)
def test_a_later_run_asked_otherwise_replaces_nothing(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    label: str,
    score: str,
) -> None:
    assert run() == 0
    assert run(*flags) == 0
    capsys.readouterr()
    assert main(["leaderboard", str(tmp_path / "out")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| **")]
    assert rows[0] == "| **listener** | 33.3 |"
    name = "listener (rows " if label is None else f"listener ({label})"
    assert len(rows) == 2
    assert rows[1].startswith(f"| **{name}".replace("_", r"_"))
    assert rows[1].endswith(f"| {score} |")


def test_condition_and_selection_stand_in_results_folder_and_list(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--no_audio", "silence", "--limit", "2", "--gen_kwargs", "max_new_tokens=9") == 0
    printed = capsys.readouterr().out
    assert "listener, silence, max_new_tokens=9, limit 2" in printed
    assert "2 of 6" in printed
    folder = newest_run(tmp_path / "out")
    assert folder.parent.name.startswith("listener_silence_max-new-tokens=9_limit-2__")
    results = read_results(folder)
    assert results["condition"] == {"audio": "silence", "gen_kwargs": {"max_new_tokens": 9}}
    assert results["selection"] == {
        "subset": None,
        "limit": 2,
        "samples": None,
        "tasks": {"own": {"subset": None, "n": 2, "of": 6}},
    }
    assert main(["ls", "runs", str(tmp_path / "out")]) == 0
    head, task = capsys.readouterr().out.splitlines()
    assert head.startswith(results["started"])
    assert "listener (silence, max_new_tokens=9, limit 2)" in head
    assert str(folder) in head
    assert task.split() == ["own", "n=2", "of", "6", "strict", "accuracy", "0.0"]


def test_flags_that_change_nothing_leave_no_mark(run: Run, tmp_path: Path) -> None:
    """A limit above the task's rows leaves no row out, and `--gen_kwargs` of nothing changes nothing."""
    assert run("--limit", "50") == 0
    results = read_results(tmp_path / "out")
    assert results["condition"] == {}
    assert results["selection"]["limit"] is None
    assert newest_run(tmp_path / "out").parent.name == f"listener__{results['fingerprint_sha256'][:8]}"


def test_a_changed_prompt_of_the_same_task_is_another_row(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    task = tmp_path / "own.yaml"
    task.write_text(task.read_text().replace("doc_to_text: q", 'doc_to_text: "Listen. {{ q }}"'))
    assert run() == 0
    capsys.readouterr()
    assert main(["leaderboard", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("listener (prompts ") == 2


def test_scoring_again_keeps_condition_and_selection(run: Run, tmp_path: Path) -> None:
    assert run("--no_audio", "silence", "--limit", "2") == 0
    before = read_results(tmp_path / "out")
    folders = ["--data_dir", str(tmp_path), "--include_path", str(tmp_path)]
    assert main(["score", str(tmp_path / "out"), "-o", str(tmp_path / "again"), *folders]) == 0
    after = read_results(tmp_path / "again")
    assert all(after[key] == before[key] for key in ("condition", "selection", "manifests"))


def test_a_sweep_says_its_condition_and_selection(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--presses", "none", "--no_audio", "silence", "--limit", "2")
    assert run(*flags, model="dummy", verb="sweep") == 0
    printed = capsys.readouterr().out
    assert "silence, limit 2" in printed
    assert "n=2 of 6" in printed
    table = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert table["condition"] == {"audio": "silence"}
    assert table["selection"]["limit"] == 2


def test_compare_names_the_condition_of_each_side(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    assert run("--no_audio", "silence") == 0
    plain, silent = sorted((tmp_path / "out").iterdir(), key=lambda path: len(path.name))
    capsys.readouterr()
    assert main(["compare", str(plain), str(silent)]) == 0
    printed = capsys.readouterr().out
    assert f"A: listener ({newest_run(plain)})" in printed
    assert f"B: listener, silence ({newest_run(silent)})" in printed


def test_a_folder_is_named_with_runs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "runs"]) == 2
    assert "ls runs: give the folder to list the runs of" in capsys.readouterr().err
    assert main(["ls", "tasks", "out"]) == 2
    assert "no task 'out'" in capsys.readouterr().err
