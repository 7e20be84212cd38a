"""Tests workers on Ray's own test cluster of several nodes: nodes are killed and added, and the process that asks is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.worker_runs import asked, askers, config, make_task, run
from marathon_eval import cached_answers
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.workers import pool
from marathon_eval.evaluator.workers.cluster import ENVIRONMENT, WorkerPlan
from marathon_eval.evaluator.workers.pool import AHEAD

ROWS = 60
#: Seconds that an answer takes: a run of ROWS on two workers then lasts long enough for a node to be killed within it.
SLEEP = 0.1
#: A killed node's connection breaks, and it is taken for dead after 2.5 s; one that is slow to answer is waited for.
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 20_000,
    "health_check_failure_threshold": 5,
}

pytestmark = pytest.mark.slow


class Nodes:
    """Wraps a cluster whose head has no room for a worker, so that a run's own process outlives every other node."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
        # otherwise each node takes signals, which only the main thread may: nodes are added beside a run
        self.cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        self.plan = WorkerPlan(None, self.cluster.address)

    def add(self, workers: int = 1) -> Any:
        return self.cluster.add_node(num_cpus=workers)

    def kill(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)

    def kill_all(self) -> None:
        """Kill all nodes but the head, and wait until Ray has noticed: the next run would count on them."""
        for node in list(self.cluster.worker_nodes):
            self.kill(node)
        wait_for(lambda: sum(node["Alive"] for node in self.cluster.global_state.node_table()) == 1)

    def end(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        # Ray's workers have the lowest priority but four, and would hardly run beside other tests
        for name, value in {**ENVIRONMENT, "RAY_worker_niceness": "0"}.items():
            patch.setenv(name, value)
        # not undone: Ray reads it once in a process, and clusters of other tests start in this one
        os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
        started = Nodes()
        yield started
        started.end()


@pytest.fixture
def nodes(cluster: Nodes) -> Iterator[Nodes]:
    yield cluster
    cluster.kill_all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_task(tmp_path, ROWS)
    return tmp_path


@contextmanager
def after(folder: Path, count: int, act: Callable[[], object]) -> Iterator[None]:
    """Call `act` beside the run, once `count` requests were asked."""
    failed: list[Exception] = []

    def wait() -> None:
        try:
            wait_for(lambda: len(asked(folder)) >= count)
            act()
        except Exception as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()
    assert not failed, failed


def wait_for(done: Callable[[], bool], seconds: float = 400.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


def asked_again(folder: Path) -> Counter[str]:
    return Counter(asked(folder)) - Counter(f"q{number}" for number in range(ROWS))


def check_node_kill(nodes: Nodes, folder: Path, workers: int, moment: int) -> None:
    """Kill one of two nodes after `moment` requests; no row is lost or wrong, and only those in flight are asked again."""
    doomed, _ = nodes.add(workers), nodes.add(workers)
    with after(folder, moment, lambda: nodes.kill(doomed)):
        found = run(folder, nodes.plan, sleep=SLEEP)
    (samples,) = found.samples.values()
    assert [sample.response for sample in samples] == ["ABCD"[number % 4] for number in range(ROWS)]
    assert found.cache == {"hits": 0, "misses": ROWS}
    assert set(asked(folder)) == {f"q{number}" for number in range(ROWS)}
    again = asked_again(folder)
    assert sum(again.values()) <= workers * AHEAD, again
    assert max(again.values(), default=1) == 1, again


def test_a_killed_nodes_requests_are_asked_again_and_no_others(nodes: Nodes, folder: Path) -> None:
    check_node_kill(nodes, folder, 1, 15)


@pytest.mark.parametrize("seed", range(10))
def test_a_node_is_killed_at_any_moment(nodes: Nodes, folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    check_node_kill(nodes, folder, draw.choice((1, 2)), draw.randrange(1, ROWS - 5))


def test_a_node_that_joins_takes_its_part(nodes: Nodes, folder: Path) -> None:
    nodes.add()
    with after(folder, 5, nodes.add):
        found = run(folder, nodes.plan, sleep=10 * SLEEP)
    (samples,) = found.samples.values()
    assert [sample.response for sample in samples] == ["ABCD"[number % 4] for number in range(ROWS)]
    assert not asked_again(folder)
    parts = Counter(line.split()[1] for line in (folder / "log" / "asked").read_text().splitlines())
    assert len(askers(folder)) == 2
    assert min(parts.values()) >= ROWS // 10, parts


def test_the_last_node_is_killed_and_another_one_joins(nodes: Nodes, folder: Path) -> None:
    doomed = nodes.add()

    def replace() -> None:
        nodes.kill(doomed)
        nodes.add()

    with after(folder, 10, replace):
        found = run(folder, nodes.plan, sleep=SLEEP)
    (samples,) = found.samples.values()
    assert [sample.response for sample in samples] == ["ABCD"[number % 4] for number in range(ROWS)]
    assert sum(asked_again(folder).values()) <= AHEAD


def test_a_run_whose_last_node_is_gone_ends_with_a_reason_and_keeps_its_answers(
    nodes: Nodes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_SECONDS", 4.0)
    doomed = nodes.add()
    with (
        after(folder, 10, lambda: nodes.kill(doomed)),
        pytest.raises(
            MarathonError, match="no machine has one CPU free for a worker; answers so far are kept"
        ),
    ):
        run(folder, nodes.plan, sleep=SLEEP)
    with cached_answers(folder / "kept") as answers:
        kept = [key for key in answers if key.startswith("response/")]
    assert len(kept) >= len(asked(folder)) - AHEAD


def test_after_its_own_process_is_killed_a_run_goes_on_from_the_cache(nodes: Nodes, folder: Path) -> None:
    nodes.add(2)
    args = json.dumps({"folder": str(folder / "log"), "sleep": SLEEP})
    command = [
        sys.executable,
        "-m",
        "marathon_eval",
        "--model",
        str(folder / "logged.py"),
        "--model_args",
        args,
    ]
    command += ["--tasks", str(folder / "own.yaml"), "--use_cache", str(folder / "kept")]
    command += ["--workers", "auto", "--ray_address", nodes.cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_for(lambda: len(asked(folder)) >= 25)
        process.send_signal(signal.SIGKILL)
    before = asked(folder)
    wait_for(lambda: not any(alive(int(pid)) for pid in askers(folder)))
    with cached_answers(folder / "kept") as answers:
        kept = {
            entry["request"]["prompt"].split()[0]
            for key, entry in answers.items()
            if key.startswith("response/")
        }
    assert kept  # how many were committed before the kill depends on the load
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    later = asked(folder)[len(before) :]
    assert not kept & set(later)
    assert Counter(later) == Counter({f"q{number}" for number in range(ROWS)} - kept)
    result = evaluate(config(folder, sleep=SLEEP))
    assert result.cache == {"hits": ROWS, "misses": 0}
    (samples,) = result.samples.values()
    assert [sample.response for sample in samples] == ["ABCD"[number % 4] for number in range(ROWS)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
