"""Tests metrics, filters and row steps of a user's own: found by name, checked before anything is asked, recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.minimal_task import BASE
from marathon_eval import simple_evaluate
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import MetricValue
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import load_tasks
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.results.files import newest_run, read_results
from marathon_eval.results.recomputed import rebuilt
from marathon_eval.scoring.intervals import metric_interval

METRIC = """
def keyword_share(row, floor=0.0):
    said = (row.answer.value or "").lower()
    words = row.fields["keywords"]
    return max(floor, sum(word in said for word in words) / len(words))
"""
FILTER = """
def last_line(text, context):
    lines = text.strip().splitlines()
    return lines[-1] if lines else None
"""
STEP = """
from helper_words import split

def listed_keywords(fields):
    return {**fields, "keywords": split(fields["k"])}
"""
TASK = (
    BASE
    + "doc_to_text: q\ndoc_to_target: a\nprocess_docs: listed_keywords\n"
    + "filter_list: [{name: last, filter: [{function: last_line}]}]\n"
    + "metric_list: [{metric: keyword_share}, {metric: accuracy}]\n"
)
ROWS = [{"q": "?", "a": "dog", "k": "dog bark"}, {"q": "?", "a": "cat", "k": "cat"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "row_steps"))
    for name, text in (
        ("tasks/own.yaml", TASK),
        ("tasks/rows.json", json.dumps(ROWS)),
        ("metrics/keyword_share.py", METRIC),
        ("filters/last_line.py", FILTER),
        ("row_steps/listed_keywords.py", STEP),
        ("row_steps/helper_words.py", "split = str.split\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(folder: Path, **settings: Any) -> Any:
    return simple_evaluate(
        "dummy", ["own"], {"answer": "I think\na DOG"}, include_path=[str(folder)], no_cache=True, **settings
    )


def problems(folder: Path) -> list[str]:
    registry = Registry([str(folder)])
    return validate_task(registry.task_path("own"), registry.task_path, None, registry)


def edited(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_they_run_and_their_sources_are_recorded(folder: Path) -> None:
    assert problems(folder) == []
    result = run(folder)
    scores = [sample.readings["last"].scores["keyword_share"] for sample in result.samples["own"]]
    assert scores == [0.5, 0.0]
    assert result.tasks["own"].readings["last"]["keyword_share"].value == 0.25
    assert result.samples["own"][0].readings["last"].answer == "a DOG"
    code = result.manifests["own"]["code"]
    assert sorted(code) == [
        "filters/last_line.py",
        "metrics/keyword_share.py",
        "row_steps/helper_words.py",
        "row_steps/listed_keywords.py",
    ]
    spec = result.tasks["own"].metrics["last"]["keyword_share"]
    assert spec["code"] == {"metrics/keyword_share.py": code["metrics/keyword_share.py"]}
    assert rebuilt(spec, "keyword_share", "last").name == "keyword_share"


def test_an_edit_is_another_hash_and_another_score(folder: Path) -> None:
    first = run(folder)
    edited(folder, "metrics/keyword_share.py", "floor=0.0", "floor=0.3")
    second = run(folder)
    assert second.tasks["own"].readings["last"]["keyword_share"].value == pytest.approx(0.4)
    assert first.manifests["own"]["code"] != second.manifests["own"]["code"]


def test_a_share_has_the_interval_of_an_accuracy_and_stays_between_0_and_1(folder: Path) -> None:
    plain = run(folder).tasks["own"].metrics["last"]["keyword_share"]
    edited(folder, "tasks/own.yaml", "{metric: keyword_share}", "{metric: keyword_share, is_share: true}")
    shared = run(folder).tasks["own"].metrics["last"]["keyword_share"]
    counts, clips = np.array([[1.0, 1.0], [0.5, 1.0]] * 5), [str(clip) for clip in range(10)]
    intervals = []
    for spec in (plain, shared):
        metric = rebuilt(spec, "keyword_share", "last")
        intervals.append(metric_interval(counts, clips, metric.value, metric.share, metric.rowwise).ci95)
    assert intervals[0] is None  # ten rows are too few for a mean
    assert intervals[1] is not None
    assert 0 < intervals[1][0] < 0.75 < intervals[1][1] <= 1
    edited(folder, "metrics/keyword_share.py", "return", "return 1.5 +")
    with pytest.raises(MarathonError, match=r"returned 1\.5, and the entry's `is_share: true` allows 0 to 1"):
        run(folder)
    edited(folder, "tasks/own.yaml", "is_share: true", "is_share: 1")
    assert "is_share is true or false, got 1" in problems(folder)[0]


def test_options_come_from_the_entry(folder: Path) -> None:
    edited(folder, "tasks/own.yaml", "{metric: keyword_share}", "{metric: keyword_share, floor: 1}")
    assert run(folder).tasks["own"].readings["last"]["keyword_share"].value == 1
    edited(folder, "tasks/own.yaml", "floor: 1", "flor: 1")
    (line,) = problems(folder)
    assert "own.yaml:7: metric 'keyword_share': 'keyword_share' takes no 'flor'. Did you mean floor?" in line


def test_a_class_of_metrics_own_kind_and_a_callable_class(folder: Path) -> None:
    (folder / "metrics" / "keyword_share.py").write_text(
        "from marathon_eval.api.metric import Mean\n\n\nclass Halves(Mean):\n    def __init__(self, share: float = 0.5):\n"
        "        super().__init__('halves', lambda row: share)\n"
    )
    (folder / "filters" / "last_line.py").write_text(
        "class Last:\n    def __call__(self, text):\n        return text.split()[-1]\n"
    )
    result = run(folder)
    assert result.tasks["own"].readings["last"]["halves"].value == 0.5
    assert result.samples["own"][0].readings["last"].answer == "DOG"


def test_ls_lists_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what, name in (
        ("metrics", "keyword_share"),
        ("filters", "last_line"),
        ("row_steps", "listed_keywords"),
    ):
        assert main(["ls", what, "--include_path", str(folder)]) == 0
        assert name in capsys.readouterr().out.splitlines()
        assert main(["ls", what, name, "--include_path", str(folder)]) == 0
        assert name in capsys.readouterr().out
        assert main(["ls", what]) == 0
        assert name not in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "metrics/keyword_share.py",
            "def a(row): ...\ndef b(row): ...\n",
            "must define one function or class.*a, b",
        ),
        ("metrics/keyword_share.py", "x = 1\n", "it defines none"),
        ("metrics/keyword_share.py", "def a(:\n", r"keyword_share.py:1: "),
        ("metrics/keyword_share.py", "\n1 / 0\n", r"own.yaml:7: .*keyword_share.py:2: ZeroDivisionError"),
        ("filters/last_line.py", "import nothing_of_that_name\n", "last_line.py: No module named"),
        ("filters/last_line.py", "def last_line(): ...\n", "last_line must take an argument"),
        ("row_steps/listed_keywords.py", "def a(fields, source, more): ...\n", "needs 'more'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_asked(
    name: str, text: str, message: str, folder: Path
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(MarathonError, match=message) as error:
        load_tasks(Registry([str(folder)]), ["own"])
    assert "\n" not in str(error.value)


def test_a_metric_that_fails_on_every_row_is_refused_before_anything_is_asked(folder: Path) -> None:
    edited(folder, "metrics/keyword_share.py", 'row.fields["keywords"]', 'row.fields["words"]')
    assert any("keyword_share.py:4: KeyError: 'words'" in line for line in problems(folder))
    with pytest.raises(
        MarathonError, match=r"keyword_share .*fails on every row tried: .*:4: KeyError: 'words'"
    ):
        run(folder)


def test_a_misnamed_attribute_of_a_row_is_told_with_those_that_exist_once_per_row(folder: Path) -> None:
    edited(folder, "metrics/keyword_share.py", "row.answer.value", "row.gold")
    found = [line for line in problems(folder) if "no attribute 'gold'" in line]
    assert len(found) == len(set(found)) == 3  # of both rows, and of the check that a right answer scores 1
    assert "fails on every row tried" in found[-1]
    assert "It has: answer, cluster, context, fields, label, target, targets" in found[0]


def test_a_row_on_which_code_fails_is_an_error_row(folder: Path) -> None:
    edited(folder, "metrics/keyword_share.py", "/ len(words)", "/ (len(words) - 1)")
    result = run(folder)
    assert [sample.status for sample in result.samples["own"]] == ["ok", "error"]
    assert "keyword_share.py:5: ZeroDivisionError" in (result.samples["own"][1].error or "")
    assert result.tasks["own"].coverage == 0.5


def test_nan_is_left_out_and_counted(folder: Path) -> None:
    edited(
        folder, "metrics/keyword_share.py", "return max(", "return float('nan') if 'bark' in words else max("
    )
    task = run(folder).tasks["own"]
    assert task.readings["last"]["keyword_share"].value == 0
    assert task.n_unscored == {"last": {"keyword_share": 1}}


def test_a_metric_over_rows_that_is_infinite_has_no_value_and_the_run_can_be_read(folder: Path) -> None:
    (folder / "metrics" / "keyword_share.py").write_text(
        "from marathon_eval.api.metric import Mean\n\n\nclass Ratio(Mean):\n    def __init__(self):\n"
        "        super().__init__('decibels', lambda row: 1.0)\n\n"
        "    def value(self, sums):\n        return sums[:, 0] * float('inf')\n"
    )
    result = run(folder, output_path=str(folder / "out"))
    assert result.tasks["own"].readings["last"]["decibels"] == MetricValue(None)
    assert read_results(newest_run(folder / "out"))["tasks"]["own"]["last"]["decibels"]["value"] is None


def test_without_include_path_there_are_none(folder: Path) -> None:
    path = folder / "tasks" / "own.yaml"
    (line, *_) = validate_task(path, Registry().task_path)
    assert "no filter 'last_line'" in line
