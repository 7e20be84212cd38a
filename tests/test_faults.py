"""Kill the real command and look at what is left."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import released

REQUESTS = 200


def command(data: Path, out: Path, sleep: float) -> list[str]:
    flags = [
        "--model",
        "dummy",
        "--model_args",
        f"mode=random,sleep={sleep}",
        "--tasks",
        "race",
        "--data_dir",
    ]
    return [sys.executable, "-m", "marathon_eval", *flags, str(data), "--output_path", str(out), "--json"]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "MARATHON_EVAL_CACHE": str(cache)}


def stored(cache: Path) -> int:
    path = cache / "answers.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name='entries'").fetchone()[0]
        query = "SELECT count(*) FROM entries WHERE key LIKE 'response/%'"
        return int(connection.execute(query).fetchone()[0]) if found else 0


def finish(data: Path, out: Path, cache: Path) -> dict:
    done = subprocess.run(
        command(data, out, 0.0),
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released.build(tmp_path_factory.mktemp("released"), {"race": REQUESTS})


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("unbroken")
    return finish(data, folder / "out", folder / "cache")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kill_9_loses_at_most_32_answers(data: Path, unbroken: dict, tmp_path: Path, seed: int) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        command(data, tmp_path / "out", 0.02),
        env=environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not stored(cache):  # the first answers are on disk: the run is in its middle from here on
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(random.Random(seed).uniform(0.0, 2.0))
    began = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert time.monotonic() - began < 5
    kept = stored(cache)
    assert 0 < kept < REQUESTS, "the kill must fall inside the run"
    after = finish(data, tmp_path / "out", cache)
    assert after["cache"] == {"hits": kept, "misses": REQUESTS - kept}
    assert after["tasks"] == unbroken["tasks"]


LOGGED = """
from pathlib import Path
from marathon_eval.models.dummy import Dummy

class Logged(Dummy):
    def generate(self, requests):
        for request, response in super().generate(requests):
            with Path(__file__).with_suffix(".log").open("a") as file:
                file.write(".")
            yield request, response
"""


def test_kill_9_loses_only_what_was_in_flight_or_under_a_second_old(data: Path, tmp_path: Path) -> None:
    """The model notes what it finished; that and what is kept differ by 32 rows at most."""
    cache, model = tmp_path / "cache", tmp_path / "logged.py"
    model.write_text(LOGGED)
    flags = command(data, tmp_path / "out", 0.005)
    flags[flags.index("dummy")] = str(model)
    process = subprocess.Popen(
        flags, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    log = model.with_suffix(".log")
    while not (log.exists() and log.stat().st_size > 90):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert log.stat().st_size - stored(cache) <= 33


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_save_the_finished_part(
    data: Path, unbroken: dict, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        command(data, tmp_path / "out", 0.02),
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not stored(cache):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(sent)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    part = json.loads(stdout)
    assert part["interrupted"] is True
    race = part["tasks"]["race"]
    assert 0 < race["n_scored"] < REQUESTS
    assert race["n_scored"] + race["n_errors"] == REQUESTS
    assert len(list((tmp_path / "out").glob("dummy__*/*/samples_race.jsonl"))) == 1
    after = finish(data, tmp_path / "out", cache)
    assert after["cache"]["hits"] == race["n_scored"]
    assert after["tasks"] == unbroken["tasks"]


def test_two_runs_on_one_cache_at_once(data: Path, unbroken: dict, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    both = [
        subprocess.Popen(
            command(data, tmp_path / f"out{number}", 0.005),
            env=environment(cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in both:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["tasks"] == unbroken["tasks"]
    assert finish(data, tmp_path / "out", cache)["cache"] == {"hits": REQUESTS, "misses": 0}


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_what_was_written(
    data: Path, unbroken: dict, tmp_path: Path
) -> None:
    """A limit on the size of files is to sqlite what a full disk is. The run must end, not wait for the writer."""
    cache = tmp_path / "cache"
    process = subprocess.run(
        command(data, tmp_path / "out", 0.002),
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000)),
    )
    assert process.returncode == 2
    errors = [line for line in process.stderr.splitlines() if "error: " in line]
    assert "Traceback" not in process.stderr
    assert len(errors) == 1, process.stderr
    assert "cannot write the cache" in errors[0]
    assert finish(data, tmp_path / "out", cache)["tasks"] == unbroken["tasks"]


def test_results_that_cannot_be_written_cost_no_answer(data: Path, tmp_path: Path) -> None:
    """ENOSPC at the last step: exit 2, one line, and every answer is in the cache."""
    hook = "import errno, os, sys\ndef refuse(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
    hook += "os.fsync = refuse\nfrom marathon_eval.cli import main\nsys.exit(main())\n"
    full = [sys.executable, "-c", hook, *command(data, tmp_path / "out", 0.0)[3:]]
    process = subprocess.run(
        full, env=environment(tmp_path / "cache"), capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 2
    assert "cannot write (No space left on device)" in process.stderr
    assert not list((tmp_path / "out").rglob("results.json"))
    assert finish(data, tmp_path / "out", tmp_path / "cache")["cache"]["hits"] == REQUESTS
