"""Tests rules of form: verdicts of IFEval's released code on answers of our own, its loose readings, and bad rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.form_rules import FORM_RULES, RuleArguments, sentence_count

#: Verdicts of the code at VoiceBench 5338154 (src/evaluator/instruction_following_eval), run with nltk 3.10 on these texts.
VERDICTS = json.loads(
    (Path(__file__).resolve().parents[1] / "data" / "form_rules_verdicts.json").read_text(encoding="utf-8")
)
TWO = {
    "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_bullet_lists"],
    "kwargs": [{}, {"num_bullets": 2, "keyword": None}],
}


def metric(**options: Any) -> Metric:
    return build_metric({"metric": "rules_followed", **options}, "task.yaml:9")


def row(said: str | None, fields: dict[str, Any] = TWO) -> ScoredRow:
    return ScoredRow(Answer(said, "test"), "", FilterContext(doc=fields), "clip")


@pytest.mark.parametrize("case", VERDICTS, ids=lambda case: f"{case['rule']} {case['text'][:20]!r}")
def test_verdicts_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    arguments = RuleArguments(case["rule"], case["arguments"])
    if case["rule"].startswith("language") and importlib.util.find_spec("langdetect") is None:
        with pytest.raises(RowError, match="needs langdetect"):
            FORM_RULES[case["rule"]](case["text"], arguments)
        return
    assert FORM_RULES[case["rule"]](case["text"], arguments) == case["followed"]


def test_every_rule_has_verdicts_of_both_kinds() -> None:
    kinds = {(case["rule"], case["followed"]) for case in VERDICTS}
    counted_here = {"length_constraints:number_sentences"}
    assert {rule for rule in FORM_RULES if {(rule, True), (rule, False)} - kinds} == counted_here


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith left. Was he late? Yes", 3),
        ("One... two. Three!", 3),
        ("It costs 3.50 euros.", 1),
        ("今天很好。明天呢？", 2),
        ('He said "Stop!" and left.', 2),
        ("", 0),
    ],
)
def test_sentences_are_counted_by_their_ends(text: str, count: int) -> None:
    assert sentence_count(text) == count


def test_shares_of_rows_and_of_rules() -> None:
    rows = [row("* a\n* b"), row("* a, b\n* c"), row("nothing"), row(None)]
    assert [metric().score(each) for each in rows] == [1, 0, 0, 0]
    assert [metric(per="rule").score(each) for each in rows] == [1, 0.5, 0.5, 0]
    assert metric().aggregate(rows) == 1 / 4
    assert metric(per="rule").aggregate(rows) == 4 / 8


def test_loosely_lines_and_asterisks_may_be_left_out() -> None:
    rows = [
        row("Sure, here:\n- a\n- b"),
        row("- a\n- b\nOh, and more"),
        row("Well, so\n- a\n- b\nfine, then"),
    ]
    rows += [row("- a, b\n- c, d")]
    assert [metric().score(each) for each in rows] == [0, 0, 0, 0]
    assert [metric(loose=True).score(each) for each in rows] == [1, 1, 1, 0]
    strict, loose = (4 / 8, 7 / 8)
    assert metric(per="rule").aggregate(rows) == strict
    assert metric(per="rule", loose=True).aggregate(rows) == loose
    assert metric(per="mean_of_four").aggregate(rows) == pytest.approx((0 + strict + 3 / 4 + loose) / 4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]},
            "Did you mean punctuation:no_comma?",
        ),
        ({"instruction_id_list": TWO["instruction_id_list"], "kwargs": [{}]}, "1 entries for the 2 rules"),
        ({"instruction_id_list": [], "kwargs": []}, "must hold a list of rules"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keyword": "x"}]}, "needs 'keywords'"),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": 3, "relation": "more"}],
            },
            "must be 'less than' or 'at least'",
        ),
        (
            {
                "instruction_id_list": ["detectable_format:number_bullet_lists"],
                "kwargs": [{"num_bullets": "2"}],
            },
            "num_bullets must be a whole number",
        ),
    ],
)
def test_a_row_whose_rules_cannot_be_read_is_an_error(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RowError, match=said):
        metric().score(row("text", fields))


def test_an_option_of_another_kind_is_refused() -> None:
    with pytest.raises(MarathonError, match="task.yaml:9: metric 'rules_followed': per: "):
        metric(per="word")
