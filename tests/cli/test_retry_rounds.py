"""Tests that a run with --retry records the whole command, not its last round."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_task import MeteredTask, ran
from helpers.minimal_task import KEYS, write_task
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.rounds import Rounds

#: Makes a metered model fail at one question until it was asked it for the second time.
BUSY = """
            if "question 5" in request.prompt and Path(self.settings.log).read_text().count("question 5") < 2:
                yield request, Response.failed("busy")
                continue
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeteredTask:
    """Eight judged rows, of which the model answers one at the second time only."""
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    place = MeteredTask(tmp_path)
    meter = tmp_path / "models" / "meter.py"
    source = meter.read_text().replace(
        'log.write("1\\n")', 'log.write(request.prompt.replace("\\n", " ") + "\\n")'
    )
    head, end = source.split("            usage = Usage", 1)
    (tmp_path / "models" / "busy.py").write_text(
        (head + BUSY.lstrip("\n") + "            usage = Usage" + end).replace("Meter", "Busy")
    )
    return place


def retried(place: MeteredTask, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    return ran(
        place,
        capsys,
        "--model",
        "busy",
        "--retry",
        "--prices",
        "in=1,out=1",
        "--judge_prices",
        "in=1,out=1",
        *more,
    )


def test_the_record_is_of_all_rounds(place: MeteredTask, capsys: pytest.CaptureFixture[str]) -> None:
    out = place.folder / "out"
    code, result = retried(place, capsys, "--output_path", str(out))
    assert (code, place.sent("model"), place.sent("judge")) == (0, 9, 8)
    spent = result["spent"]
    assert (spent["requests"], spent["input_tokens"], spent["cost"]) == (9, 800, 0.00088)
    assert (spent["judge"]["requests"], spent["judge"]["cost"]) == (8, 0.00088)
    assert spent["prices"] == {"in": 1.0, "out": 1.0}
    assert result["cache"] == {"hits": 0, "misses": 9}
    judge = result["manifests"]["own"]["judge"]
    assert (judge["n_cached"], judge["n_asked"], judge["n_judged"]) == (0, 8, 8)
    (samples,) = out.rglob("samples_own.jsonl")
    assert [json.loads(line)["cached"] for line in samples.read_text().splitlines()] == [False] * 8
    _, again = retried(place, capsys)
    assert again["cache"] == {"hits": 8, "misses": 0}
    assert again["spent"]["requests"] == 0


def test_a_command_that_goes_on_counts_its_own_requests(
    place: MeteredTask, capsys: pytest.CaptureFixture[str]
) -> None:
    retried(place, capsys, "--limit", "3")
    out = place.folder / "out"
    _, result = retried(place, capsys, "--output_path", str(out))
    assert result["cache"] == {"hits": 3, "misses": 6}
    assert result["manifests"]["own"]["judge"]["n_cached"] == 3
    (samples,) = out.rglob("samples_own.jsonl")
    assert [json.loads(line)["cached"] for line in samples.read_text().splitlines()] == [True] * 3 + [
        False
    ] * 5


def test_start_and_seconds_are_those_of_all_rounds(tmp_path: Path) -> None:
    task = write_task(tmp_path, KEYS, [{"q": "question", "a": "A"}])
    run = evaluate(RunConfig("dummy", (str(task),), no_cache=True))
    rounds = Rounds(replace(run, started="2026-01-01T00:00:00Z", wall_s=20.25))
    rounds.add(replace(run, started="2026-01-01T00:00:30Z", wall_s=0.5))
    rounds.add(replace(run, started="2026-01-01T00:00:40Z", wall_s=0.5))
    assert (rounds.result.started, rounds.result.wall_s) == ("2026-01-01T00:00:00Z", 21.25)
    assert rounds.result.cache == {"hits": 0, "misses": 3}
    assert rounds.result.spent is None
