"""Tests lm-eval's `!function`: refused by default, and what each key gets and gives where task code is trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from helpers.minimal_task import BASE, HEARD
from marathon_eval import simple_evaluate
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import TaskResult
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.task.task import Task, load_task

UTILS = """
import math
from helper_rules import half

def text(doc):
    return f"Say {doc['a']} twice."

def target(doc):
    return doc["a"].upper()

def choices(doc):
    return ["ONE", "TWO"]

def audio(doc):
    return [{"path": doc["path"], "start": 1.0, "stop": half(4.0)}]

def long_rows(dataset):
    return dataset.filter(lambda doc: len(doc["a"]) > 2).map(lambda doc: {"size": len(doc["a"])})

def results(doc, results):
    said = results[0]
    return {"share": said.count(doc["a"]) / 2, "pair": (doc["a"], said), "odd": math.nan}

def distinct(items):
    return len({said for _, said in items})

def length(references, predictions):
    return len(predictions[0]) - len(references[0])

def both(items):
    return items

def equal_share(items):
    return sum(gold == said for gold, said in items) / len(items)

def first_word(resps, docs):
    return [[text.split()[0] for text in texts] for texts in resps]

def shots():
    return [{"q": "Q", "a": "shot"}]

def broken(doc):
    return 1 / 0

def same_rows(dataset):
    return dataset
"""
KEYS = "doc_to_text: q\ndoc_to_target: a\n"
ROWS = [
    {"q": "?", "a": "one", "path": "x.wav"},
    {"q": "?", "a": "a", "path": "x.wav"},
    {"q": "?", "a": "two", "path": "x.wav"},
]


def written(folder: Path, keys: str) -> Path:
    (folder / "utils.py").write_text(UTILS)
    (folder / "rows.json").write_text(json.dumps(ROWS))
    path = folder / "own.yaml"
    path.write_text(BASE + keys)
    return path


def task_of(folder: Path, keys: str) -> Task:
    return loaded(written(folder, keys))


def loaded(yaml: Path) -> Task:
    registry = Registry(trust_task_code=True)
    task = load_task(yaml, registry.task_path, registry)
    assert isinstance(task, Task)
    return task


def first_prompt(task: Task) -> str:
    return task.requests(task.docs().docs[0])[0].prompt


def result_of(task: Task, *texts: str) -> TaskResult:
    docset = task.docs()
    samples = [task.score(doc, [Response(text)]) for doc, text in zip(docset.docs, texts, strict=True)]
    assert [sample.error for sample in samples] == [None] * len(texts)
    return task.aggregate(samples, docset)


@pytest.fixture(autouse=True)
def _helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helper_rules.py").write_text("def half(n):\n    return n / 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_it_is_refused_in_one_line_that_names_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "marker.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    path = written(tmp_path, "doc_to_text: !function marker.text\ndoc_to_target: a\n")
    for verb in (
        ["validate", str(path)],
        ["--model", "dummy", "--tasks", str(path)],
        ["show", str(path), "0"],
    ):
        assert main(verb) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "own.yaml:3: the tag '!function' is not supported here. It would run Python code" in line
        assert "--trust_task_code" in line
    assert not (tmp_path / "ran").exists()


def test_text_target_and_options(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        "doc_to_text: !function utils.text\ndoc_to_target: !function utils.target\n"
        "doc_to_choice: !function utils.choices\nprocess_docs: !function utils.long_rows\n",
    )
    docs = task.docs().docs
    assert [doc.error for doc in docs] == [None, None]
    assert [task.requests(doc)[0].prompt for doc in docs] == ["Say one twice.", "Say two twice."]
    assert [(doc.target, doc.choices) for doc in docs] == [("ONE", ("ONE", "TWO")), ("TWO", ("ONE", "TWO"))]
    assert [doc.fields["size"] for doc in docs] == [3, 3]
    assert sorted(task.own_code) == ["helper_rules.py", "utils.py"]


def test_a_column_that_the_first_row_lacks_reaches_a_function_for_all_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "doc_to_text: q\ndoc_to_target: a\nprocess_docs: !function utils.same_rows\n")
    (tmp_path / "rows.json").write_text('[{"q": "1", "a": "x"}, {"q": "2", "a": "x", "hint": "loud"}]')
    assert [doc.fields["hint"] for doc in loaded(path).docs().docs] == [None, "loud"]


def test_rows_of_unlike_types_are_an_error_of_process_docs(tmp_path: Path) -> None:
    path = written(tmp_path, "doc_to_text: q\ndoc_to_target: a\nprocess_docs: !function utils.same_rows\n")
    (tmp_path / "rows.json").write_text('[{"q": "1", "a": "x"}, {"q": [1], "a": "x"}]')
    with pytest.raises(MarathonError, match=r"own\.yaml:1: process_docs: "):
        loaded(path).docs()


def test_audio(tmp_path: Path) -> None:
    (tmp_path / "x.wav").touch()
    task = task_of(tmp_path, HEARD.replace("path", "!function utils.audio"))
    (clip,) = task.docs().docs[0].audio
    assert (Path(clip.path).name, clip.start, clip.stop) == ("x.wav", 1.0, 2.0)


def test_process_results_and_aggregations(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        "doc_to_text: q\nprocess_results: !function utils.results\nmetric_list:\n"
        "  - {metric: share, aggregation: mean}\n"
        "  - metric: pair\n    aggregation: !function utils.distinct\n    higher_is_better: false\n"
        "  - {metric: odd, aggregation: nanmean}\n  - {metric: share, aggregation: median, name: middle}\n",
    )
    result = result_of(task, "one one", "b", "one one")
    metrics = result.readings["none"]
    assert metrics["share"].value == pytest.approx(1 / 3)
    assert metrics["share"].ci95 is None or len(metrics["share"].ci95) == 2
    assert (metrics["pair"].value, metrics["pair"].ci95) == (2, None)
    assert (metrics["odd"].value, result.n_unscored["none"]["odd"]) == (None, 3)
    assert metrics["middle"].value == 0
    assert result.metrics["none"]["pair"]["higher_is_better"] is False
    assert sorted(result.metrics["none"]["pair"]["code"]) == ["helper_rules.py", "utils.py"]


def test_metrics_that_are_functions(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        KEYS + "metric_list:\n  - metric: !function utils.length\n    aggregation: mean\n"
        "  - metric: !function utils.both\n    aggregation: !function utils.equal_share\n",
    )
    metrics = result_of(task, "one!", "a", "2").readings["none"]
    assert metrics["length"].value == pytest.approx((1 + 0 - 2) / 3)
    assert metrics["both"].value == pytest.approx(1 / 3)


def test_custom_filters_and_examples(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        KEYS + "num_fewshot: 1\nfewshot_config: {sampler: first_n, samples: !function utils.shots}\n"
        "filter_list:\n  - name: first\n    filter:\n      - function: custom\n        filter_fn: !function utils.first_word\n",
    )
    doc = task.docs().docs[0]
    assert task.requests(doc)[0].prompt == "Q shot\n\n?"
    assert task.score(doc, [Response("one or two")]).readings["first"].answer == "one"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("utils.txt", r"own.yaml:3: !function: no function in utils.py 'txt'. Did you mean text\?"),
        ("util.text", "own.yaml:3: !function util.text: no file util.py beside this YAML"),
        ("text", "own.yaml:3: !function text: must be module.function"),
        ("os.path.join", "no file path.py beside this YAML"),
    ],
)
def test_what_is_not_there_is_one_line(function: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=message) as error:
        task_of(tmp_path, f"doc_to_text: !function {function}\ndoc_to_target: a\n")
    assert "\n" not in str(error.value)


def test_a_file_replaced_at_equal_size_and_time_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python itself would take the compiled file for the new source's."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    keys = "doc_to_text: !function utils.text\ndoc_to_target: a\n"
    assert first_prompt(task_of(tmp_path, keys)) == "Say one twice."
    file = tmp_path / "utils.py"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text(UTILS.replace("twice", "never"))
    os.utime(file, ns=times)
    assert first_prompt(loaded(tmp_path / "own.yaml")) == "Say one never."


def test_a_function_that_fails_makes_error_rows_with_its_line(tmp_path: Path) -> None:
    task = task_of(tmp_path, "doc_to_text: q\ndoc_to_target: !function utils.broken\n")
    assert "utils.py:43: ZeroDivisionError: division by zero" in (task.docs().docs[0].error or "")


def test_a_text_that_looks_like_one_is_a_text(tmp_path: Path) -> None:
    trusted = task_of(tmp_path, "doc_to_text: !function utils.text\ndoc_to_target: a\n")
    assert trusted.config.doc_to_text.startswith("!function utils.text [")
    plain = task_of(tmp_path, "doc_to_text: '!function utils.target'\ndoc_to_target: a\n")
    assert plain.requests(plain.docs().docs[0])[0].prompt == "!function utils.target"


def test_a_whole_run(tmp_path: Path) -> None:
    path = written(tmp_path, "doc_to_text: !function utils.text\ndoc_to_target: a\n")
    with pytest.raises(MarathonError, match="--trust_task_code"):
        simple_evaluate("dummy", [str(path)], {"answer": "one"}, no_cache=True)
    result = simple_evaluate("dummy", [str(path)], {"answer": "one"}, no_cache=True, trust_task_code=True)
    assert result.tasks["own"].readings["none"]["exact_match"].value == pytest.approx(1 / 3)
    assert sorted(result.manifests["own"]["code"]) == ["helper_rules.py", "utils.py"]
