"""Tests that a run's budget bounds the judge too: its requests, tokens and prices, and what a dry run says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_task import MeteredTask as Place
from helpers.metered_task import ran
from helpers.scripted_completions import completion, replying
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.simple import simple_evaluate, simple_sweep

PRICES = ("--prices", "in=1,out=2", "--judge_prices", "in=10,out=20")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("flags", "model", "judge", "reached"),
    [
        (("--max_requests", "11"), 8, 3, "--max_requests 11 is reached"),
        (("--max_requests", "5"), 5, 0, "--max_requests 5 is reached"),
        (("--max_tokens_total", "1000"), 8, 2, "--max_tokens_total 1000 is reached, with 1100 tokens"),
        # eight answers for 120 each, then replies for 1200 each, per million
        (("--max_cost", "0.003", *PRICES), 8, 2, "--max_cost 0.003 is reached, with 0.0034"),
        (("--max_requests", "16"), 8, 8, None),
    ],
)
def test_the_budget_bounds_model_and_judge_together(
    flags: tuple[str, ...],
    model: int,
    judge: int,
    reached: str | None,
    place: Place,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, result = ran(place, capsys, *flags)
    assert (code, place.sent("model"), place.sent("judge")) == (3 if reached else 0, model, judge)
    spent = result["spent"]
    assert (spent["requests"], spent["judge"]["requests"], spent["reached"]) == (model, judge, reached)
    assert spent["judge"]["input_tokens"] == 100 * judge
    task = result["tasks"]["own"]
    assert task["n_errors"] == 8 - model
    assert task.get("n_left_out", {}).get("graded", 0) == model - judge, "answered, and without a grade"
    assert result["manifests"]["own"]["judge"]["n_asked"] == judge
    # the same command goes on: answers and grades are kept
    code, again = ran(place, capsys, *flags)
    assert again["spent"]["requests"] == 8 - model
    assert place.sent("judge") == judge + again["spent"]["judge"]["requests"]


def test_every_request_that_the_judge_was_sent_is_counted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reply that cannot be read is asked for four times."""
    mumbling = ("--judge_model", "meter", "--judge_args", place.judge.replace('"4"', '"mumble"'))
    _, result = ran(place, capsys, *mumbling, "--max_requests", "100")
    facts = result["manifests"]["own"]["judge"]
    assert facts["n_asked"] == place.sent("judge") == result["spent"]["judge"]["requests"] == 32
    again = ran(place, capsys, *mumbling)[1]["manifests"]["own"]["judge"]
    assert (again["n_cached"], again["n_asked"]) == (32, 0)


def test_the_same_command_comes_to_its_end(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [ran(place, capsys, "--max_requests", "5")[0] for _ in range(4)]
    assert codes == [3, 3, 3, 0]
    assert (place.sent("model"), place.sent("judge")) == (8, 8)


def test_a_panel_is_bounded_as_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(place.folder / "judge.log")
    judges = [{"judge": "meter", "name": name, "says": name, "log": log} for name in "34"]
    panel = ("--judge_model", "panel", "--judge_args", json.dumps({"judges": judges}))
    code, result = ran(place, capsys, *panel, "--max_requests", "18")
    assert (code, place.sent("judge")) == (3, 10)
    assert result["spent"]["judge"]["requests"] == 10
    assert result["tasks"]["own"]["n_left_out"] == {"graded": 6}, "the second judge graded two"
    code, result = ran(place, capsys, *panel, "--max_requests", "18")
    assert (code, place.sent("judge")) == (0, 16)


def test_the_table_says_what_the_judge_took(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(place.command("--max_requests", "11", *PRICES)) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "Spent: 11 requests, 1210 tokens, cost 0.0046 (the judge's: 3 requests, 330 tokens, cost 0.0036). "
        "BUDGET: --max_requests 11 is reached"
    ) in out
    assert "LEFT OUT: 5 of 8 rows from own graded" in out
    assert "It failed: not asked: --max_requests 11 is reached" in out
    assert "(judge: 0 from the cache, 3 asked)" in out


def test_a_cost_without_the_judges_says_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(place.command("--prices", "in=1,out=2")) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "(the judge's: 8 requests, 880 tokens, not in the cost: no --judge_prices)" in out


def test_a_judge_behind_a_server_needs_prices(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with replying(completion({"content": '{"reason": "", "grade": 4}'})) as (url, received):
        args = json.dumps({"base_url": url, "model": "m", "identity": "m", "concurrency": 1})
        server = ("--judge_model", "openai_audio", "--judge_args", args)
        flags = place.command(*server, "--max_cost", "1", "--prices", "in=1,out=2")
        for more in ((), ("--dry_run",)):
            assert main([*flags, *more]) == 2
            assert "give --judge_prices in=X,out=Y" in capsys.readouterr().err
        assert not received
        code, result = ran(place, capsys, *server, "--max_cost", "0.0011", *PRICES)
    # eight answers for 120 and a reply of 20 and 7 tokens for 340, per million
    assert (code, len(received), result["spent"]["judge"]["requests"]) == (3, 1, 1)
    assert result["spent"]["judge"]["cost"] == pytest.approx(0.00034)


def test_a_judge_on_this_machine_needs_no_prices(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = ran(place, capsys, "--max_cost", "1", "--prices", "in=1,out=2")
    assert (code, result["spent"]["judge"]["requests"]) == (0, 8)


def test_a_judge_that_counts_no_tokens_ends_a_budget_of_tokens(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    args = json.dumps({**json.loads(place.judge), "counts": False})
    flags = place.command("--judge_model", "meter", "--judge_args", args, "--max_tokens_total", "5000")
    assert main(flags) == 2
    assert "--max_tokens_total: --judge_model meter reports no token counts" in capsys.readouterr().err
    assert place.sent("judge") == 1


def test_a_dry_run_counts_the_judges_missing_requests(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    code, plan = ran(place, capsys, "--dry_run", "--max_requests", "12", *PRICES)
    (judge,) = plan["judge"]
    assert (code, judge["misses"], judge["hits"]) == (0, 8, 0)
    assert judge["output_tokens"] == 8 * 32
    assert judge["input_tokens"] > 8 * 16, "the prompts, and answers of up to 16 tokens"
    assert (plan["estimate"]["requests"], plan["estimate"]["judge_requests"]) == (16, 8)
    assert plan["estimate"]["exceeded"] == ["--max_requests 12"]
    assert (place.sent("model"), place.sent("judge")) == (0, 0)
    ran(place, capsys, "--max_requests", "11")
    assert main(place.command("--dry_run", *PRICES)) == 0
    out = capsys.readouterr().out
    assert "at most 5 requests to run, 3 in the cache" in out
    assert "budget: at most 5 requests (5 to the judge)" in out


def test_a_retry_after_an_unreadable_reply_is_foreseen(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    args = json.dumps({**json.loads(place.judge), "says": "well"})
    judge = ("--judge_model", "meter", "--judge_args", args)
    ran(place, capsys, *judge, "--max_requests", "16")
    _, plan = ran(place, capsys, *judge, "--dry_run")
    assert plan["judge"][0]["misses"] == 8, "the second attempt for every row"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--judge_prices", "inn=1"), "--judge_prices: no price 'inn'. Did you mean in?"),
        (("--judge_prices", "in=x"), "--judge_prices: in must be a number from 0, got 'x'"),
        (("--max_cost", "1", "--prices", "in=1,out=1", "--judge_prices", "in=1"), "give --judge_prices"),
    ],
)
def test_mistakes(
    flags: tuple[str, ...], words: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(place.command(*flags)) == 2
    assert words in capsys.readouterr().err


def test_python_takes_the_judges_prices_and_a_sweep_no_budget(place: Place) -> None:
    given: dict[str, Any] = {
        "include_path": [str(place.folder)],
        "data_dir": str(place.folder),
        "tasks": [str(place.folder / "own.yaml")],
        "model_args": {"log": str(place.folder / "model.log")},
    }
    judge: dict[str, Any] = {"judge_model": "meter", "judge_args": json.loads(place.judge)}
    result = simple_evaluate("meter", **given, **judge, judge_prices={"in": 1}, max_requests=9)
    assert result.spent is not None
    assert result.spent["judge"]["cost"] == pytest.approx(0.0001)
    named = simple_evaluate(
        "meter", **given, **judge, judge_prices={"meter": {"in": 1, "out": 0}}, no_cache=True
    )
    assert named.spent is not None
    assert named.spent["judge"]["cost"] == pytest.approx(0.0008)
    with pytest.raises(MarathonError, match="a sweep keeps no budget"):
        simple_sweep("meter", presses=["none"], max_requests=2, **given, **judge)


def test_rows_without_a_grade_are_told_in_the_lists_of_runs_and_rows(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(place.folder / "results")
    assert main(place.command("--max_requests", "11", "-o", out)) == 3
    capsys.readouterr()
    assert main(["ls", "runs", out]) == 0
    assert "  own  n=3 of 8  graded grade[meter] 4.0\n" in capsys.readouterr().out
    assert main(["show", out, "--wrong", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reasons = [row["reason"] for row in rows if row["outcome"] == "not scored"]
    assert reasons == ["not asked: --max_requests 11 is reached"] * 5
