"""Tests rows without a value: null golds, options and predictions, nan scores, and labels in several forms."""

from __future__ import annotations

import re
from typing import Any

import pytest

from helpers.minimal_task import docs_of, errors, make_task, write_task
from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Mean, ScoredRow
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import TaskResult
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import load_tasks
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.task.task import Task

OPTIONS = FilterContext(("no", "yes"), ("A", "B"))
NUMBERS = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: mae}, {metric: number_match}]\n"


def result_of(task: Task, *texts: str) -> TaskResult:
    docset = task.docs()
    samples = [task.score(doc, [Response(text)]) for doc, text in zip(docset.docs, texts, strict=True)]
    return task.aggregate(samples, docset)


def value(name: str, *rows: ScoredRow, **options: Any) -> float | None:
    return build_metric({"metric": name, **options}, "x").aggregate(rows)


def row(said: str, target: str | tuple[str, ...], context: FilterContext = OPTIONS) -> ScoredRow:
    return ScoredRow(Answer(said, "test"), target, context, "clip")


@pytest.mark.parametrize("target", ["a", "'{{ a }}'"])
@pytest.mark.parametrize("gold_is", ["option", "text", "any_text"])
@pytest.mark.parametrize("gold", [None, float("nan")])
def test_a_null_gold_is_an_error_row(target: str, gold_is: str, gold: Any, tmp_path: Any) -> None:
    keys = f"doc_to_text: q\ndoc_to_target: {target}\ngold_is: {gold_is}\n"
    docset = docs_of(tmp_path, keys, [{"q": "?", "a": gold}, {"q": "?", "a": "x"}])
    (error,) = errors(docset)
    assert "row 0: " in error
    assert "the gold answer is null" in error or "'a' is null in this row" in error


def test_an_empty_gold_is_an_error_row(tmp_path: Any) -> None:
    for gold_is in ("option", "text"):
        keys = f"doc_to_text: q\ndoc_to_target: a\ngold_is: {gold_is}\n"
        (error,) = errors(docs_of(tmp_path, keys, [{"q": "?", "a": " "}]))
        assert (
            'the gold answer is empty; without right answers, write doc_to_target: "" with gold_is' in error
        )


@pytest.mark.parametrize("choices", ["c", "'{{ c }}'"])
def test_a_null_in_a_list_of_options_is_no_option(choices: str, tmp_path: Any) -> None:
    keys = f"doc_to_text: q\ndoc_to_target: a\ndoc_to_choice: {choices}\n"
    rows = [{"q": "?", "a": "x", "c": ["x", None, "y"]}, {"q": "?", "a": "x", "c": ["x", "y", None]}]
    found = errors(docs_of(tmp_path, keys, rows))
    assert ["option 2 of 3 is null" in found[0], "option 3 of 3 is null" in found[1]] == [True, True]
    dropped = docs_of(tmp_path, keys + "missing_choice: drop\n", rows)
    assert len(errors(dropped)) == 1
    assert dropped.docs[1].choices == ("x", "y")


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize(
    "choices", ['doc_to_choice: "{{ [b, c, d] }}"', "doc_to_choice: listed", "choice_columns: [b, c, d]"]
)
def test_a_blank_option_is_absent_however_options_are_given(choices: str, blank: str, tmp_path: Any) -> None:
    keys = f"doc_to_text: q\ndoc_to_target: a\n{choices}\n"
    cells = [("x", "y", blank), ("x", blank, "y")]
    rows = [
        {"q": "?", "a": "x", **dict(zip("bcd", three, strict=True)), "listed": list(three)} for three in cells
    ]
    assert len(errors(docs_of(tmp_path, keys, rows))) == 2
    dropped = docs_of(tmp_path, keys + "missing_choice: drop\n", rows)
    assert dropped.docs[0].choices == ("x", "y")
    assert len(errors(dropped)) == 1, "the letters of the options after it would change"


def test_rows_without_a_value_are_left_out_and_counted(tmp_path: Any) -> None:
    task = make_task(tmp_path, NUMBERS, [{"q": "?", "a": gold} for gold in ("5", "loud", "7")])
    result = result_of(task, "4", "4", "none at all")
    assert result.readings["none"]["mae"].value == 1
    assert result.readings["none"]["number_match"].value == 0
    assert result.n_unscored == {"none": {"mae": 2, "number_match": 1}}
    assert result.summary()["n_unscored"] == result.n_unscored
    assert result_of(task, "4", "4", "7").n_unscored == {"none": {"mae": 1, "number_match": 1}}


def test_a_nan_score_enters_no_mean_and_no_interval(tmp_path: Any) -> None:
    scores = iter([float("nan"), 1.0, 0.0, float("inf")])
    metric = Mean("own", lambda row: next(scores))
    assert metric.aggregate([row("x", "x")] * 4) == 0.5


def test_an_error_rate_leaves_out_a_reference_without_words() -> None:
    rows = [row("two words", "(laughs)", FilterContext()), row("a", "a", FilterContext())]
    assert value("wer", *rows, language="de") == 0
    assert value("cer", *rows, language="de") == 0
    assert value("mean_wer", *rows, language="de") == 0
    assert value("wer", rows[0], language="de") is None
    several = row("a b", ("(laughs)", "a b"), FilterContext())
    assert value("wer", several, language="de") == 0


@pytest.mark.parametrize(("said", "gold"), [("B", "yes"), ("yes", "B"), ("yes", "yes"), ("B", "B")])
def test_metrics_compare_letter_and_text_of_an_option(said: str, gold: str) -> None:
    assert value("accuracy", row(said, gold)) == 1
    assert value("exact_match", row(said, gold)) == 1
    assert value("f1", row(said, gold), pos_label="yes") == 1
    assert value("f1", row(said, gold), pos_label="B") == 1
    assert value("f1", row(said, gold)) == 1  # lm-eval's default label 1 is the second option
    assert value("f1", row(said, gold), pos_label=0) is None


def test_f1_counts_a_hit_on_any_target_and_has_no_value_without_its_label() -> None:
    assert value("f1", row("yes", ("yeah", "yes"), FilterContext()), pos_label="yeah") == 1
    assert value("f1", row("fig", "fig", FilterContext())) is None
    assert value("token_f1", row("a ripe fig", ("fig", "a fig"), FilterContext()), language="de") == 0.8


def test_a_null_or_missing_value_of_a_row_is_seen_by_metrics() -> None:
    context = FilterContext(doc={"speaker": "ann"})
    assert row("x", "x", context).context.doc["speaker"] == "ann"


@pytest.mark.parametrize(
    ("language", "said", "gold", "f1"),
    [
        ("zh", "\u6211\u559c\u6b22\u732b", "\u6211\u559c\u6b22\u72d7", 0.75),
        ("zh", "AI \u5f88\u597d", "AI\u5f88\u5dee", 2 / 3),
        ("ja", "\u732b\u3067\u3059", "\u72ac\u3067\u3059", 2 / 3),
        ("en", "one bell", "one dog", 0.5),
    ],
)
def test_token_f1_compares_characters_where_no_spaces_are_written(
    language: str, said: str, gold: str, f1: float
) -> None:
    found = value("token_f1", row(said, (gold,), FilterContext()), language=language)
    assert found == pytest.approx(f1)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "{metric: acuracy}",
            r"group.yaml:3: .*no metric in any task of 'group' 'acuracy'. Did you mean accuracy\?",
        ),
        (
            "{metric: accuracy, filter_list: nome}",
            r"no reading in any task of 'group' 'nome'. Did you mean none\?",
        ),
        ("{metric: parse_rate, filter_list: none}", "no metric in any task of 'group' 'parse_rate'"),
    ],
)
def test_a_group_metric_that_no_task_has_is_an_error(rule: str, message: str, tmp_path: Any) -> None:
    write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: accuracy}]\n")
    path = tmp_path / "group.yaml"
    path.write_text(f"group: group\ntask: [own]\naggregate_metric_list: [{rule}]\n")
    registry = Registry([str(tmp_path)])
    with pytest.raises(MarathonError, match=message):
        load_tasks(registry, ["group"])
    (line,) = validate_task(path, registry.task_path)
    assert re.search(message, line)
