"""Tests the budget of a judge that scores a run again, and the prices of several judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.metered_task import MeteredTask as Place
from helpers.metered_task import ran
from marathon_eval.cli.main import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    return Place(tmp_path)


@pytest.mark.parametrize("source", ["run", "predictions"])
def test_scoring_again_keeps_the_judges_budget(
    source: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(place.folder)
    if source == "run":
        assert main(place.command("--predict_only", "-o", str(place.folder / "out"))) == 0
        flags = ["score", str(place.folder / "out")]
    else:
        rows = [{"doc_id": n, "prediction": "A"} for n in range(8)]
        (place.folder / "said.json").write_text(json.dumps(rows))
        flags = [
            "score",
            "--predictions",
            str(place.folder / "said.json"),
            "--tasks",
            str(place.folder / "own.yaml"),
        ]
    flags += [
        "--include_path",
        where,
        "--data_dir",
        where,
        "--judge_model",
        "meter",
        "--judge_args",
        place.judge,
    ]
    capsys.readouterr()
    assert main([*flags, "--max_cost", "0.003", "--judge_prices", "in=10,out=20"]) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert place.sent("judge") == 3
    assert (
        "(the judge's: 3 requests, 330 tokens, cost 0.0036). BUDGET: --max_cost 0.003 is reached, with 0.0036"
        in out
    )
    assert "LEFT OUT: 5 of 8 rows from own graded" in out
    assert main([*flags, "--max_requests", "4", "--json"]) == 3
    spent = json.loads(capsys.readouterr().out)["spent"]
    assert (spent["judge"]["requests"], spent["reached"]) == (4, "--max_requests 4 is reached")
    assert main([*flags, "--max_requests", "4"]) == 0, "the grades are kept"
    assert place.sent("judge") == 8
    for more, words in (
        (("--max_requests", "0"), "--max_requests: must be a whole number from 1, got 0"),
        (("--max_cost", "1"), "--max_cost: needs --judge_prices in=X,out=Y, per million tokens"),
        (("--max_cost", "1", "--judge_prices", "in=1"), "give --judge_prices in=X,out=Y"),
    ):
        assert main([*flags, *more]) == 2
        assert words in capsys.readouterr().err
    alone = flags[: flags.index("--judge_model")]
    assert main([*alone, "--max_tokens_total", "4"]) == 2
    assert "--max_tokens_total: needs --judge_model: scoring asks no other model" in capsys.readouterr().err


def of_panel(place: Place) -> tuple[str, ...]:
    log = str(place.folder / "judge.log")
    judges = [
        {"judge": "meter", "name": name, "says": "4", "log": log, "counts": True} for name in ("big", "small")
    ]
    judges[1]["says"] = "3"
    return ("--judge_model", "panel", "--judge_args", json.dumps({"judges": judges}))


def test_each_judge_of_a_panel_has_its_own_prices(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    prices = json.dumps({"big": {"in": 100, "out": 200}, "small": {"in": 1, "out": 2}})
    flags = (*of_panel(place), "--prices", "in=0,out=0", "--judge_prices", prices)
    _, plan = ran(place, capsys, *flags, "--dry_run")
    costs = [
        judge["input_tokens"] * price + judge["output_tokens"] * 2 * price
        for judge, price in zip(plan["judge"], (100, 1), strict=True)
    ]
    assert plan["estimate"]["cost"] == pytest.approx(sum(costs) / 1e6)
    # a reply of 100 and 10 tokens costs 0.012 of the one judge and 0.00012 of the other
    code, result = ran(place, capsys, *flags, "--max_cost", "0.0965")
    judge = result["spent"]["judge"]
    assert (code, judge["requests"], judge["input_tokens"]) == (3, 13, 1300)
    assert judge["cost"] == pytest.approx(8 * 0.012 + 5 * 0.00012)
    assert {name: one["requests"] for name, one in judge["judges"].items()} == {"big": 8, "small": 5}
    assert judge["judges"]["small"]["prices"] == {"in": 1, "out": 2}
    assert judge["judges"]["small"]["cost"] == pytest.approx(5 * 0.00012)


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        (
            "in=1,out=2",
            """there are 2 judges, and their prices may differ: give --judge_prices '{"big": {"in": X, "out": Y}, "small": """,
        ),
        (
            '{"big": {"in": 1, "out": 1}}',
            "--judge_prices: small: has no prices (in=0 and out=0 if it costs nothing)",
        ),
        ('{"big": {"in": 1}, "smal": {"in": 1}}', "--judge_prices: no judge 'smal'. Did you mean small?"),
        ('{"big": {"inn": 1}, "small": {"in": 1}}', "--judge_prices: big: no price 'inn'. Did you mean in?"),
        ('{"big": {"in": 1}, "small": 3}', "--judge_prices: small: must be prices such as"),
    ],
)
def test_prices_of_a_panel_are_those_of_each_judge(
    prices: str, words: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(place.command(*of_panel(place), "--judge_prices", prices)) == 2
    assert words in capsys.readouterr().err
