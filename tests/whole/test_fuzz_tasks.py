"""Tests hostile and random task files and rows: each gives a task, an error row, or one readable error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.fuzz_cases import cases, mutated, survives, texts, values
from helpers.minimal_task import BASE, load, write_task
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry, shipped_folder
from marathon_eval.evaluator.simple import simple_evaluate
from marathon_eval.results.files import read_samples, write_run
from marathon_eval.task.data.parsing import parsed_rows
from marathon_eval.task.task import Task, load_task
from marathon_eval.task.yaml.config import TaskConfig

SHIPPED = [path.read_bytes() for path in sorted(shipped_folder("task").glob("**/*.yaml"))]
KEYS = sorted({field.alias or name for name, field in TaskConfig.model_fields.items()})
CHOICE = """
doc_to_text: "{{ q }}\\n{{ options }}"
doc_to_target: a
doc_to_audio: path
doc_to_choice: c
filter_list: [{name: strict, filter: [{function: choice}]}]
metric_list: [{metric: accuracy}, {metric: macro_f1}]
cluster: path
breakdown: q
"""
OPEN = """
doc_to_text: q
doc_to_target: a
filter_list: [{name: said, filter: [{function: transcript}]}]
metric_list: [{metric: wer, language: de}, {metric: exact_match}]
"""


def test_changed_bytes_of_shipped_tasks(tmp_path: Path) -> None:
    path, find = tmp_path / "task.yaml", Registry().task_path

    @cases(900)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        content = data.draw(st.sampled_from(SHIPPED))
        path.write_bytes(data.draw(st.composite(lambda draw: mutated(content, draw))()))
        survives(lambda: load_task(path, find))

    check()


def test_any_value_under_any_key(tmp_path: Path) -> None:
    path, find = tmp_path / "task.yaml", Registry().task_path
    base = yaml.safe_load(BASE + OPEN)

    @cases(900)
    @given(st.dictionaries(st.sampled_from(KEYS) | texts(8), values(), min_size=1, max_size=3))
    def check(keys: dict) -> None:
        path.write_bytes(json.dumps({**base, **keys}, ensure_ascii=True).encode())
        survives(lambda: load_task(path, find))

    check()


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "a: &a\n  b: *a",
        "? [1]\n: 2",
        "[" * 5000,
        "a: " + "{b: " * 3000,
        "\0",
        "%YAML 9.9\n---\na: 1",
    ],
)
def test_yaml_that_refers_to_itself_or_never_ends(text: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(text)
    assert survives(lambda: load_task(path, Registry().task_path)) is None


def test_a_yaml_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    levels = "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    path = tmp_path / "task.yaml"
    path.write_text("a: &a [x, x]\n" + levels)
    assert survives(lambda: load_task(path, Registry().task_path)) is None


ROW = st.dictionaries(st.sampled_from(["q", "a", "c", "path"]), values(), max_size=4) | values()
LIKELY = st.fixed_dictionaries(
    {
        "q": texts(),
        "a": st.sampled_from(["A", "B", "x", "y", 0, 1, True, None]) | texts(),
        "c": st.lists(texts(), max_size=5),
    },
    optional={"path": st.just("a.wav") | texts()},
)


@pytest.mark.parametrize("keys", [CHOICE, OPEN], ids=["choice", "open"])
def test_any_rows_are_asked_scored_or_error_rows(keys: str, tmp_path: Path) -> None:
    task = load(write_task(tmp_path, keys, [{"q": "?", "a": "x", "c": ["x", "y"], "path": "a.wav"}]))
    (tmp_path / "a.wav").touch()

    @cases(400)
    @given(st.lists(ROW | LIKELY, max_size=4), texts(40))
    def check(rows: list, said: str) -> None:
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        survives(lambda: whole_way(task, tmp_path, said))

    check()


def test_text_that_is_no_utf8_goes_through_cache_results_and_back(tmp_path: Path) -> None:
    """JSON may hold half a surrogate pair; neither sqlite nor a text file takes it as it is."""
    rows = [{"q": "\ud800?", "a": "x\udfff"}, {"q": "ok", "a": "x"}]
    task = write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\nbreakdown: q\n", rows)
    for hits in (0, 2):
        result = simple_evaluate("dummy", [str(task)], "mode=echo", use_cache=str(tmp_path / "kept"))
        write_run(result, tmp_path)
        assert result.cache == {"hits": hits, "misses": 2 - hits}
        lines = list(read_samples(tmp_path, "own"))
        assert [line["response"] for line in lines] == ["\ud800?", "ok"]


def whole_way(task: Task, folder: Path, said: str) -> None:
    docset = task.docs(str(folder))
    samples = []
    for doc in docset.docs:
        if doc.error is None and survives(lambda doc=doc: task.requests(doc)) is not None:
            samples.append(task.score(doc, [Response(said)]))
        else:
            samples.append(task.score(doc, [Response.failed("bad row")]))
    result = task.aggregate(samples, docset)
    json.dumps(result.summary())
    assert result.n_scored + result.n_errors == docset.n_loaded


@given(
    st.sampled_from(["json", "jsonl", "csv"]),
    st.binary(max_size=200) | texts(60).map(lambda t: t.encode(errors="replace")),
)
@cases(1500)
def test_any_bytes_as_a_table(form: str, content: bytes) -> None:
    rows = survives(lambda: parsed_rows(content, form, "rows", "x"))
    assert rows is None or isinstance(rows, list)


def test_changed_bytes_of_parquet() -> None:
    import io

    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"q": ["a", "b"], "n": [1, 2]}), buffer)

    @cases(300)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        content = data.draw(st.composite(lambda draw: mutated(buffer.getvalue(), draw))())
        survives(lambda: parsed_rows(content, "parquet", None, "x"))

    check()
