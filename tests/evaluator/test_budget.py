"""Tests budgets: which requests are asked, what they cost, what is kept, and what the run says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Model, Request, Response, Usage
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget import Budget, budget_estimate
from marathon_eval.evaluator.budget_flags import checked_budget
from marathon_eval.evaluator.simple import simple_evaluate
from marathon_eval.evaluator.spending import Spending

METER = '''
from marathon_eval.api.model import Model, ModelSettings, Response, Usage

class Settings(ModelSettings):
    counts: bool = True

class Meter(Model):
    """Answers every request, for 100 tokens in, of which 80 are audio, and 10 out."""

    Settings = Settings

    def generate(self, requests):
        for request in requests:
            usage = Usage(input_tokens=100, audio_tokens=80, output_tokens=10) if self.settings.counts else Usage()
            yield request, Response("A", usage=usage)
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model that counts, and a task of ten rows without audio."""
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "meter.py").write_text(METER)
    rows = [{"q": f"question {n}", "a": "A"} for n in range(10)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "own.yaml").write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: rows.json}\n"
        "doc_to_text: q\ndoc_to_target: a\ngeneration_kwargs: {max_new_tokens: 16}\n"
    )
    return tmp_path


def command(place: Path, *more: str, model: str = "meter") -> list[str]:
    flags = [
        "--model",
        model,
        "--tasks",
        str(place / "own.yaml"),
        "--include_path",
        str(place),
        "--data_dir",
        str(place),
    ]
    return [*flags, "--json", *more]


def result_of(place: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    code = main(command(place, *more))
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, printed


@pytest.mark.parametrize(
    ("flags", "asked", "reached"),
    [
        (["--max_requests", "4"], 4, "--max_requests 4 is reached"),
        (["--max_tokens_total", "330"], 3, "--max_tokens_total 330 is reached, with 330 tokens"),
        # 20 words at 1, 80 audio tokens at 10 and 10 words at 5, per million: 870 in all
        (
            ["--max_cost", "0.00174", "--prices", "in=1,out=5,audio=10"],
            2,
            "--max_cost 0.00174 is reached, with 0.0017",
        ),
        (["--max_requests", "10"], 10, None),
        (["--prices", "in=1,out=5"], 10, None),
    ],
)
def test_a_run_stops_with_its_budget_and_keeps_its_answers(
    flags: list[str], asked: int, reached: str | None, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = result_of(place, capsys, *flags)
    assert (code, result["spent"]["requests"]) == (3 if reached else 0, asked)
    assert result["spent"]["reached"] == reached
    assert result["cache"] == {"hits": 0, "misses": asked}, "rows that the budget kept back were not asked"
    assert result["spent"]["input_tokens"] + result["spent"]["output_tokens"] == 110 * asked
    assert (result["tasks"]["own"]["n_scored"], result["tasks"]["own"]["n_errors"]) == (asked, 10 - asked)
    # the same command goes on: what was answered is in the cache, and costs nothing
    code, again = result_of(place, capsys, *flags)
    assert again["cache"]["hits"] == asked
    assert again["spent"]["requests"] == min(asked, 10 - asked)


def test_the_table_says_what_was_spent_and_which_limit_ended_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        flag for flag in command(place, "--max_requests", "2", "--prices", "in=1,out=1") if flag != "--json"
    ]
    assert main(flags) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "Spent: 2 requests, 220 tokens, cost 0.0002. BUDGET: --max_requests 2 is reached" in out
    assert "8 failed (own 8): not asked: --max_requests 2 is reached" in out


def test_without_a_budget_results_have_no_entry(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = result_of(place, capsys)
    assert code == 0
    assert "spent" not in result


def test_a_model_that_counts_no_tokens_cannot_be_held_to_them(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(place, "--model_args", "counts=false", "--max_tokens_total", "500")) == 2
    assert "--max_tokens_total: --model meter reports no token counts" in capsys.readouterr().err
    code, result = result_of(place, capsys, "--model_args", "counts=false", "--max_requests", "3")
    assert (code, result["spent"]["requests_without_counts"]) == (3, 3)
    assert result["cache"]["hits"] == 1, "the answer that showed it was kept"


def test_a_dry_run_estimates_what_the_cache_lacks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = ["--prices", "in=1,out=10", "--max_cost", "0.001"]
    assert main(command(place, *prices, "--dry_run")) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    # ten prompts of 10 characters, and answers of up to 16 tokens
    assert (found["requests"], found["tokens"], found["cost"]) == (10, 25 + 160, 0.001625)
    assert found["exceeded"] == ["--max_cost 0.001"]
    result_of(place, capsys, "--max_requests", "6")
    assert main([flag for flag in command(place, *prices, "--dry_run") if flag != "--json"]) == 0
    assert "budget: at most 4 requests, 74 tokens, cost 0.0006" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--max_requests", "0"], "--max_requests: must be a whole number from 1, got 0"),
        (["--max_tokens_total", "-5"], "--max_tokens_total: must be a whole number from 1, got -5"),
        (["--max_cost", "5"], "--max_cost: needs --prices in=X,out=Y"),
        (["--max_cost", "nan", "--prices", "in=1,out=1"], "--max_cost: must be a number above 0, got nan"),
        (["--prices", "in=1,oud=2"], "--prices: no price 'oud'. Did you mean out?"),
        (["--prices", "in=cheap"], "--prices: in must be a number from 0, got 'cheap'"),
        (["--prices", "in=-1"], "--prices: in must be a number from 0, got -1"),
        (["--judge_prices", "in=1"], "--judge_prices: needs --judge_model"),
    ],
)
def test_mistakes(flags: list[str], words: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, *flags)) == 2
    assert words in capsys.readouterr().err


def test_unknown_audio_tokens_cost_the_higher_price() -> None:
    budget = checked_budget(None, None, None, {"in": 1, "out": 0, "audio": 10})
    assert budget.cost(100, 0, 80) == pytest.approx((80 * 10 + 20) / 1e6)
    assert budget.cost(100, 0, None) == pytest.approx(1000 / 1e6)
    assert budget.cost(100, 0, 500) == pytest.approx(1000 / 1e6), "no more audio than went in"


def test_a_request_of_text_alone_has_no_audio_to_pay() -> None:
    def inner(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            yield request, Response("A", usage=Usage(input_tokens=100, output_tokens=10))

    spending = Spending(Budget(prices={"in": 1.0, "out": 5.0, "audio": 40.0}))
    heard = Request("heard", (Audio("clip.wav"),))
    list(spending.through(inner)(None, [Request("read")]))  # type: ignore[arg-type]  # no model is needed
    assert spending.model.cost == pytest.approx((100 * 1 + 10 * 5) / 1e6)
    list(spending.through(inner)(None, [heard]))  # type: ignore[arg-type]  # as above
    assert spending.model.cost == pytest.approx((200 * 1 + 20 * 5 + 100 * 39) / 1e6)


def test_what_is_in_flight_is_cancelled() -> None:
    closed = []

    def inner(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        try:
            for request in requests:
                yield request, Response("A", usage=Usage(input_tokens=10, output_tokens=1))
        finally:
            closed.append(True)

    spending = Spending(Budget(max_tokens_total=20))
    requests = [Request(str(n)) for n in range(5)]
    answers = dict(spending.through(inner)(None, requests))  # type: ignore[arg-type]  # no model is needed
    assert closed == [True]
    assert [answers[request].status for request in requests] == ["ok", "ok", "error", "error", "error"]
    again = dict(spending.through(inner)(None, requests[2:]))  # type: ignore[arg-type]  # as above
    assert all(response.status == "error" for response in again.values()), (
        "--retry_errors spends nothing more"
    )


def test_a_refusal_without_counts_ends_no_budget() -> None:
    def refusing(_: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            refused = Response("", "content_filter", "refused", "HTTP 400")
            yield request, refused if request.prompt == "q0" else Response("B", usage=Usage(input_tokens=9))

    spending = Spending(Budget(max_tokens_total=1000))
    asked = [Request(f"q{n}") for n in range(3)]
    responses = list(spending.through(refusing)(None, asked))  # type: ignore[arg-type]  # no model is needed
    assert [response.status for _, response in responses] == ["refused", "ok", "ok"]
    assert (spending.model.requests, spending.model.uncounted, spending.model.input_tokens) == (3, 1, 18)


@pytest.mark.parametrize(
    ("model", "args", "room"),
    [
        ("openai_audio", "model=m", 0),
        ("openai_audio", "model=m,thinking_tokens=100", 100),
        ("gemini", "model=gemini-2.5-flash", 0),
        ("gemini", "model=gemini-2.5-pro,thinking_budget=128", 128),
        ("gemini", "model=gemini-3-flash", 1024),
    ],
)
def test_a_dry_run_counts_the_tokens_that_thinking_may_take(
    model: str,
    args: str,
    room: int,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "a key of a test, long enough")
    flags = ("--model_args", f"{args},base_url=http://127.0.0.1:9", "--prices", "in=0,out=1", "--dry_run")
    assert main(command(place, *flags, model=model)) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["costs"][0]["most_output_tokens"] == 10 * (16 + room)
    assert plan["estimate"]["cost"] == pytest.approx(10 * (16 + room) / 1e6)


def test_an_estimate_without_a_rate_says_what_it_assumes() -> None:
    found = budget_estimate(Budget(max_tokens_total=100), [Request("four")], audio_seconds=10.0, rate=None)
    assert (found.tokens, found.assumed, found.cost) == (320 + 1 + 16, True, None)
    assert found.exceeded == ["--max_tokens_total 100"]


def test_python_takes_a_budget_too(place: Path) -> None:
    given: dict[str, Any] = {
        "include_path": [str(place)],
        "data_dir": str(place),
        "tasks": [str(place / "own.yaml")],
    }
    result = simple_evaluate(model="meter", max_requests=3, **given)
    assert result.spent is not None
    assert result.spent["requests"] == 3
    with pytest.raises(MarathonError, match="--max_requests"):
        simple_evaluate(model="meter", max_requests=0, **given)
