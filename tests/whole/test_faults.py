"""Interrupts real commands by many kinds of faults, and tests what is left. `scripts/faults` does it longer."""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.killable_command import MOST_LOST, VERBS, Job, make_data, stored

#: So many answers before the signal a job begins to answer slowly.
NEAR = 10
FULL_AT_THE_END = "import errno, os\ndef refuse(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\nos.fsync = refuse\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def right(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What undisturbed commands say, and how many answers they ask for."""
    folder = tmp_path_factory.mktemp("right")
    jobs = {verb: Job(verb, data, folder / verb) for verb in VERBS}
    return {verb: (job.finish(), len(job.finished())) for verb, job in jobs.items()}


def broken_off(
    job: Job, answers: int, sent: signal.Signals, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Started, left alone until so many answers, and sent a signal; exit code, stdout, stderr.

    It answers at once until shortly before, and slowly from there on, so that the signal falls among the answers.
    """
    slow = {"LOGGED_FROM": str(answers - NEAR)}
    process = job.start(0.01, env={**slow, **(env or {})})
    job.wait(answers, process)
    process.send_signal(sent)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("verb", VERBS)
def test_kill_9_costs_what_was_in_flight_and_nothing_more(
    verb: str, data: Path, right: dict[str, Any], tmp_path: Path
) -> None:
    expected, answers = right[verb]
    job, draw = Job(verb, data, tmp_path), random.Random(verb)
    reached = 0
    for _ in range(2):
        reached = draw.randrange(reached + 40, (reached + answers) // 2 + 40)
        code, _, _ = broken_off(job, reached, signal.SIGKILL)
        assert code == -signal.SIGKILL
        finished = job.finished()
        assert sum(finished.values()) < answers + MOST_LOST, "the kill must fall inside"
        # cut lines aside, every answer that the model noted is in the cache, but for the latest
        assert len(finished) - stored(job.kept) <= MOST_LOST
    assert job.finish() == expected
    assert len(job.finished()) == answers
    assert job.asked_again() <= 2 * MOST_LOST


@pytest.mark.parametrize("verb", VERBS)
def test_a_clock_that_jumps_changes_nothing(
    verb: str, data: Path, right: dict[str, Any], tmp_path: Path
) -> None:
    """By up to a year, back and forth, every 50 ms: while it is asked, at the kill, and in the run that goes on."""
    expected, answers = right[verb]
    job = Job(verb, data, tmp_path)
    # slow from its first answer on, for the clock to jump often
    broken_off(job, answers // 2, signal.SIGKILL, env={"CLOCK_SEED": "1", "LOGGED_FROM": "0"})
    assert job.finish({"CLOCK_SEED": "2"}) == expected
    assert job.asked_again() <= MOST_LOST
    again = job.log.stat().st_size
    assert job.finish() == expected
    assert job.log.stat().st_size == again, "asked again because of the clock"


@pytest.mark.parametrize(
    ("verb", "sent", "code"),
    [
        ("run", signal.SIGINT, 130),
        ("run", signal.SIGTERM, 143),
        ("sweep", signal.SIGTERM, 143),
        ("judge", signal.SIGINT, 130),
    ],
)
def test_ctrl_c_and_sigterm_lose_no_answer_that_was_given_back(
    verb: str, sent: signal.Signals, code: int, data: Path, right: dict[str, Any], tmp_path: Path
) -> None:
    expected, answers = right[verb]
    job = Job(verb, data, tmp_path)
    got, stdout, stderr = broken_off(job, answers * 2 // 3, sent)
    assert got == code, stderr
    assert "Traceback" not in stderr
    if verb == "run":
        part = json.loads(stdout)
        race = part["tasks"]["race"]
        assert part["interrupted"] is True
        # the last one may have been noted when the signal came, and not yet given back
        assert 0 <= len(job.finished()) - race["n_scored"] <= 1
        assert race["n_scored"] + race["n_errors"] == answers
        assert len(list((tmp_path / "out").glob("*/*/samples_race.jsonl"))) == 1
    if verb == "sweep":
        assert json.loads(stdout)["interrupted"] is True
    assert 0 <= len(job.finished()) - stored(job.kept) <= 1
    assert job.finish() == expected
    assert job.asked_again() <= 1


def test_a_run_a_sweep_and_a_judge_on_one_cache_at_once_one_of_them_killed(
    data: Path, right: dict[str, Any], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    jobs = {verb: Job(verb, data, tmp_path / verb, cache) for verb in VERBS}
    twin = Job("run", data, tmp_path / "twin", cache)
    started = [(job, job.start(0.005)) for job in (*jobs.values(), twin)]
    twin.wait(60, started[-1][1])
    started[-1][1].kill()
    for job, process in started:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == (-signal.SIGKILL if job is twin else 0), stderr
    for verb, job in jobs.items():
        assert job.finish() == right[verb][0]
    assert twin.finish() == right["run"][0]
    # run and sweep share the plain model's answers on the sweep's rows
    shared = 40
    assert stored(cache) == sum(answers for _, answers in right.values()) - shared


@pytest.mark.parametrize("verb", VERBS)
def test_output_that_cannot_be_written_is_told_before_anything_is_asked(
    verb: str, data: Path, tmp_path: Path
) -> None:
    job = Job(verb, data, tmp_path)
    process = job.start(env={"READ_ONLY": str(tmp_path / "out")})
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = stderr.splitlines()
    assert line.endswith(f"--output_path: cannot write to {tmp_path}/out (Read-only file system)")
    assert not job.finished()


@pytest.mark.parametrize(("verb", "most"), [("run", 400_000), ("sweep", 400_000), ("judge", 250_000)])
def test_a_full_disk_ends_in_one_line_and_keeps_what_was_written(
    verb: str, most: int, data: Path, right: dict[str, Any], tmp_path: Path
) -> None:
    """A limit on the size of files is to sqlite what a full disk is. The run must end, not wait for the writer."""
    job = Job(verb, data, tmp_path)
    process = job.start(0.001, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    assert "Traceback" not in stderr
    (error,) = [line for line in stderr.splitlines() if "error: " in line]
    assert "cannot write the cache" in error
    assert stored(job.kept) > 0
    expected, answers = right[verb]
    assert job.finish() == expected
    assert len(job.finished()) == answers


@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_results_that_cannot_be_written_cost_no_answer(
    verb: str, data: Path, right: dict[str, Any], tmp_path: Path
) -> None:
    """ENOSPC at the last step: exit 2, one line, and every answer is in the cache."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(FULL_AT_THE_END)
    job = Job(verb, data, tmp_path)
    process = job.start(0.0, first=tmp_path / "hook")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cannot write (No space left on device)" in stderr
    assert "Traceback" not in stderr
    assert not list((tmp_path / "out").rglob("results.json"))
    assert job.finish() == right[verb][0]
    assert job.asked_again() == 0


class TestDatasetChangedBetweenRuns:
    """What changed is asked again, and nothing else; the results are those of the new data."""

    @pytest.fixture
    def job(self, data: Path, tmp_path: Path) -> Job:
        copy = tmp_path / "data"
        shutil.copytree(data / "race_audio", copy / "race_audio")
        job = Job("run", copy, tmp_path / "job")
        job.finish()
        return job

    def rows(self, job: Job) -> tuple[Path, list[dict[str, Any]]]:
        path = job.data / "race_audio" / "race_benchmark.json"
        return path, json.loads(path.read_text())

    def as_if_new(self, job: Job, asked: int) -> None:
        """The next run says what a run with an empty cache says, and asked for so many answers."""
        before = sum(job.finished().values())
        after = job.finish()
        assert sum(job.finished().values()) - before == asked
        assert after == Job("run", job.data, job.folder / "fresh").finish()

    def test_audio_bytes(self, job: Job) -> None:
        path, rows = self.rows(job)
        clip = path.parent / rows[7]["audio_path"]
        clip.write_bytes(clip.read_bytes()[:-2] + b"\1\1")
        self.as_if_new(job, 1)

    def test_a_question(self, job: Job) -> None:
        path, rows = self.rows(job)
        rows[3]["question"] += " Say it."
        path.write_text(json.dumps(rows))
        self.as_if_new(job, 1)

    def test_an_answer_and_the_order_of_rows(self, job: Job) -> None:
        path, rows = self.rows(job)
        rows[3]["answer"] = "ABCD"["ABCD".index(rows[3]["answer"]) - 1]
        path.write_text(json.dumps(rows[::-1]))
        self.as_if_new(job, 0)

    def test_rows_that_went_and_a_clip_that_is_gone(self, job: Job) -> None:
        path, rows = self.rows(job)
        (path.parent / rows[0]["audio_path"]).unlink()
        path.write_text(json.dumps(rows[:50]))
        process = job.start(0.0)
        stdout, _ = process.communicate(timeout=60)
        assert process.returncode == 3, "a row without its clip is an error row"
        race = json.loads(stdout)["tasks"]["race"]
        assert (race["n_scored"], race["n_errors"]) == (49, 1)


def test_a_build_killed_while_the_clock_jumps_makes_the_same_bytes(data: Path, tmp_path: Path) -> None:
    """Kills alone are in test_build_interrupted.py."""
    expected = Job("build", data, tmp_path / "whole").finish()
    job = Job("build", data, tmp_path / "killed")
    process = job.start(env={"CLOCK_SEED": "3"})
    while len(list((job.folder / "out").rglob("*.flac"))) < 2:
        assert process.poll() is None, "ended too early"
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert job.finish({"CLOCK_SEED": "4"}) == expected
