"""Tests panels of judges: how their grades combine, and one of them against people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.judged_run import JUDGE
from helpers.minimal_task import KEYS, write_task
from marathon_eval import simple_evaluate
from marathon_eval.api.results import RunResult
from marathon_eval.cli.main import EXIT_WHOLE, main
from marathon_eval.errors import MarathonError

ROWS = [{"q": f"Question {letter}?", "a": "a dog barks"} for letter in "ABC"]


class Panel:
    """Runs a graded task with scripted judges, each with its own replies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def judge(self, name: str, *replies: str) -> dict[str, Any]:
        """Return the arguments of a judge that gives these replies to the rows, in order."""
        script = self.folder / f"{name}.json"
        rules = [{"has": [row["q"]], "replies": [text]} for row, text in zip(ROWS, replies, strict=True)]
        script.write_text(json.dumps(rules))
        return {"script": str(script), "log": str(self.folder / f"{name}.log"), "identity": name}

    def run(self, keys: str, judges: list[dict[str, Any]] | dict[str, Any], **settings: Any) -> RunResult:
        return simple_evaluate(
            "dummy",
            [str(write_task(self.folder, KEYS + keys, ROWS))],
            {"answer": "barking"},
            judge_model="panel" if isinstance(judges, list) else JUDGE,
            judge_args={"judges": [{"judge": JUDGE, **one} for one in judges]}
            if isinstance(judges, list)
            else judges,
            use_cache=str(self.folder / "cache"),
            **settings,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Panel:
    return Panel(tmp_path)


LABELS = (
    "filter_list: [{name: graded, filter: [{function: judge_grade}]}]\n"
    "metric_list: [{metric: grade}]\nheadline: {reading: graded, metric: grade}\n"
    "judge: {grade: {readings: graded, labels: {right: 1, partly: 0.5, wrong: 0}, combine: COMBINE}}\n"
)

SCALE = LABELS.replace("labels: {right: 1, partly: 0.5, wrong: 0}, combine: COMBINE", "scale: [1, 5]")


@pytest.mark.parametrize(
    ("combine", "rows"),
    [("mean", [2 / 3, 1 / 3, 0.5]), ("vote", [1.0, 0.0, 0.0]), ("median", [1.0, 0.0, 0.5])],
)
def test_a_panel_may_vote(bench: Panel, combine: str, rows: list[float]) -> None:
    said = {
        "a": ("right", "wrong", "right"),
        "b": ("right", "wrong", "partly"),
        "c": ("wrong", "right", "wrong"),
    }
    judges = [
        bench.judge(name, *(json.dumps({"grade": one}) for one in labels)) for name, labels in said.items()
    ]
    result = bench.run(LABELS.replace("COMBINE", combine), judges)
    scores = [sample.readings["graded"].scores["grade[a+b+c]"] for sample in result.samples["own"]]
    assert scores == pytest.approx(rows)
    alone = result.tasks["own"].readings["graded"]["grade[a]"]
    assert alone.value == pytest.approx(2 / 3), "each judge's own grades are as they were"


def test_an_unknown_way_to_combine_is_told(bench: Panel) -> None:
    with pytest.raises(MarathonError, match="combine"):
        bench.run(LABELS.replace("COMBINE", "majority"), [])


def test_one_judge_of_a_panel_is_held_against_people(
    bench: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = bench.judge("strict", *['{"grade": 1}'] * 3)
    mild = bench.judge("mild", *['{"grade": 5}'] * 3)
    bench.run(SCALE, [strict, mild], output_path=str(bench.folder / "out"))
    people = bench.folder / "people.csv"
    people.write_text("doc_id,score\n0,5\n1,5\n2,5\n")
    flags = ["judge_agreement", str(bench.folder / "out"), str(people), "--json"]
    agreed = {}
    for more in ([], ["--judge", "mild"], ["--judge", "strict"]):
        assert main([*flags, *more]) == EXIT_WHOLE
        (found,) = json.loads(capsys.readouterr().out)["agreement"]
        agreed[" ".join(more[1:])] = (found["agreement"], found["other_minus_one"])
    assert agreed == {"": (0.0, 2.0), "mild": (1.0, 0.0), "strict": (0.0, 4.0)}
    for side, judges in (
        ("panel", [mild, bench.judge("third", *['{"grade": 2}'] * 3)]),
        ("other", [strict, mild]),
    ):
        bench.run(SCALE, judges, output_path=str(bench.folder / side))
    bench.run(SCALE, mild, output_path=str(bench.folder / "alone"))
    for judge, side, same in (
        ("mild", "panel", "mild"),
        ("mild", "alone", "mild"),
        (None, "panel", None),
        (None, "other", "strict+mild"),
    ):
        named = ["--judge", judge] if judge else []
        assert main([*flags[:2], str(bench.folder / side), *named, "--json"]) == EXIT_WHOLE
        (found,) = json.loads(capsys.readouterr().out)["agreement"]
        assert found["same_judge"] == same
    assert main([*flags, "--judge", "mlid"]) == 2
    assert "no judge 'mlid'. Did you mean mild?" in capsys.readouterr().err
