"""Tests the prompts of judges and the parsing of their replies: options, ratings, pairs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data
from helpers.judged_run import Court, Rules
from helpers.minimal_task import load, write_task
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.judge_prompts import check_judge_columns, read_rubric, trimmed_mean
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.scoring.judge import Pair, Pass, read_letter


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path)


def test_alignment_reads_letters_and_none_and_nothing_else(court: Court) -> None:
    rows = make_air_bench_mmar_data.foundation(court.folder / "data", rows=2)
    ours = [row for row in rows if row["task_name"] == "Sound_AQA"]
    keys = ("choice_a", "choice_b", "choice_c", "choice_d")
    for number, row in enumerate(ours):
        row |= {"question": f"Question {number}?", "answer_gt": row["choice_b"]}
    make_air_bench_mmar_data.write(court.folder / "data" / "Foundation" / "Foundation_meta.json", rows)
    replies = ["(B).", "none", "It is B, I think", "c"]
    rules: Rules = [{"has": [f"Question {n}?"], "replies": [reply]} for n, reply in enumerate(replies)]
    result = court.run(["air_bench_sound_aqa"], rules, answer="that bird")
    readings = [sample.readings["aligned"] for sample in result.samples["air_bench_sound_aqa"]]
    assert [(one.answer, one.rule) for one in readings] == [
        (ours[0]["choice_b"], "judge"),
        (None, "none_fits"),
        (None, "judge_unparsed"),
        (ours[3]["choice_c"], "judge"),
    ]
    value = result.tasks["air_bench_sound_aqa"].readings["aligned"]["accuracy[scripted]"].value
    assert value == pytest.approx(1 / 3)
    asked = court.calls()[0][0]
    assert all(f"{letter}. {ours[0][key]}" in asked for letter, key in zip("ABCD", keys, strict=True))


def rating(*scores: float) -> str:
    return json.dumps([{"name": f"point {n}", "score": s, "justification": ""} for n, s in enumerate(scores)])


def test_rubrics_are_gated_rated_by_five_and_trimmed(court: Court) -> None:
    rows = make_air_bench_mmar_data.mmar(court.folder / "data", rows=2)
    for number, row in enumerate(rows):
        row |= {
            "choices": ["zip", "kettle"],
            "answer": ("zip", "kettle")[number],
            "question": f"Row {number}",
        }
    text = "\n".join(map(json.dumps, rows))
    (court.folder / "data" / "MMAR-meta.jsonl").write_text(text)
    raters = [
        ["Here it is: " + rating(1, 1, 1, 1, 1)],
        [rating(1, 0, 0, 0, 0)],
        ["nothing", rating(1, 1, 1, 0, 0)],
    ]
    raters += [[rating(1, 1, 0, 0, 0)], [rating(0, 0, 0, 0, 0)]]
    rules: Rules = [{"has": ["Say which option"], "replies": ["A"]}, {"has": ["Criteria"], "replies": raters}]
    result = court.run(["mmar"], rules, answer="<think>It zips.</think>zip")
    readings = [sample.readings["rubrics"] for sample in result.samples["mmar"]]
    assert readings[0].scores["rubric_score[scripted]"] == pytest.approx((0.2 + 0.4 + 0.6) / 3)
    assert (readings[1].answer, readings[1].rule) == ("0", "below_gate")
    value = result.tasks["mmar"].readings["rubrics"]["rubric_score[scripted]"].value
    assert value == pytest.approx((0.2 + 0.4 + 0.6) / 6)
    rated = [call for call in court.calls() if "Criteria" in call[0]]
    assert len(rated) == 6
    assert sorted(one["seed"] for _, _, one in rated) == [42, 142, 242, 243, 342, 442]
    assert {one["temperature"] for _, _, one in rated if one["seed"] % 100 == 42} == {0.0}
    assert "[Reasoning to be rated]\nIt zips.\n[Its answer]\nzip" in rated[0][0]


def test_a_rater_that_never_rates_leaves_the_row_unrated(court: Court) -> None:
    rows = make_air_bench_mmar_data.mmar(court.folder / "data", rows=1)
    raters = [["five points"]] + [[rating(1, 1, 1, 1, 1)]] * 4
    rules: Rules = [{"has": ["Say which option"], "replies": ["A"]}, {"has": [], "replies": raters}]
    result = court.run(["mmar"], rules, answer=rows[0]["answer"])
    assert result.samples["mmar"][0].readings["rubrics"].rule == "judge_unparsed"
    assert result.tasks["mmar"].readings["rubrics"]["rubric_score[scripted]"].value is None
    assert result.tasks["mmar"].coverage_of("rubrics") == 0
    assert not result.whole


@pytest.mark.parametrize("choices", [["0", "1"], [0, None], [[0], [1]], [], [0, -1], "01", None])
def test_a_rubric_that_cannot_be_scored_leaves_its_row_out(court: Court, choices: Any) -> None:
    rows = make_air_bench_mmar_data.mmar(court.folder / "data", rows=2)
    rows[0]["rubric"][2]["choices"] = choices
    (court.folder / "data" / "MMAR-meta.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rules: Rules = [{"has": ["Say which option"], "replies": ["A"]}]
    rules.append({"has": [], "replies": [rating(1, 1, 1, 1, 1)]})
    result = court.run(["mmar"], rules, answer=rows[0]["answer"])
    first, second = result.samples["mmar"]
    assert first.readings["rubrics"].rule == "judge_not_asked"
    assert "no list of possible scores" in str(first.judge)
    assert second.readings["rubrics"].rule != "judge_not_asked"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("B", "B"),
        ("b", "B"),
        (" (B). ", "B"),
        ("**B**", "B"),
        ('"B"', "B"),
        ("none", "none"),
        ("None.", "none"),
        ("(NONE)", "none"),
        ("E", None),
        ("B or C", None),
        ("The answer is B", None),
        ("B: heron", None),
        ("", None),
        ("no", None),
        ("none of them", None),
    ],
)
def test_a_letter_or_none_and_nothing_else(reply: str, expected: str | None) -> None:
    assert read_letter(reply, "ABCD") == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (rating(1, 1, 0, 0, 0), 0.4),
        (rating(0, 0, 0, 0, 0), 0.0),
        (f"Sure!\n```json\n{rating(1, 1, 1, 1, 1)}\n```", 1.0),
        (rating(1, 1, 1, 1), None),
        (rating(1, 1, 1, 1, 2), None),
        (rating(1, 1, 1, 1, 0.5), None),
        (rating(1, 1, 1, 1, True), None),
        ('[{"score": "1"}, {"score": 1}, {"score": 1}, {"score": 1}, {"score": 1}]', None),
        ("[1, 1, 1, 1, 1]", None),
        ("[", None),
        ("all fine", None),
        ("", None),
    ],
)
def test_ratings(reply: str, expected: float | None) -> None:
    assert read_rubric(reply, [[0, 1]] * 5) == expected


def test_trimmed_means() -> None:
    assert trimmed_mean([1.0, 0.2, 0.6, 0.4, 0.0]) == pytest.approx(0.4)
    assert trimmed_mean([1.0, 0.0]) == 0.5


@pytest.mark.parametrize(
    "pair",
    [
        Pair(Pass(8, 7), Pass(9, 6)),
        Pair(None, Pass(1, 10)),
        Pair(Pass(0, 0), None),
        Pair(Pass(-1, 3), Pass(3, 3)),
    ],
)
def test_a_pair_is_kept_as_text_and_read_again(pair: Pair) -> None:
    assert Pair.of(pair.text()) == pair


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prompt: '{{ question'", "broken template"),
        ("prompt: '{{ question.__class__ }}'", "uses Python internals"),
        ("readings: algned", "readings does not list 'aligned'"),
        ("readings: [aligned, algned]", "no reading 'algned'. Did you mean aligned"),
        ("rater: 3", "unknown key 'rater'. Did you mean raters"),
        ("raters: 0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_judge_is_told_by_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    keys = {"readings": "aligned", "prompt": "'{{ question }}'"}
    keys |= dict([line.split(": ", 1)])
    text = "".join(f"    {key}: {value}\n" for key, value in keys.items())
    (tmp_path / "mine.yaml").write_text(f"include: mmau.yaml\njudge:\n  align:\n{text}")
    problems = validate_task(tmp_path / "mine.yaml", Registry().task_path)
    assert len(problems) == 1
    assert "mine.yaml:" in problems[0]
    assert said in problems[0]


def test_a_score_that_no_float_can_hold_is_no_score() -> None:
    assert read_rubric(f'[{{"score": 1{"0" * 400}}}]', [[0, 1]]) is None


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("grade: {readings: graded, scale: [1, 5], prompt: 'Is {{ a }} right?'}", "must hold {{ response }}"),
        (
            "grade: {readings: graded, scale: [1, 5], against: a, prompt: 'Which is better? {{ first }}'}",
            "must hold {{ first }} and {{ second }}",
        ),
    ],
)
def test_a_prompt_without_the_answer_is_refused(tmp_path: Path, judge: str, said: str) -> None:
    readings = "filter_list: [{name: graded, filter: [{function: judge_grade}]}]\n"
    metrics = "metric_list: [{metric: grade, filter_list: graded}]\n"
    text = f"doc_to_text: q\ndoc_to_target: a\n{readings}{metrics}judge:\n  {judge}\n"
    path = write_task(tmp_path, text, [{"q": "Who?", "a": "Ann"}])
    with pytest.raises(MarathonError, match=re.escape(said)):
        check_judge_columns(load(path), load(path).docs(str(tmp_path)).docs)
