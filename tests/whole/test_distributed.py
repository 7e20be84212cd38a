"""Tests runs by several processes: the same files as by one process, and nothing lost when one dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import distributed_run, make_audiomarathon_data, tiny_checkpoints
from marathon_eval.errors import MarathonError

REQUESTS = 120


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiomarathon_data.build(tmp_path_factory.mktemp("released"), {"race": REQUESTS})


@pytest.fixture(scope="module")
def one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process writes."""
    folder = tmp_path_factory.mktemp("one")
    distributed_run.alone(distributed_run.flags(data, folder))
    return distributed_run.files(folder / "out")


def test_accelerate_gives_the_files_of_one_process(data: Path, one: dict[str, Any], tmp_path: Path) -> None:
    done = distributed_run.accelerated(distributed_run.flags(data, tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("running 120 requests") == 1
    assert distributed_run.files(tmp_path / "out") == one
    assert len(list((tmp_path / "out").rglob("results.json"))) == 1
    # both were asked, and what the second one wrote for itself is in the one file
    assert (tmp_path / "cache" / "answers.rank-1.sqlite").exists()
    assert distributed_run.answers(tmp_path / "cache" / "answers.rank-1.sqlite") == 0
    assert distributed_run.answers(tmp_path / "cache" / "answers.sqlite") == REQUESTS


@pytest.mark.slow
def test_four_ranks_on_one_folder_then_nothing_is_asked(
    data: Path, one: dict[str, Any], tmp_path: Path
) -> None:
    found = distributed_run.ended(distributed_run.start(distributed_run.flags(data, tmp_path), 4))
    assert [code for code, _, _ in found] == [0] * 4, found
    assert [bool(out) for _, out, _ in found] == [True, False, False, False]
    assert "".join(err for _, _, err in found[1:]) == "", "progress is rank 0's"
    assert distributed_run.files(tmp_path / "out") == one
    assert rescued(data, tmp_path, one) == {"hits": REQUESTS, "misses": 0}


@pytest.mark.slow
def test_a_cached_rerun_by_several_asks_nobody(data: Path, one: dict[str, Any], tmp_path: Path) -> None:
    distributed_run.alone(distributed_run.flags(data, tmp_path))
    # were anyone asked, every answer would fail
    broken = distributed_run.flags(data, tmp_path, "dummy", "mode=random,fail_every=1")
    found = distributed_run.ended(distributed_run.start(broken))
    assert [code for code, _, _ in found] == [0, 0], found
    assert "asking" not in found[0][2]
    again = distributed_run.files(tmp_path / "out")["results.json"]
    assert again["cache"] == {"hits": REQUESTS, "misses": 0}
    assert again["tasks"] == one["results.json"]["tasks"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_launch_and_loses_no_finished_answer(
    data: Path, one: dict[str, Any], tmp_path: Path, victim: int
) -> None:
    launch = distributed_run.torchrun(
        distributed_run.flags(data, tmp_path, "dummy", "mode=random,sleep=0.11"), 2
    )
    ranks = distributed_run.children(launch[0], 2)
    distributed_run.wait_for_answers(launch, tmp_path / "cache", 4)
    os.kill(ranks[victim], signal.SIGKILL)
    finished = sum(distributed_run.answers(path) for path in (tmp_path / "cache").glob("answers*.sqlite"))
    ((code, _, _),) = distributed_run.ended(launch)
    assert code == 1
    after = rescued(data, tmp_path, one)
    # every answer was slow enough to be written at once: only those in flight are asked again
    assert finished // 2 - 2 <= after["hits"] < REQUESTS


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_an_interrupted_rank_saves_and_the_other_says_so(
    data: Path, one: dict[str, Any], tmp_path: Path, victim: int
) -> None:
    ranks = distributed_run.start(distributed_run.flags(data, tmp_path, "dummy", "mode=random,sleep=0.05"))
    distributed_run.wait_for_answers(ranks, tmp_path / "cache", 1)
    ranks[victim].send_signal(signal.SIGTERM)
    found = distributed_run.ended(ranks)
    assert found[victim][0] == 143, found
    assert found[1 - victim][0] == 2
    assert "the same command goes on from here" in found[1 - victim][2]
    assert "Traceback" not in found[0][2] + found[1][2]
    assert rescued(data, tmp_path, one)["hits"] >= 2


def rescued(data: Path, folder: Path, one: dict[str, Any]) -> dict[str, int]:
    """Finish by one process: the undisturbed run's scores; its hits and misses."""
    distributed_run.alone(distributed_run.flags(data, folder))
    found = distributed_run.files(folder / "out")["results.json"]
    assert found["tasks"] == one["results.json"]["tasks"]
    counts: dict[str, int] = found["cache"]
    assert sum(counts.values()) == REQUESTS
    return counts


def test_failures_and_no_cache_come_over_too(data: Path, tmp_path: Path) -> None:
    """Every 7th request of each process fails; what is not kept must still be told."""
    arguments = distributed_run.flags(data, tmp_path, "dummy", "mode=random,fail_every=7", "--no_cache")
    arguments[arguments.index("--use_cache") : arguments.index("--use_cache") + 2] = []
    found = distributed_run.ended(distributed_run.start(arguments))
    assert [code for code, _, _ in found] == [3, 3], found
    task = distributed_run.files(tmp_path / "out")["results.json"]["tasks"]["race"]
    assert task["n_errors"] == 2 * (REQUESTS // 2 // 7)
    assert task["n_scored"] == REQUESTS - task["n_errors"]
    assert not list(tmp_path.rglob("answers*"))


STOPS = """
import os
from marathon_eval import Model, Response

class Stops(Model):
    def generate(self, requests):
        for number, request in enumerate(requests):
            failed = os.environ.get("RANK") == "1" and number >= 6
            yield request, (Response.failed("out of memory") if failed else Response("A"))
"""


@pytest.mark.slow
def test_what_was_answered_before_a_follower_stopped_is_kept(data: Path, tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(STOPS)
    arguments = distributed_run.flags(data, tmp_path, str(tmp_path / "stops.py"), "")
    found = distributed_run.ended(distributed_run.start(arguments))
    assert [code for code, _, _ in found] == [2, 2], found
    assert "process 1: " in found[0][2]
    assert "10 requests in a row failed with the same reason: out of memory" in found[0][2]
    distributed_run.alone(arguments)
    counts = distributed_run.files(tmp_path / "out")["results.json"]["cache"]
    assert counts == {"hits": REQUESTS // 2 + 6, "misses": REQUESTS // 2 - 6}


@pytest.mark.slow
def test_failures_are_asked_again_by_all(data: Path, one: dict[str, Any], tmp_path: Path) -> None:
    """The third request of each process fails, once."""
    arguments = distributed_run.flags(data, tmp_path, "dummy", "mode=random,fail_at=3", "--retry_errors")
    found = distributed_run.ended(distributed_run.start(arguments))
    assert [code for code, _, _ in found] == [0, 0], found
    assert "running 2 requests" in found[0][2]
    assert distributed_run.files(tmp_path / "out")["results.json"]["tasks"] == one["results.json"]["tasks"]


@pytest.mark.slow
def test_two_shared_runs_at_once_on_one_folder(data: Path, one: dict[str, Any], tmp_path: Path) -> None:
    flags = distributed_run.flags(data, tmp_path, "dummy", "mode=random,sleep=0.02")
    runs = [distributed_run.start(flags) for _ in range(2)]
    for run in runs:
        found = distributed_run.ended(run)
        assert [code for code, _, _ in found] == [0, 0], found
    assert rescued(data, tmp_path, one) == {"hits": REQUESTS, "misses": 0}
    assert distributed_run.answers(tmp_path / "cache" / "answers.sqlite") == REQUESTS


MISTAKES = {
    "device_map": ("dummy", "device_map=auto", "lays one model over all GPUs, and 2 processes were launched"),
    "device": ("dummy", "device=cuda:1", "cuda:1: is one device, and 2 processes were launched"),
    "model": ("dummi", "mode=random", "dummi"),
}


@pytest.mark.parametrize(
    "mistake", ["device_map", *(pytest.param(name, marks=pytest.mark.slow) for name in ("device", "model"))]
)
def test_a_mistake_is_one_line_of_one_process(data: Path, tmp_path: Path, mistake: str) -> None:
    model, args, said = MISTAKES[mistake]
    found = distributed_run.ended(distributed_run.start(distributed_run.flags(data, tmp_path, model, args)))
    assert [code for code, _, _ in found] == [2, 2], found
    assert said in found[0][2]
    assert found[0][2].count("\n") == 1
    assert found[1][1:] == ("", "")


@pytest.mark.slow
def test_a_dry_run_refuses_what_the_run_would(data: Path, tmp_path: Path) -> None:
    ranks = distributed_run.start(
        distributed_run.flags(data, tmp_path, "dummy", "device_map=auto", "--dry_run")
    )
    found = distributed_run.ended(ranks)
    assert [code for code, _, _ in found] == [2, 2], found
    assert "2 processes were launched" in found[0][2]


@pytest.mark.slow
def test_what_one_rank_lacks_is_said_by_the_leader(data: Path, tmp_path: Path) -> None:
    """Its own cache file cannot be opened: a folder stands in its place."""
    ranks = distributed_run.start(distributed_run.flags(data, tmp_path, "dummy", "mode=random,sleep=0.05"))
    (tmp_path / "cache" / "answers.rank-1.sqlite").mkdir(parents=True)
    found = distributed_run.ended(ranks)
    assert [code for code, _, _ in found] == [2, 2], found
    assert "answers.rank-1.sqlite" in found[0][2]


def cells(out: Path) -> dict[str, Any]:
    """Every cell's files by its press and ratio, and sweep.json."""
    found = {"sweep.json": distributed_run.timeless(json.loads((out / "sweep.json").read_text()))}
    for path in sorted(out.rglob("results.json")):
        result = json.loads(path.read_text())
        found[json.dumps(result["fingerprint"]["press"])] = distributed_run.files(path.parent)
    return found


SWEEP = ["--presses", "none,dart,snapkv", "--ratios", "0.5", "--layers", "1"]


@pytest.mark.slow
def test_a_sweep_by_two_gives_the_cells_of_one_process(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"race": 6}, seconds=2.0)
    args = f"pretrained={tiny_checkpoints.make_qwen_omni(tmp_path / 'weights')},device=cpu"
    distributed_run.alone(
        ["sweep", *distributed_run.flags(data, tmp_path / "one", "qwen_omni", args), *SWEEP]
    )
    two = ["sweep", *distributed_run.flags(data, tmp_path / "two", "qwen_omni", args), *SWEEP]
    found = distributed_run.ended(distributed_run.start(two), 200)
    assert [code for code, _, _ in found] == [0, 0], found
    assert cells(tmp_path / "two" / "out") == cells(tmp_path / "one" / "out")
    # as for a run, both wrote what they were asked, and it is in one file
    counts = [
        distributed_run.answers(path) for path in sorted((tmp_path / "two" / "cache").glob("answers*.sqlite"))
    ]
    assert counts == [0, 0, 18]


@pytest.mark.slow
def test_accelerate_on_the_cpu_says_that_it_started_one(data: Path, tmp_path: Path) -> None:
    command = ["--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    arguments = ["-m", "marathon_eval", *distributed_run.flags(data, tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *command, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "`accelerate launch --cpu` starts one process" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra", ["", ",batch_size=2", ",press=dart,ratio=0.5,layer=1", ",press=snapkv,ratio=0.5"]
)
def test_a_listening_model_gives_the_files_of_one_process(tmp_path: Path, extra: str) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"race": 12}, seconds=2.0)
    weights = tiny_checkpoints.make_qwen_omni(tmp_path / "weights")
    args = f"pretrained={weights},device=cpu{extra}"
    distributed_run.alone(distributed_run.flags(data, tmp_path / "one", "qwen_omni", args))
    done = distributed_run.accelerated(distributed_run.flags(data, tmp_path / "two", "qwen_omni", args))
    assert done.returncode == 0, done.stderr
    assert distributed_run.files(tmp_path / "two" / "out") == distributed_run.files(tmp_path / "one" / "out")


def test_more_processes_than_gpus_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from marathon_eval.evaluator.workers.launched import Ranks
    from marathon_eval.evaluator.workers.shares import take_device

    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    take_device("auto", Ranks(5, 8, 1))
    take_device("cpu", Ranks(5, 8, 2))
    assert taken == [1]
    with pytest.raises(MarathonError, match="process 3 of its node, which has 2 GPUs"):
        take_device(None, Ranks(6, 8, 2))
