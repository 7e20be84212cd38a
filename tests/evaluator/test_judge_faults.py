"""Tests a judge that fails, refuses or replies nonsense: its own readings lose rows, and no other number changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data
from helpers.judged_run import JUDGE, Court, Rules
from marathon_eval import simple_evaluate
from marathon_eval.api.results import TaskResult
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE, main

N = 10
TASK = "air_bench_sound_aqa"


@pytest.fixture
def court(tmp_path: Path) -> Court:
    """Return a court whose data has ten rows, of which the judge is asked by the row's question."""
    court = Court(tmp_path)
    rows = make_air_bench_mmar_data.foundation(court.folder / "data", rows=N // 2)
    for number, row in enumerate(row for row in rows if row["task_name"] == "Sound_AQA"):
        row |= {"question": f"Question {number}?", "answer_gt": row["choice_b"]}
    make_air_bench_mmar_data.write(court.folder / "data" / "Foundation" / "Foundation_meta.json", rows)
    return court


def replies(bad: int, reply: str) -> Rules:
    """Return rules by which the judge replies `reply` for the first `bad` rows and B for the others."""
    texts = [reply if number < bad else "B" for number in range(N)]
    return [{"has": [f"Question {number}?"], "replies": [text]} for number, text in enumerate(texts)]


def shown(task: TaskResult, reading: str) -> dict[str, Any]:
    return {name.partition("[")[0]: value for name, value in task.readings[reading].items()}


@pytest.mark.parametrize(
    ("bad", "reply"),
    [
        (N, "FAIL"),
        (N, "REFUSE"),
        (N, "I would say the second option, since it buzzes."),
        (3, "{]"),
        (3, "FAIL"),
        (1, ""),
    ],
)
def test_no_reading_but_the_judges_own_changes(court: Court, bad: int, reply: str) -> None:
    without = simple_evaluate(
        "dummy", [TASK], {"answer": "B it is"}, data_dir=str(court.folder / "data")
    ).tasks[TASK]
    result = court.run([TASK], replies(bad, reply), answer="B it is")
    task = result.tasks[TASK]
    for reading in ("paper", "strict"):
        assert shown(task, reading) == shown(without, reading)
        assert task.coverage_of(reading) == 1.0
    assert (task.n_scored, task.n_errors) == (N, 0)
    assert task.n_left_out == {"aligned": bad}
    assert task.n_unanswered["aligned"] == 0
    assert task.coverage_of("aligned") == pytest.approx((N - bad) / N)
    assert shown(task, "aligned")["accuracy"].value == (None if bad == N else 1.0)
    assert not result.whole


def test_a_judge_whose_server_is_gone_takes_nothing_else_away(court: Court) -> None:
    result = simple_evaluate(
        "dummy",
        [TASK],
        {"answer": "B it is"},
        data_dir=str(court.folder / "data"),
        judge_model="openai_audio",
        judge_args={"base_url": "http://127.0.0.1:9/v1", "model": "gone", "retries": 0},
    )
    task = result.tasks[TASK]
    assert (task.n_scored, task.n_errors, task.n_left_out) == (N, 0, {"aligned": N})
    assert shown(task, "strict")["accuracy"].value == 1.0
    assert "no connection" in result.manifests[TASK]["judge"]["failure"]


TELLTALE = """
import os
from marathon_eval.api.model import Model
from marathon_eval.errors import MarathonError

class Telltale(Model):
    def generate(self, requests):
        raise MarathonError(f"refused the key {os.environ['OPENAI_API_KEY']}")
"""


def test_the_reason_holds_no_key(
    court: Court, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "sk-" + "telltale" * 4
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    (court.folder / "telltale.py").write_text(TELLTALE)
    asked = flags(court, [], "out")
    place = asked.index("--judge_model")
    del asked[place : place + 4]
    assert main([*asked, "--judge_model", str(court.folder / "telltale.py")]) == EXIT_INCOMPLETE
    out, err = capsys.readouterr()
    assert "It failed: refused the key" in out
    files = "".join(path.read_text() for path in (court.folder / "out").rglob("*.json*"))
    assert "refused the key" in files
    assert secret not in out + err + files


def test_a_noisy_judge_costs_coverage_and_moves_no_score(court: Court) -> None:
    """Three of ten first replies are noise; asked again, two of those rows get their letter and one never does."""
    noise = {1: ["Hm.", "B"], 4: ["```", "{}", "B"], 7: ["B or A", "?", "the bird", "\x00"]}
    rules = [{"has": [f"Question {n}?"], "replies": noise.get(n, ["B"])} for n in range(N)]
    without = simple_evaluate("dummy", [TASK], {"answer": "B it is"}, data_dir=str(court.folder / "data"))
    clean = without.tasks[TASK]
    noisy = court.run([TASK], rules, answer="B it is")
    task, facts = noisy.tasks[TASK], noisy.manifests[TASK]["judge"]
    assert shown(task, "aligned")["accuracy"].value == 1.0
    assert {reading: shown(task, reading) for reading in ("paper", "strict")} == {
        reading: shown(clean, reading) for reading in ("paper", "strict")
    }
    assert task.n_left_out == {"aligned": 1}
    assert (facts["n_retries"], facts["n_unparsed"], facts["n_failed"]) == (1 + 2 + 3, 1, 0)


def test_a_wrong_choice_counts_and_an_unreadable_one_does_not(court: Court) -> None:
    rules = [{"has": ["Question 0?"], "replies": ["A"]}, *replies(3, "no idea")]
    task = court.run([TASK], rules, answer="B it is").tasks[TASK]
    assert task.n_left_out == {"aligned": 2}
    assert shown(task, "aligned")["accuracy"].value == pytest.approx(7 / 8)


def test_a_row_without_a_rubric_keeps_its_other_readings(court: Court) -> None:
    rows = make_air_bench_mmar_data.mmar(court.folder / "data", rows=2)
    del rows[0]["rubric"]
    text = "\n".join(map(json.dumps, rows))
    (court.folder / "data" / "MMAR-meta.jsonl").write_text(text)
    rules: Rules = [{"has": ["Say which option"], "replies": ["A"]}, {"has": [], "replies": ["nothing"]}]
    task = court.run(["mmar"], rules, answer=rows[0]["answer"]).tasks["mmar"]
    assert (task.n_scored, task.n_errors) == (2, 0)
    assert task.n_left_out["rubrics"] >= 1
    assert task.coverage_of("paper") == task.coverage_of("aligned") == 1.0


def flags(court: Court, rules: Rules, out: str) -> list[str]:
    (court.folder / "rules.json").write_text(json.dumps(rules))
    judge = json.dumps({"script": str(court.folder / "rules.json"), "log": str(court.log)})
    return [
        *("--model", "dummy", "--model_args", "answer=B it is", "--tasks", TASK, "--data_dir"),
        *(str(court.folder / "data"), "--use_cache", str(court.folder / "cache"), "--judge_model", JUDGE),
        *("--judge_args", judge, "--output_path", str(court.folder / out)),
    ]


def test_the_table_and_the_exit_code_say_what_the_judge_left_out(
    court: Court, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(court, replies(3, "FAIL"), "first")) == EXIT_INCOMPLETE
    table = capsys.readouterr().out
    assert f"3 of {N} rows from {TASK} aligned" in table
    assert "70.0%" in table
    assert "It failed: no judge at home" in table
    assert "100.0%" in table
    stored = json.loads(next((court.folder / "first").rglob("results.json")).read_text())["tasks"][TASK]
    assert (stored["n_left_out"], stored["coverage"]) == ({"aligned": 3}, 1.0)
    assert main(flags(court, replies(0, ""), "second")) == EXIT_WHOLE


def test_a_comparison_takes_rows_that_both_judgements_have(
    court: Court, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_after = [{"has": [f"Question {number}?"], "replies": ["A"]} for number in range(5, N)]
    main(flags(court, [*wrong_after, *replies(3, "hm")], "first"))
    main(flags(court, replies(0, ""), "second") + ["--no_cache"])
    capsys.readouterr()
    assert (
        main(["compare", str(court.folder / "first"), str(court.folder / "second"), "--json"]) == EXIT_WHOLE
    )
    aligned = json.loads(capsys.readouterr().out)["tasks"][TASK]["readings"]["aligned"]
    accuracy = next(value for name, value in aligned["metrics"].items() if name.startswith("accuracy"))
    assert (accuracy["a"], accuracy["b"]) == (pytest.approx(2 / 7), 1.0)
    discordance = aligned["discordance"]
    assert sum(discordance[key] for key in ("both", "only_a", "only_b", "neither")) == 7
