"""Tests which metric decides whether a row of a run is right, and that show, compare and report agree on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.minimal_task import write_task
from helpers.report_page_parser import parsed
from marathon_eval.cli.main import main
from marathon_eval.results.outcomes import Deciding, deciding, outcome_of

OWN_METRIC = """
def keyword_recall(row):
    answer = row.answer.value or ""
    found = [word for word in row.target.split() if word in answer.split()]
    return len(found) / len(row.target.split())
"""
TASK = (
    "doc_to_text: q\ndoc_to_target: a\nfilter_list: [{name: told, filter: [{function: take_first}]}]\n"
    "metric_list:\n  - {metric: keyword_recall, is_share: true}\n  - {metric: exact_match}\n"
    "headline: {reading: told, metric: keyword_recall}\n"
)


def code(scores: dict[str, float | None], headline: Deciding) -> tuple[str, str | None]:
    row = {"status": "ok", "readings": {"told": {"answer": "x", "rule": "", "scores": scores}}}
    found = outcome_of(row, "told", headline)
    return found.code, found.metric


def headline_of(metric: str, entry: dict[str, object]) -> Deciding:
    headline = {"reading": "told", "metric": metric}
    return deciding(headline, {"told": {metric: {"metric": metric} | entry}})


@pytest.mark.parametrize(
    ("metric", "entry", "scores", "expected"),
    [
        ("recall", {"is_share": True}, {"recall": 1.0, "exact_match": 0.0}, ("r", "recall")),
        ("recall", {"is_share": True}, {"recall": 0.5, "exact_match": 0.0}, ("g", "recall")),
        ("recall", {}, {"recall": 0.0, "exact_match": 1.0}, ("w", "recall")),
        ("recall", {}, {"recall": None, "exact_match": 1.0}, ("r", "exact_match")),
        # seconds, or a count, are no verdict
        ("length", {}, {"length": 12.0, "exact_match": 1.0}, ("r", "exact_match")),
        # F1 over all rows has no value for one
        ("macro_f1", {}, {"macro_f1": 1.0, "accuracy": 0.0}, ("w", "accuracy")),
        ("f1", {"metric": "audiomarathon.f1"}, {"f1": 1.0, "accuracy": 0.0}, ("w", "accuracy")),
        ("macro_f1", {}, {"parse_rate": 0.0, "macro_f1": 1.0}, ("r", "macro_f1")),
        ("wer", {}, {"wer": 0.5, "exact_match": 0.0}, ("w", "exact_match")),
        ("wer", {}, {"wer": 0.0}, ("r", "wer")),
        ("grade", {}, {"grade": 1.0, "accuracy": 0.0}, ("w", "accuracy")),
        ("grade[judge]", {}, {"grade[judge]": 1.0}, ("g", "grade[judge]")),
        ("slips", {"higher_is_better": False}, {"slips": 1.0, "exact_match": 0.0}, ("w", "exact_match")),
        ("slips", {"higher_is_better": False}, {"slips": 0.0}, ("r", "slips")),
        ("slips", {"higher_is_better": False}, {"slips": 1.0}, ("g", "slips")),
    ],
)
def test_the_headline_decides_where_it_has_a_verdict_on_the_row(
    metric: str, entry: dict[str, object], scores: dict[str, float | None], expected: tuple[str, str]
) -> None:
    assert code(scores, headline_of(metric, entry)) == expected


def test_without_a_headline_accuracy_decides() -> None:
    assert deciding(None, None) == Deciding("", False)
    assert code({"parse_rate": 1.0, "accuracy": 0.0}, deciding(None, {})) == ("w", "accuracy")


def test_show_compare_and_report_follow_one_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "keyword_recall.py").write_text(OWN_METRIC)
    (tmp_path / "tasks").mkdir()
    write_task(
        tmp_path / "tasks",
        TASK,
        [{"q": "?", "a": "dog car"}, {"q": "?", "a": "rain"}, {"q": "?", "a": "sea"}],
    )
    for name, answer in (("a", "a dog and a car"), ("b", "rain and sea")):
        command = ["--model", "dummy", "--model_args", json.dumps({"answer": answer}), "--tasks", "own"]
        where = ["--include_path", str(tmp_path), "--no_cache", "--output_path", str(tmp_path / name)]
        assert main([*command, *where]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "a"), "--wrong", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["row"], row["outcome"], row["metric"]) for row in listed] == [
        (1, "wrong", "keyword_recall"),
        (2, "wrong", "keyword_recall"),
    ]
    assert main(["show", str(tmp_path / "a"), "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "right"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)["tasks"]["own"]
    assert [compared["readings"]["told"]["discordance"][side] for side in ("only_a", "only_b")] == [1, 2]
    assert [(flip["doc_id"], flip["a"]["outcome"]) for flip in compared["flips"]] == [
        (0, "right"),
        (1, "wrong"),
        (2, "wrong"),
    ]
    columns = parsed(tmp_path / "a").tasks()["own"]["cells"]["0"]
    assert "".join(columns["readings"]["told"]["codes"]) == "rww"
