"""Tests random templates, arguments, predictions and cache rows."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from helpers.filled_cache import Said, fill
from helpers.fuzz_cases import cases, mutated, survives, texts, values
from helpers.minimal_task import write_task
from marathon_eval.api.filter import FilterContext
from marathon_eval.api.model import Request
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.exchange import merge_caches
from marathon_eval.evaluator.config import parse_args, parse_samples
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.evaluator.rescore.score_predictions import score_predictions
from marathon_eval.scoring.filters.build import build_pipeline, filter_names
from marathon_eval.task.prompt.template import from_row
from marathon_eval.task.yaml.config import generation_settings

PIECES = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "q",
        "rows",
        "row.q",
        "rows[0]",
        "rows[9]",
        "|",
        ".",
        "(",
        ")",
        "[",
        "]",
        "~",
        "+",
        "*",
        "**",
        "%",
        "//",
        "-",
        ",",
        ":",
        "=",
        "==",
        "in",
        "not",
        "if",
        "else",
        "endif",
        "for",
        "endfor",
        "x",
        "set",
        "endset",
        "macro",
        "endmacro",
        "m()",
        "loop.index",
        "loop",
        "range(3)",
        "range(99999)",
        "'a'",
        "'%s'",
        "'%d'",
        "'{}'",
        "7",
        "-1",
        "0",
        "1.5",
        "none",
        "true",
        "upper",
        "join",
        "list",
        "first",
        "map('upper')",
        "length",
        "int",
        "replace('a','b')",
        "sort",
        "tojson",
        "default('z')",
        "format(1)",
        "select",
        "reject",
        "groupby('q')",
        "sum",
        "batch(2)",
        "center(9)",
        "regex_replace('a+','b')",
        "regex_replace('(','')",
        "namespace",
        "__class__",
        "caller",
        "call",
        "endcall",
        "filter",
        "endfilter",
        "raw",
        "endraw",
        "include",
        "import",
        "block",
        "endblock",
        "self",
        "is",
        "defined",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=12).map(" ".join), values())
@cases(3000)
def test_any_template_on_any_row(source: str, value: object) -> None:
    survives(
        lambda: from_row(source, "x:1").value({"q": value, "rows": [value, {"q": "a"}], "row": {"q": 1}})
    )


@given(st.lists(PIECES, min_size=1, max_size=8).map(" ".join), values())
@cases(1500)
def test_any_expression_on_any_row(source: str, value: object) -> None:
    survives(lambda: from_row("{{ " + source + " }}", "x:1").value({"q": value, "rows": [value]}))


NAMES = [
    "press",
    "ratio",
    "mode",
    "answer",
    "seed",
    "choices",
    "sleep",
    "listen",
    "fail_every",
    "attn",
    "layer",
    "device",
]
WORDS = [
    "dart",
    "frame",
    "pool",
    "random",
    "0.5",
    "1e400",
    "nan",
    "-1",
    "true",
    "none",
    "{}",
    '{"a": [',
    "A,B",
    "=",
    "kvpress:X",
]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES) | texts(6), st.sampled_from(WORDS) | texts(6)), max_size=4),
    st.booleans(),
)
@cases(1800)
def test_any_model_arguments(pairs: list[tuple[str, str]], as_json: bool) -> None:
    text = json.dumps(dict(pairs)) if as_json else ",".join(f"{name}={value}" for name, value in pairs)

    def build() -> None:
        model = build_model(Registry(), "dummy", parse_args(text, "--model_args"))
        json.dumps(model.fingerprint)

    survives(build)


@given(texts(60) | values().map(json.dumps))
@cases(1000)
def test_any_text_as_arguments_samples_and_generation(text: str) -> None:
    survives(lambda: generation_settings(parse_args(text, "--gen_kwargs"), "--gen_kwargs"))
    survives(lambda: parse_samples(text))


@given(
    st.sampled_from(filter_names()),
    st.dictionaries(
        st.sampled_from(["regex_pattern", "group_select", "k", "mapping_dict", "fallback"]) | texts(5),
        values(),
        max_size=2,
    ),
    texts(60),
)
@cases(600)
def test_any_filter_on_any_text(name: str, options: dict, text: str) -> None:
    context = FilterContext(("x", "y"), ("A", "B"), {"choices": ["x", "y"]})
    survives(
        lambda: build_pipeline({"name": "n", "filter": [{"function": name, **options}]}, "x:1").apply(
            [text], context
        )
    )


def test_any_predictions_file(tmp_path: Path) -> None:
    keys = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\n"
    task = write_task(tmp_path, keys, [{"q": "?", "a": "x", "id": 0}, {"q": "!", "a": "y", "id": 1}])
    path = tmp_path / "said.json"
    row = st.dictionaries(
        st.sampled_from(["response", "prediction", "id", "idx", "q", "a"]), values(), max_size=5
    )
    one = st.fixed_dictionaries({"id": st.integers(0, 2) | values(), "response": texts() | values()})

    @cases(150)
    @given(
        st.lists(row | one, max_size=4)
        | values()
        | st.dictionaries(st.sampled_from(["samples", "results"]), st.lists(one, max_size=3))
    )
    def check(content: object) -> None:
        path.write_text(json.dumps(content))
        survives(lambda: score_predictions([str(task)], path))

    check()


def test_any_value_under_an_answers_key(tmp_path: Path) -> None:
    file = fill(tmp_path, prompts=["a", "b"])
    model, requests = Said.from_args({}), [Request("a"), Request("b")]
    with sqlite3.connect(file) as connection:
        stored = connection.execute("SELECT key, value FROM entries WHERE key LIKE 'response/%'").fetchall()
    good = {key: json.loads(value) for key, value in stored}

    @cases(150)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(good)))
        row = {
            **good[key],
            data.draw(st.sampled_from(["response", "fingerprint", "check", "created"])): data.draw(values()),
        }
        text = data.draw(
            st.just(json.dumps(row))
            | st.composite(lambda draw: mutated(json.dumps(row).encode(), draw))()
            | st.binary()
        )
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE entries SET value = ? WHERE key = ?", (text, key))
        with ResponseCache(tmp_path) as cache:
            found = survives(lambda: list(cache.answer(model, requests)))
        assert found is None or {one.response.text for one in found} == {"yes a", "yes b"}

    check()


def test_any_exported_file_is_merged_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    entry = st.fixed_dictionaries({"key": texts() | st.just("response/" + "0" * 64), "value": values()})

    @cases(100)
    @given(st.lists(entry | values(), max_size=3))
    def check(lines: list) -> None:
        header = {"marathon_eval_cache": 1}
        path.write_text("".join(json.dumps(line) + "\n" for line in [header, *lines]))
        survives(lambda: merge_caches(path, tmp_path / "into"))

    check()
