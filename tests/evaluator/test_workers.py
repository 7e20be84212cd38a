"""Tests runs whose requests Ray workers answer: the same results as in one process, also when workers die."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeWav
from helpers import worker_runs
from helpers.killable_command import stored
from helpers.minimal_task import HEARD, write_task
from helpers.worker_runs import asked, make_task, run, statuses
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Model, Request
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cli.verbs._workers import add_worker_arguments, worker_plan
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import build_model, evaluate
from marathon_eval.evaluator.sweep import sweep, units
from marathon_eval.evaluator.sweep_cells import Grid
from marathon_eval.evaluator.workers.actor import Answered, RayWorker
from marathon_eval.evaluator.workers.asking import cells_through, judge_through, through
from marathon_eval.evaluator.workers.cluster import WorkerPlan
from marathon_eval.evaluator.workers.pool import AHEAD, in_pool
from marathon_eval.evaluator.workers.worker import CellAnswer, Job, Unit
from marathon_eval.models.cascade import Cascade
from marathon_eval.models.dummy import Dummy
from marathon_eval.results.compressed_samples import samples_text

ROWS = 24


@pytest.fixture(scope="module")
def ray_here() -> Iterator[WorkerPlan]:
    """Two workers; Ray starts with the first pool and ends after the last test of this module."""
    yield WorkerPlan(2)
    import ray

    ray.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_task(tmp_path, ROWS)
    return tmp_path


def test_workers_give_the_samples_of_one_process_and_nothing_is_asked_twice(
    folder: Path, ray_here: WorkerPlan
) -> None:
    found = run(folder, ray_here)
    assert Counter(asked(folder)) == Counter(f"q{number}" for number in range(ROWS))
    alone = evaluate(replace(worker_runs.config(folder), use_cache=str(folder / "other")))
    (mine,), (theirs,) = found.samples.values(), alone.samples.values()
    assert list(samples_text(mine)) == list(samples_text(theirs))
    assert found.tasks == alone.tasks
    before = len(asked(folder))
    assert evaluate(worker_runs.config(folder)).cache == {"hits": ROWS, "misses": 0}
    assert len(asked(folder)) == before


def test_a_dead_workers_request_is_asked_again_by_another(
    folder: Path, ray_here: WorkerPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    for prompt in ("q3", "q11"):
        (folder / "log" / f"die-{prompt}").touch()
    found = run(folder, ray_here)
    (samples,) = found.samples.values()
    assert [sample.response for sample in samples] == ["ABCD"[number % 4] for number in range(ROWS)]
    again = Counter(asked(folder)) - Counter(f"q{number}" for number in range(ROWS))
    assert {"q3", "q11"} <= again.keys()
    # an answer that was on its way when its worker died is asked again too, and no other
    assert max(again.values()) == 1
    assert sum(again.values()) <= 2 * AHEAD
    assert capsys.readouterr().err.count("a worker ended (") == 2


@pytest.mark.slow
def test_what_kills_three_workers_is_an_error_row_and_the_rest_is_answered(
    folder: Path, ray_here: WorkerPlan
) -> None:
    (folder / "log" / "die-q5").touch()
    found = run(folder, ray_here, always=True)
    (samples,) = found.samples.values()
    assert [sample.doc_id for sample in samples if sample.status != "ok"] == [5]
    assert "3 workers ended while they answered it" in str(samples[5].error)
    # a death is put down to the unit before where that one's answers were still on their way
    assert asked(folder).count("q5") in (3, 4)


def test_a_sweep_and_a_judge_are_sent_to_workers_too(
    folder: Path, ray_here: WorkerPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    chosen, grid = worker_runs.config(folder, sleep=0.02), Grid(("none",), (0.5,))
    monkeypatch.setattr(Model, "check", lambda self: None)
    complete = sweep(
        chosen,
        grid,
        lambda cell, result: results.append(result),
        through=cells_through(chosen, grid, in_pool(ray_here)),
        judge_through=judge_through(chosen, in_pool(ray_here)),
    )
    assert complete
    assert statuses(results[0]) == ["ok"] * ROWS
    assert results[0].cache == {"hits": 0, "misses": ROWS}
    # what the cell would take alone, as in one process; two workers took half of it
    assert results[0].wall_s >= 0.02 * ROWS
    assert Counter(asked(folder)) == Counter(f"q{number}" for number in range(ROWS))


@pytest.mark.slow
def test_a_models_mistake_in_a_worker_is_one_line(folder: Path, ray_here: WorkerPlan) -> None:
    text = (folder / "logged.py").read_text()
    (folder / "logged.py").write_text(
        text.replace("        for request in requests:", "        raise marathon_eval.MarathonError('no weights here')\n        for request in requests:")
        .replace("import os, time", "import os, time\nimport marathon_eval")
    )  # fmt: skip
    with pytest.raises(MarathonError, match=r"^no weights here$"):
        run(folder, ray_here)


FAILING = """
from marathon_eval import Model, Response

class Failing(Model):
    def generate(self, requests):
        for request in requests:
            with open(LOG, "a") as file:
                file.write(request.prompt + "\\n")
            yield request, (Response("A") if int(request.prompt.split()[0][1:]) < ANSWERED else Response.failed("no such layer"))
"""


def failing(folder: Path, answered: int) -> RunConfig:
    """Return the run of a model that answers the first prompts and fails all others with one reason."""
    source = FAILING.replace("LOG", repr(str(folder / "log" / "asked"))).replace("ANSWERED", str(answered))
    (folder / "failing.py").write_text(source)
    return replace(worker_runs.config(folder), model=str(folder / "failing.py"), model_args={})


def test_answers_before_a_units_error_are_kept(folder: Path, ray_here: WorkerPlan, make_wav: MakeWav) -> None:
    # a unit is a clip with all its questions, sorted as texts: q0, q1, q10, q11 ...
    rows = [{"q": f"q{number} ?", "a": "A", "path": make_wav().name} for number in range(ROWS)]
    write_task(folder, HEARD, rows)
    chosen = failing(folder, answered=10)
    with pytest.raises(
        MarathonError, match="10 requests in a row failed with the same reason: no such layer"
    ):
        evaluate(chosen, through=through(chosen, in_pool(ray_here._replace(workers=1))))
    assert asked(folder)[:2] == ["q0", "q1"]
    assert len(asked(folder)) == 12
    assert stored(folder / "kept") == 2


@pytest.mark.parametrize("cells", [pytest.param(False, id="run"), pytest.param(True, id="sweep")])
def test_ten_identical_failures_stop_a_run_and_a_sweep_over_all_units(
    folder: Path, ray_here: WorkerPlan, cells: bool
) -> None:
    chosen, grid = failing(folder, answered=0), Grid(("none",), (0.5,))
    send = in_pool(ray_here._replace(workers=1))

    def ask() -> None:
        if cells:
            sweep(chosen, grid, lambda cell, result: None, through=cells_through(chosen, grid, send))
        else:
            evaluate(chosen, through=through(chosen, send))

    with pytest.raises(
        MarathonError, match="stopped, because 10 requests in a row failed with the same reason"
    ):
        ask()
    assert 10 <= len(asked(folder)) <= 10 + AHEAD + 1


# -- one worker, in this process --------------------------------------------------------------------------------------


def started(name: str, args: dict[str, Any]) -> RayWorker:
    """Return a worker in this process that has built its model."""
    chosen = RunConfig(name, (), args)
    model = build_model(Registry(), name, args)
    model.cache = ResponseCache(None)
    worker = RayWorker()
    worker.start(Job.of(chosen, [model]))
    return worker


def untimed(found: Answered) -> list[CellAnswer]:
    """Return the answers without the seconds that they took."""
    return [answer._replace(seconds=0.0) for answer in found.answers]


def test_a_worker_with_another_model_is_refused() -> None:
    config = RunConfig("dummy", (), {"answer": "A"})
    with pytest.raises(MarathonError, match="another model than the process that asks"):
        RayWorker().start(Job(config, ["0" * 64]))


def test_a_worker_is_sent_the_arguments_of_its_own_model_alone() -> None:
    config = RunConfig("dummy", (), {"answer": "A"}, judge_model="dummy", judge_args={"api_key": "secret"})
    model = Dummy.from_args(config.model_args)
    model.cache = ResponseCache(None)
    assert "secret" not in repr(Job.of(config, [model]))
    assert Job.of(config, [model]).model_args == {"answer": "A"}
    judge = Job.of(config, [model], judge=0)
    assert judge.config.model_args == {}
    assert judge.model_args == {"api_key": "secret"}


def test_shipped_audio_is_heard_where_the_file_is_missing(tmp_path: Path, make_wav: MakeWav) -> None:
    there = make_wav("there.wav")
    content = there.read_bytes()
    request = Request("q", (Audio(str(there)),))
    unit = Unit([request], [[0]], {})
    worker = started("dummy", {"listen": True})
    here = worker.answer(unit, {})
    there.unlink()
    missing, shipped = worker.answer(unit, {}), worker.answer(unit, {str(there): content})
    assert untimed(shipped) == untimed(here)
    assert shipped.answers[0].response.usage.heard_seconds == 1.0
    assert missing.answers[0].response.status == "error"
    assert "no such audio file" in str(missing.answers[0].response.error)
    assert not [key for key in shipped.entries if key.startswith("audio/")]


def test_what_a_models_stages_write_comes_back_and_spares_the_next_run(
    tmp_path: Path, make_wav: MakeWav
) -> None:
    args = {"listener": "dummy", "listener_args": {"mode": "echo"}, "reader": "dummy"}
    unit = Unit([Request("q", (Audio(str(make_wav())),))], [[0]], {})
    found = started("cascade", args).answer(unit, {})
    assert Counter(key.partition("/")[0] for key in found.entries) == {
        "response": 2,
        "fingerprint": 2,
        "audio": 1,
    }
    with ResponseCache(tmp_path / "kept") as cache:
        for key, value in found.entries.items():
            cache.put(key, value)
        model = Cascade.from_args(args)
        model.cache = cache
        assert len([key for key in model.memo(unit.requests) if key.startswith("response/")]) == 2


def test_units_are_whole_clips_in_order() -> None:
    def request(clip: str, number: int) -> Request:
        return Request(f"q{number}", (Audio(clip),) if clip else ())

    requests = [request(clip, number) for number, clip in enumerate("aabbbc")] + [
        request("", 7),
        request("", 8),
    ]
    found = list(units([Dummy.from_args({})], requests, 1))
    assert [len(unit) for unit in found] == [2, 3, 1, 1, 1]
    assert [one for unit in found for one in unit] == requests


# -- flags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workers", "0"], "whole number from 1, or auto, got 0"),
        (["--workers", "two"], "got two"),
        (["--ship_audio"], "--ship_audio: needs --workers"),
        (["--ray_address", "x:1"], "--ray_address: needs --workers"),
        (["--workers", "2", "--gpus_per_worker", "nan"], "--gpus_per_worker: must be"),
    ],
)
def test_a_mistake_in_the_flags_is_named(flags: list[str], said: str) -> None:
    parser = argparse.ArgumentParser()
    add_worker_arguments(parser)
    with pytest.raises(MarathonError, match=said):
        worker_plan(parser.parse_args(flags))


def test_the_flags_make_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    add_worker_arguments(parser)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert worker_plan(parser.parse_args([])) is None
    assert worker_plan(parser.parse_args(["--workers", "auto"])) == WorkerPlan(None)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    flags = ["--workers", "3", "--gpus_per_worker", "2", "--ship_audio"]
    assert worker_plan(parser.parse_args(flags)) == WorkerPlan(3, "head:6379", 2.0, True)


def test_without_workers_nothing_imports_ray(folder: Path) -> None:
    script = (
        "import json, sys\nfrom marathon_eval.cli.main import main\n"
        "code = main(sys.argv[1:])\nprint(code, [name for name in sys.modules if name.split('.')[0] == 'ray'])"
    )
    flags = ["--model", str(folder / "logged.py"), "--tasks", str(folder / "own.yaml"), "--no_cache"]
    args = json.dumps({"folder": str(folder / "log")})
    command = [sys.executable, "-c", script, *flags, "--model_args", args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
