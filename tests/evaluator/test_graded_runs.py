"""Tests runs with the general judge: one, several, pairs, labels, gates, rows without a right answer, schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.api_server import FakeServer
from helpers.judged_run import JUDGE
from helpers.minimal_task import KEYS, write_task
from marathon_eval import simple_evaluate
from marathon_eval.api.results import RunResult
from marathon_eval.cli.main import EXIT_WHOLE, main
from marathon_eval.errors import MarathonError
from marathon_eval.results.directions import directions, falling_metrics
from marathon_eval.scoring.alike import headline_falls

Rules = list[dict[str, Any]]
ROWS = [
    {"q": "What is heard?", "a": "a dog barks", "theirs": "a cat"},
    {"q": "Who speaks?", "a": "a man", "theirs": "a woman"},
    {"q": "Where is it?", "a": "in a hall", "theirs": "outside"},
]
GRADED = "filter_list:\n  - {name: graded, filter: [{function: judge_grade}]}\n"


METRICS = (
    "metric_list: [{metric: grade}, {metric: grade_agreement}]\nheadline: {reading: graded, metric: grade}\n"
)


class Bench:
    """Runs a graded task with scripted judges, each with its own rules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def judge(self, name: str, rules: Rules) -> dict[str, Any]:
        script, log = self.folder / f"{name}.json", self.folder / f"{name}.log"
        script.write_text(json.dumps([*rules, {"has": [], "replies": ['{"grade": 1}']}]))
        return {"script": str(script), "log": str(log), "identity": name}

    def prompts(self, name: str) -> list[str]:
        log = self.folder / f"{name}.log"
        return [json.loads(line)[0] for line in log.read_text().splitlines()] if log.exists() else []

    def run(
        self, keys: str, judge: dict[str, Any] | list[dict[str, Any]], rows: Any = ROWS, **settings: Any
    ) -> RunResult:
        path = write_task(self.folder, KEYS + keys, rows)
        several = isinstance(judge, list)
        return simple_evaluate(
            "dummy",
            [str(path)],
            {"answer": settings.pop("answer", "barking")},
            judge_model="panel" if several else JUDGE,
            judge_args={"judges": [{"judge": JUDGE, **one} for one in judge]} if several else judge,
            use_cache=str(self.folder / "cache"),
            **settings,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def replied(question: str, *texts: str) -> dict[str, Any]:
    return {"has": [question], "replies": list(texts)}


ONE = GRADED + METRICS + "judge: {grade: {readings: graded, scale: [1, 5]}}\n"


def values(result: RunResult) -> dict[str, float | None]:
    return {name: metric.value for name, metric in result.tasks["own"].readings["graded"].items()}


def test_one_judge_grades_and_a_rerun_asks_nothing(bench: Bench) -> None:
    judge = bench.judge(
        "one", [replied("What is heard?", '{"grade": 5}'), replied("Who", "no", '{"grade": 3}')]
    )
    result = bench.run(ONE, judge)
    assert values(result) == {"grade[one]": pytest.approx((5 + 3 + 1) / 3), "grade_agreement[one]": None}
    asked = len(bench.prompts("one"))
    assert asked == 4
    prompt = bench.prompts("one")[0]
    assert "What is heard?" in prompt
    assert "[Right answer]\na dog barks" in prompt
    assert "[Answer to be graded]\nbarking" in prompt
    assert "a whole number from 1 (worst) to 5 (best)" in prompt
    assert bench.run(ONE, judge).tasks == result.tasks
    assert len(bench.prompts("one")) == asked


def test_an_empty_answer_has_the_lowest_grade_and_no_judge_is_asked(bench: Bench) -> None:
    result = bench.run(ONE, bench.judge("one", []), answer=" ")
    assert values(result)["grade[one]"] == 1.0
    assert result.tasks["own"].n_unanswered["graded"] == 3
    assert bench.prompts("one") == []


def test_the_answer_the_prompt_and_the_judges_settings_are_in_its_cache_key(bench: Bench) -> None:
    judge = bench.judge("one", [])
    bench.run(ONE, judge)
    for change in (
        {"keys": ONE, "answer": "meowing"},
        {"keys": ONE.replace("[1, 5]", "[1, 9]")},
        {"keys": ONE.replace("scale:", "system: You are strict., scale:")},
        {"keys": ONE, "judge_gen_kwargs": {"max_gen_toks": 99}},
    ):
        before = len(bench.prompts("one"))
        bench.run(change.pop("keys"), judge, **change)
        assert len(bench.prompts("one")) == before + 3, change


def test_what_one_judge_says_unreadably_leaves_the_row_out(bench: Bench) -> None:
    good = bench.judge("good", [])
    noisy = bench.judge(
        "noisy", [replied("Who", "hm"), replied("Where", "FAIL"), replied("What", '{"grade": 3}')]
    )
    result = bench.run(ONE, [good, noisy])
    task = result.tasks["own"]
    assert (task.n_scored, task.n_errors, task.n_left_out) == (3, 0, {"graded": 2})
    assert values(result)["grade[good+noisy]"] == 2.0
    assert [sample.readings["graded"].rule for sample in result.samples["own"]] == [
        "graded",
        "judge_unparsed",
        "judge_failed",
    ]


def test_several_judges_each_and_together_with_their_agreement(bench: Bench) -> None:
    first = bench.judge("one", [replied("What", "5"), replied("Who", "2"), replied("Where", "1")])
    second = bench.judge("two", [replied("What", "5"), replied("Who", "3"), replied("Where", "1")])
    result = bench.run(ONE, [first, second])
    found = values(result)
    assert found["grade[one]"] == pytest.approx(8 / 3)
    assert found["grade[two]"] == pytest.approx(9 / 3)
    assert found["grade[one+two]"] == pytest.approx(8.5 / 3)
    agreement = found["grade_agreement[one+two]"]
    assert agreement is not None
    assert 0.9 < agreement < 1
    assert result.tasks["own"].headline == {"reading": "graded", "metric": "grade[one+two]", "scale": 1.0}
    asked = len(bench.prompts("one"))
    assert bench.run(ONE, first).tasks["own"].n_left_out == {}
    assert len(bench.prompts("one")) == asked, "a judge's replies are cached for it alone"


def test_a_panel_names_its_judges_and_answers_nothing(bench: Bench) -> None:
    same = bench.judge("one", [])
    with pytest.raises(MarathonError, match="same name: one, one"):
        bench.run(ONE, [same, same])
    with pytest.raises(MarathonError, match="at least 2 items"):
        bench.run(ONE, [same])
    with pytest.raises(MarathonError, match='needs "judge"'):
        simple_evaluate("panel", ["own"], {"judges": [{}, {}]}, include_path=(str(bench.folder),))
    align = "judge: {pair: {readings: graded, prompt: x}}\n"
    keys = GRADED.replace("judge_grade", "judge_pair") + "metric_list: [{metric: judge_score}]\n" + align
    with pytest.raises(MarathonError, match="own.yaml:.*takes one judge, got one, two"):
        bench.run(keys, [same, bench.judge("two", [])])


def test_judges_of_one_model_are_told_apart_by_name(bench: Bench) -> None:
    strict = {**bench.judge("one", [replied("Where", '{"grade": 3}')]), "name": "strict"}
    kind = {**bench.judge("two", [replied("Where", '{"grade": 5}')]), "identity": "one"}
    with pytest.raises(MarathonError, match='two have the same name: strict, strict. Add to each the "name"'):
        bench.run(ONE, [strict, {**kind, "name": "strict"}])
    result = bench.run(ONE, [strict, {**kind, "name": "kind"}])
    grades = {name: value for name, value in values(result).items() if name.startswith("grade[")}
    assert grades == {
        "grade[strict+kind]": pytest.approx(2.0),
        "grade[strict]": pytest.approx(5 / 3),
        "grade[kind]": pytest.approx(7 / 3),
    }
    asked = len(bench.prompts("one"))
    renamed = bench.run(ONE, [{**strict, "name": "severe"}, kind])
    assert "grade[severe+one]" in values(renamed)
    assert len(bench.prompts("one")) == asked
    with pytest.raises(MarathonError, match="'a' and another have the same arguments"):
        bench.run(ONE, [{**strict, "name": "a"}, {**strict, "name": "b"}])
    with pytest.raises(MarathonError, match='"name" must be a text without'):
        bench.run(ONE, [{**strict, "name": "a+b"}, kind])


def test_a_panel_finds_judges_in_the_folders_of_include_path(bench: Bench) -> None:
    models = bench.folder / "models"
    models.mkdir()
    (models / "word_judge.py").write_text(Path(JUDGE).read_text())
    one, two = (
        bench.judge(name, [{"has": [], "replies": [grade]}]) for name, grade in (("a", "2"), ("b", "4"))
    )
    panel = {"judges": [{"judge": "word_judge", **one}, {"judge": "word_judge", **two}]}
    own = write_task(bench.folder, KEYS + ONE, ROWS)
    flags = {"judge_model": "panel", "judge_args": panel, "use_cache": str(bench.folder / "cache")}
    with pytest.raises(MarathonError, match="judge=word_judge: --judge_model: no model 'word_judge'"):
        simple_evaluate("dummy", [str(own)], **flags)
    result = simple_evaluate("dummy", [str(own)], include_path=[str(bench.folder)], **flags)
    assert values(result)["grade[a+b]"] == 3.0
    assert values(result)["grade[b]"] == 4.0


def test_two_answers_are_graded_in_both_orders(bench: Bench) -> None:
    metrics = ["grade", "other_grade", "grade_win_rate", "grade_position_bias", "grade_flip_rate"]
    keys = GRADED + "metric_list: [" + ", ".join(f"{{metric: {name}}}" for name in metrics) + "]\n"
    keys += "judge: {grade: {readings: graded, scale: [1, 10], against: theirs}}\n"
    second = {"has": ["[Answer 2]\nbarking"], "replies": ['{"first": 4, "second": 8}']}
    first = {"has": ["[Answer 1]\nbarking"], "replies": ['{"first": 6, "second": 7}']}
    result = bench.run(keys, bench.judge("one", [second, first]))
    found = {name.partition("[")[0]: value for name, value in values(result).items()}
    expected = {
        "grade": 7.0,
        "other_grade": 5.5,
        "grade_win_rate": 0.5,
        "grade_position_bias": 2.0,
        "grade_flip_rate": 1.0,
    }
    assert found == expected
    assert len(bench.prompts("one")) == 6


def test_a_bias_is_best_at_0_so_that_no_direction_of_it_is_better(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = GRADED + "metric_list: [{metric: grade_position_bias}, {metric: grade_flip_rate}]\n"
    keys += "headline: {reading: graded, metric: grade_position_bias}\n"
    keys += "judge: {grade: {readings: graded, scale: [1, 10], against: theirs}}\n"
    rows = [{"q": f"What is heard, {n}?", "a": "a dog", "theirs": "a cat"} for n in range(8)]
    judge = bench.judge("one", [{"has": [], "replies": ['{"first": 4, "second": 8}']}])
    places = [str(bench.folder / name) for name in ("a", "b")]
    for place, answer in zip(places, ("barking", "meowing"), strict=True):
        result = bench.run(keys, judge, rows, answer=answer, output_path=place)
        [task] = result.tasks.values()
        assert values(result)["grade_position_bias[one]"] == 4.0
        assert falling_metrics(task.task, task.metrics) == {"graded": ["grade_flip_rate[one]"]}
        assert not headline_falls(task)
        better = directions(task)
        assert better == {"grade_position_bias[one]": None, "grade_flip_rate[one]": False}
    capsys.readouterr()
    assert main(["show", places[0], "--wrong", "--json"]) == 0
    assert {json.loads(line)["outcome"] for line in capsys.readouterr().out.splitlines()} == {"graded"}
    main(["compare", *places, "--gate", f"{task.task}>=-1"])
    assert "is best at 0: neither its rise nor its fall is a loss" in capsys.readouterr().out


def test_labels_raters_and_a_prompt_of_the_tasks_own(bench: Bench) -> None:
    keys = (
        GRADED
        + METRICS
        + (
            "judge:\n  grade:\n    readings: graded\n    labels: {right: 1, partly: 0.5, wrong: 0}\n    raters: 2\n"
            "    prompt: 'Is {{ response }} the same as {{ reference }}, asked {{ q }}?'\n"
        )
    )
    rules: Rules = [{"has": ["What is"], "replies": ["right"]}, {"has": [], "replies": ["Partly"]}]
    result = bench.run(keys, bench.judge("one", rules))
    assert values(result)["grade[one]"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    prompt = bench.prompts("one")[0]
    assert prompt.startswith("Is barking the same as a dog barks, asked What is heard??")
    assert 'one of "right", "partly", "wrong"' in prompt
    assert len(bench.prompts("one")) == 6


def test_rows_without_a_right_answer(bench: Bench) -> None:
    rows = [{**ROWS[0], "a": None}, {**ROWS[1], "a": ""}, ROWS[2]]
    judge = bench.judge("one", [])
    required = bench.run(ONE, judge, rows).tasks["own"]
    assert (required.n_scored, required.n_errors) == (1, 2)
    optional = bench.run(ONE.replace("scale:", "reference: optional, scale:"), judge, rows)
    assert (optional.tasks["own"].n_scored, optional.tasks["own"].n_errors) == (3, 0)
    assert ["[Right answer]" in prompt for prompt in bench.prompts("one")[-2:]] == [False, False]
    plain = GRADED + "  - {name: plain, filter: [{function: take_first}]}\n"
    plain += "metric_list: [{metric: exact_match, filter_list: plain}]\n"
    plain += "judge: {grade: {readings: graded, scale: [1, 5], reference: optional}}\n"
    with pytest.raises(MarathonError, match=r"own.yaml:\d+: judge: grade: reference: .*'plain' compares"):
        bench.run(plain, judge, rows)


def test_only_a_gate_spares_the_judge_and_its_rows_have_the_lowest_grade(bench: Bench) -> None:
    keys = GRADED + "  - {name: plain, filter: [{function: take_first}]}\n"
    keys += "metric_list: [{metric: exact_match, filter_list: plain}, {metric: grade, filter_list: graded}]\n"
    judge = "judge: {grade: {readings: graded, scale: [1, 5]GATE}}\n"
    scripted = bench.judge("one", [{"has": [], "replies": ["5"]}])
    assert values(bench.run(keys + judge.replace("GATE", ""), scripted, answer="a man")) == {
        "grade[one]": 5.0
    }
    assert len(bench.prompts("one")) == 3
    gated = judge.replace("GATE", ", gate: {reading: plain, metric: exact_match}").replace("[1, 5]", "[1, 6]")
    result = bench.run(keys + gated, scripted, answer="a man")
    assert values(result) == {"grade[one]": pytest.approx((1 + 5 + 1) / 3)}
    assert len(bench.prompts("one")) == 4


def test_thoughts_that_never_end_have_the_lowest_grade(bench: Bench) -> None:
    result = bench.run(ONE, bench.judge("one", []), answer="<think>Hm, a dog")
    assert values(result)["grade[one]"] == 1.0
    assert result.tasks["own"].n_unanswered == {"graded": 3}
    assert bench.prompts("one") == []


@pytest.mark.parametrize("held", [True, False])
def test_a_server_is_held_to_the_schema_where_it_can_be(bench: Bench, held: bool) -> None:
    path = write_task(bench.folder, KEYS + ONE, ROWS)
    with FakeServer(answer='{"reason": "", "grade": 4}') as server:
        result = simple_evaluate(
            "dummy",
            [str(path)],
            judge_model="openai_audio",
            judge_args={"base_url": f"{server.url}/v1", "model": "small", "json_schema": held},
            use_cache=str(bench.folder / f"cache_{held}"),
        )
        bodies = [call.body for call in server.calls]
    assert values(result)["grade[small]"] == 4.0
    assert all(("response_format" in body) == held for body in bodies)
    if held:
        schema = bodies[0]["response_format"]["json_schema"]
        assert schema["schema"]["properties"]["grade"] == {"type": "integer", "enum": [1, 2, 3, 4, 5]}


def test_a_stored_run_is_scored_again_and_compared(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_task(bench.folder, KEYS + ONE, ROWS)
    runs = []
    for name, grade in (("low", "2"), ("high", "4")):
        judge = json.dumps(bench.judge(name, [{"has": [], "replies": [grade]}]) | {"identity": "same"})
        out = str(bench.folder / name)
        flags = ["--model", "dummy", "--tasks", str(path), "--no_cache", "--judge_model", JUDGE, "-o", out]
        assert main([*flags, "--judge_args", judge]) == EXIT_WHOLE
        runs.append(out)
    capsys.readouterr()
    assert main(["compare", *runs, "--json"]) == EXIT_WHOLE
    (task,) = json.loads(capsys.readouterr().out)["tasks"].values()
    assert task["readings"]["graded"]["metrics"]["grade[same]"]["difference"] == 2.0
    assert main(["judge_agreement", *runs, "--json"]) == EXIT_WHOLE
    (agreement,) = json.loads(capsys.readouterr().out)["agreement"]
    assert (agreement["kind"], agreement["n"], agreement["mean_difference"]) == ("grade", 3, 2.0)
