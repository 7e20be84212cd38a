"""Tests sweeps: the cells of a grid, the cache shared with runs, and continuing after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers import tiny_checkpoints
from helpers.killable_command import stored
from helpers.multi_question_task import QUESTIONS, Taken, config, data
from marathon_eval.backends.hf import adapter
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.simple import SWEEP_CELL_COLUMNS, SweepRuns
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell, cells_of, parse_ratios
from marathon_eval.evaluator.sweep_costs import Costs
from marathon_eval.evaluator.sweep_table import SweepTable, TaskCell, three_figures
from marathon_eval.models.qwen_omni import QwenOmni


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


def test_sweep_and_run_share_the_cache(checkpoint: Path, tmp_path: Path) -> None:
    folder, cache = data(tmp_path), tmp_path / "cache"
    before = evaluate(config(folder, checkpoint, cache, press="knorm", ratio=0.3))
    taken, grid = Taken(), Grid(("none", "knorm"), (0.3, 0.8))
    sweep(config(folder, checkpoint, cache), grid, taken)
    assert taken["knorm 0.3"].cache == {"hits": 6, "misses": 0}
    assert taken["knorm 0.3"].samples["heard"] == [
        replace(one, cached=True) for one in before.samples["heard"]
    ]
    assert taken["knorm 0.8"].cache == {"hits": 0, "misses": 6}
    after = evaluate(config(folder, checkpoint, cache, press="knorm", ratio=0.8))
    assert after.cache == {"hits": 6, "misses": 0}


def test_a_finished_sweep_loads_no_weights(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, grid = config(data(tmp_path), checkpoint, tmp_path / "cache"), Grid(("none", "frame"), (0.5,))
    first, second = Taken(), Taken()
    sweep(run, grid, first)
    monkeypatch.setattr(adapter.HFAudio, "generate", None)
    sweep(run, grid, second)
    assert {label: result.tasks for label, result in first.items()} == {
        label: result.tasks for label, result in second.items()
    }


def test_batches_hold_several_clips(checkpoint: Path, tmp_path: Path) -> None:
    taken, grid = Taken(), Grid(("none", "frame", "knorm"), (0.5,))
    assert sweep(
        config(data(tmp_path, clips=3, questions=QUESTIONS[:1]), checkpoint, tmp_path / "c", batch_size=2),
        grid,
        taken,
    )
    batches = [one.usage["details"]["batch"] for one in taken["frame 0.5"].samples["heard"]]
    assert sorted(batches) == [1, 2, 2]
    assert all(result.whole for result in taken.values())


def test_a_failed_row_is_an_error_in_its_cells(checkpoint: Path, tmp_path: Path) -> None:
    folder = data(tmp_path)
    (folder / "1.wav").write_bytes(b"no sound")
    taken = Taken()
    assert sweep(config(folder, checkpoint, tmp_path / "cache"), Grid(("none", "frame"), (0.5,)), taken)
    assert [result.tasks["heard"].n_errors for result in taken.values()] == [3, 3]


def test_the_table_says_why_rows_failed_and_in_which_cells(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, grid = data(tmp_path), ("--presses", "none,frame", "--ratios", "0.5")
    assert main(flags(folder, checkpoint, tmp_path / "whole", *grid)) == 0
    assert "INCOMPLETE" not in capsys.readouterr().out
    (folder / "1.wav").write_bytes(b"no sound")
    assert main(flags(folder, checkpoint, tmp_path / "cut", *grid)) == 3
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("INCOMPLETE: rows failed, and are not in the scores.")
    assert lines[place + 1].startswith("  6 failed (heard [none] 3, heard [frame 0.5] 3): ")
    assert "1.wav" in lines[place + 1]


def test_the_grid() -> None:
    args = {"pretrained": "somewhere", "evict": "prompt", "cut": "head"}
    made = cells_of(
        RunConfig(model="qwen_omni", tasks=("race",), model_args=args),
        Grid(("truncate", "none", "knorm"), (0.1, 0.5), (2, 4)),
    )
    assert [cell.label for cell in made] == [
        "none",
        *("truncate L2 0.1", "truncate L2 0.5", "truncate L4 0.1", "truncate L4 0.5"),
        *("knorm 0.1", "knorm 0.5"),
    ]
    assert made[0].config.model_args == {"pretrained": "somewhere"}
    assert made[1].config.model_args == {
        "pretrained": "somewhere",
        "cut": "head",
        "press": "truncate",
        "layer": 2,
        "ratio": 0.1,
    }
    assert made[-1].evict == "prompt"


@pytest.mark.parametrize(
    ("text", "ratios"),
    [
        ("0.1:0.9:0.2", (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("0.1:0.9:0.1", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
        ("0.5, 0.25,0.5", (0.5, 0.25)),
        ("0.1:0.45:0.2", (0.1, 0.3)),
    ],
)
def test_ratios(text: str, ratios: tuple[float, ...]) -> None:
    assert parse_ratios(text) == ratios


@pytest.mark.parametrize(
    "text", ["half", "0.1:0.9", "0.1:0.9:0", "0.1:0.9:-0.1", "0.5,1", "0,0.5", "nan", "0.1:inf:0.1"]
)
def test_wrong_ratios(text: str) -> None:
    with pytest.raises(MarathonError, match="--ratios"):
        parse_ratios(text)


@pytest.mark.parametrize(
    ("args", "presses", "message"),
    [
        ({"ratio": 0.5}, ("knorm",), "ratio= is what a sweep varies"),
        ({"windw": 3}, ("knorm",), "nor any of the presses takes 'windw'"),
        ({}, ("knrom",), "Did you mean knorm"),
        ({}, (), "names no press"),
    ],
)
def test_wrong_grids(args: dict[str, Any], presses: tuple[str, ...], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        cells_of(RunConfig(model="qwen_omni", tasks=("race",), model_args=args), Grid(presses, (0.5,)))


def flags(folder: Path, checkpoint: Path, cache: Path, *more: str) -> list[str]:
    args = f"pretrained={checkpoint},device=cpu"
    asked = ["--model", "qwen_omni", "--model_args", args, "--tasks", str(folder / "heard.yaml")]
    return ["sweep", *asked, "--data_dir", str(folder), "--use_cache", str(cache), *more]


def test_the_command_writes_a_table_and_ordinary_folders(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = data(tmp_path), tmp_path / "out"
    grid = ("--presses", "none,frame,knorm", "--ratios", "0.5,0.9", "--output_path", str(out))
    assert main(flags(folder, checkpoint, tmp_path / "cache", *grid)) == 0
    printed = capsys.readouterr().out
    assert "frame 0.9" in printed
    assert "30 responses requested, 0 from the cache" in printed
    kept = json.loads((out / "sweep.json").read_text())
    assert [cell["label"] for cell in kept["cells"]] == [
        "none",
        "frame 0.5",
        "frame 0.9",
        "knorm 0.5",
        "knorm 0.9",
    ]
    row = kept["tasks"]["heard"]["frame 0.9"]
    assert row["kept"] == pytest.approx(0.1, abs=0.02)
    assert 0 < row["kv_bytes"] < kept["tasks"]["heard"]["none"]["kv_bytes"]
    assert kept["tasks"]["heard"]["knorm 0.9"]["kv_bytes"] < kept["tasks"]["heard"]["knorm 0.5"]["kv_bytes"]
    assert "KV MB" in printed
    assert row["difference"]["n_paired"] == 6
    assert row["difference"]["readings"]["strict"]["metrics"]["accuracy"]["difference"] == 0.0
    assert main(["compare", kept["cells"][0]["folder"], kept["cells"][1]["folder"]]) == 0
    assert main(["report", str(out), "-o", str(tmp_path / "report.html")]) == 0


def test_holm_is_over_the_cells_of_a_task() -> None:
    """Three cells against the uncompressed one: each p times three, at most."""
    from helpers.make_result_folders import Made, fabricate

    table, tests = SweepTable(), dict[str, TaskCell]()
    for label, press, skill in (
        ("none", None, 0.95),
        ("a", "dart", 0.2),
        ("b", "frame", 0.3),
        ("c", "knorm", 0.9),
    ):
        made = fabricate(
            Made(press=press, ratio=0.5 if press else 0.0, skill=skill, rows={"gtzan": 60}, seed=len(tests))
        )
        cell = SweepCell(
            label,
            press,
            0.5 if press else None,
            RunConfig("qwen_omni", ("gtzan",)),
            QwenOmni(QwenOmni.Settings()),
            "",
            {},
        )
        table.add(cell, made, None)
        tests[label] = table.tasks["gtzan"][label]
    before = [one.difference.readings["strict"].discordance.p for one in tests.values() if one.difference]  # type: ignore[union-attr]
    table.finish()
    after = [one.difference.readings["strict"].discordance.holm_p for one in tests.values() if one.difference]  # type: ignore[union-attr]
    assert min(after) == pytest.approx(min(1.0, 3 * min(before)))
    assert max(after) >= max(before)


#: A sweep that tells each answer of the model to the file named first, before anything can keep it.
LOGGED = """
import sys
from marathon_eval.backends.hf import adapter
from marathon_eval.cli.main import main

original = adapter.HFAudio.answer

def answer(self, loaded, requests, inputs):
    responses = original(self, loaded, requests, inputs)
    with open(sys.argv[1], "a") as log:
        log.writelines(f"{self.press} {one.prompt} {one.audios[0].path}\\n" for one in requests)
    return responses

adapter.HFAudio.answer = answer
sys.exit(main(sys.argv[2:]))
"""
#: What the cache may lose: it commits after so many answers at the latest.
IN_FLIGHT = 32


def test_kill_9_twice(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The third start ends with the table of an undisturbed sweep; a kill costs at most the answers in flight."""
    folder, log, cache = data(tmp_path, clips=7), tmp_path / "log", tmp_path / "killed"
    grid = ("--presses", "none,frame,knorm", "--ratios", "0.3,0.6", "--json")
    cells, log_length = 5 * 21, 0

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LOGGED, str(log), *flags(folder, checkpoint, cache, *grid)]
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def told_of() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    for kill in range(2):
        before, process = stored(cache), start()
        while len(told_of()) < log_length + IN_FLIGHT + 8:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        answers = len(told_of()) - log_length
        log_length += answers
        assert answers - (stored(cache) - before) <= IN_FLIGHT, kill
    kept = stored(cache)
    third = json.loads(start().communicate()[0])
    assert len(set(told_of())) == cells
    assert len(told_of()) - cells == log_length - kept <= 2 * IN_FLIGHT
    assert sum(cell["cache"]["hits"] for cell in third["cells"]) == kept
    assert sum(cell["cache"]["misses"] for cell in third["cells"]) == cells - kept
    capsys.readouterr()
    assert main(flags(folder, checkpoint, tmp_path / "whole", *grid)) == 0
    undisturbed = json.loads(capsys.readouterr().out)
    for label, row in undisturbed["tasks"]["heard"].items():
        other = third["tasks"]["heard"][label]
        assert {name: row[name] for name in ("score", "ci95", "coverage", "kept", "difference")} == {
            name: other[name] for name in ("score", "ci95", "coverage", "kept", "difference")
        }


def test_audio_tokens_without_kept_tokens_show_no_share() -> None:
    costs = Costs()
    costs.add({"status": "ok", "usage": {"audio_tokens": 100}})
    assert costs.kept_share() is None
    costs.add({"status": "ok", "usage": {"audio_tokens": 100, "kept_tokens": 25}})
    assert costs.kept_share() == 0.25


def test_the_size_of_the_cache_is_a_mean_over_answers() -> None:
    costs = Costs()
    assert costs.mean_kv_bytes() is None
    costs.add({"status": "error", "usage": {"kv_bytes": 9}})
    for size in (1_000_000, 2_000_000):
        costs.add({"status": "ok", "usage": {"kv_bytes": size}})
    assert costs.mean_kv_bytes() == 1_500_000
    assert [three_figures(number) for number in (0, 0.00123, 1.5, 14.56, 2048.4)] == [
        *("0", "0.00123", "1.50", "14.6", "2048"),
    ]


def test_a_table_of_a_sweep_has_what_a_press_saves() -> None:
    cell = {"score": 50.0, "ci95": None, "kept": 0.5, "n": 6, "difference": None, "scale": 100.0}
    cost = {"kv_bytes": 1000.0, "measured_speedup": 2.0}
    stages = {"encode_s": 0.5, "prefill_s": 1.0, "decode_s": None}
    table = {
        "cells": [{"label": "none", "press": None, "ratio": None}],
        "tasks": {"own": {"none": {**cell, **cost, "seconds": stages}}},
    }
    (record,) = SweepRuns(table=table).records()
    assert (record["kv_bytes"], record["seconds"], record["speed_up"]) == (1000.0, 1.5, 2.0)
    assert set(record) == set(SWEEP_CELL_COLUMNS)


def timed_row(doc_id: int, seconds: float, session: str | None, **details: Any) -> dict[str, Any]:
    more = details if session is None else {"session": session, **details}
    return {"doc_id": doc_id, "status": "ok", "usage": {"prefill_s": seconds, "details": more}}


def costs_of(*rows: dict[str, Any]) -> Costs:
    costs = Costs()
    for row in rows:
        costs.add(row)
    return costs


def test_a_speedup_compares_the_documents_that_both_answered() -> None:
    """The uncompressed model runs out of memory on the long clips; the press is twice as fast on the others."""
    base = costs_of(
        *(timed_row(doc, 2.0, "s") for doc in range(6)), {"doc_id": 6, "status": "error", "usage": {}}
    )
    cell = costs_of(*(timed_row(doc, 1.0, "s") for doc in range(6)), timed_row(6, 40.0, "s"))
    assert cell.speedup(base) == 2.0


def test_seconds_of_different_sessions_are_not_compared() -> None:
    cell = costs_of(timed_row(0, 1.0, "today"), timed_row(1, 1.0, "today"))
    assert cell.speedup(costs_of(timed_row(0, 9.0, "yesterday"), timed_row(1, 3.0, "today"))) == 3.0
    assert cell.speedup(costs_of(timed_row(0, 9.0, "yesterday"), timed_row(1, 9.0, "yesterday"))) is None
    assert cell.speedup(costs_of(timed_row(0, 9.0, None), timed_row(1, 9.0, None))) is None  # an older cache


def test_a_warm_up_counts_only_where_nothing_else_was_timed() -> None:
    base = costs_of(timed_row(0, 50.0, "s", warm_up=True), timed_row(1, 2.0, "s"))
    assert costs_of(timed_row(0, 1.0, "s"), timed_row(1, 1.0, "s")).speedup(base) == 2.0
    assert costs_of(timed_row(0, 1.0, "s")).speedup(base) == 50.0
