"""Defines a function of bytes for every place ("door") where the package reads bytes from others.

Errors that a user cannot read propagate. `tests/whole/test_fuzz_corpus.py` replays the stored bytes of
tests/fuzz_corpus/<door>/, `scripts/fuzz` searches for new ones by coverage. A door takes a folder to work in and
returns the function, which is called many times.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.filled_cache import Said, fill
from helpers.fuzz_cases import quietly_removed, survives
from helpers.fuzz_run_targets import RUN_DOORS
from helpers.minimal_task import load, write_task
from marathon_eval.api.audio import MAX_SECONDS, Audio
from marathon_eval.api.filter import FilterContext
from marathon_eval.api.model import Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.exchange import merge_caches
from marathon_eval.corpus.build.recipe import load_recipe
from marathon_eval.evaluator.config import parse_args, parse_samples
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.evaluator.rescore.score_predictions import score_predictions
from marathon_eval.scoring.filters.build import build_pipeline, filter_names
from marathon_eval.task.data.parsing import parsed_rows
from marathon_eval.task.prompt.template import from_row
from marathon_eval.task.task import Group, Task, load_task
from marathon_eval.task.yaml.config import generation_settings

Try = Callable[[bytes], None]
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


def text_of(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def task_yaml(folder: Path) -> Try:
    """Return a function that loads a task file and, if it is valid, its row."""
    path, find = folder / "task.yaml", Registry().task_path
    (folder / "rows.json").write_text('[{"q": "?", "a": "x", "c": ["x", "y"]}]')

    def one(content: bytes) -> None:
        path.write_bytes(content)
        found = survives(lambda: load_task(path, find))
        assert found is None or isinstance(found, Task | Group)

    return one


def template(folder: Path) -> Try:
    row = {"q": "what?", "rows": [{"q": 1}, "x", None], "n": 7, "t": "{{ q }}"}

    def one(content: bytes) -> None:
        text = survives(lambda: from_row(text_of(content), "x:1").value(row))
        assert len(str(text)) < 10_000_000

    return one


def rows(folder: Path) -> Try:
    """Return a function that runs a metadata file to a result. The first byte selects json, jsonl, csv or parquet."""
    task = load(write_task(folder, CHOICE, [{"q": "?", "a": "x", "c": ["x", "y"], "path": "a.wav"}]))
    (folder / "a.wav").touch()

    def one(content: bytes) -> None:
        form = ("json", "jsonl", "csv", "parquet")[content[0] % 4] if content else "json"
        survives(lambda: parsed_rows(content[1:], form, None, "x"))
        if form == "json":
            (folder / "rows.json").write_bytes(content[1:])
            survives(lambda: whole_way(task, folder))

    return one


def whole_way(task: Task, folder: Path) -> None:
    docset = task.docs(str(folder))
    samples = []
    for doc in docset.docs:
        asked = None if doc.error is not None else survives(lambda doc=doc: task.requests(doc))
        samples.append(task.score(doc, [Response("B") if asked else Response.failed("bad row")]))
    json.dumps(task.aggregate(samples, docset).summary())


def audio(form: str) -> Callable[[Path], Try]:
    def door(folder: Path) -> Try:
        path = folder / f"clip.{form}"

        def one(content: bytes) -> None:
            path.write_bytes(content)
            facts = survives(Audio(str(path)).facts)
            assert facts is None or 0 < facts.seconds <= MAX_SECONDS
            samples = survives(lambda: Audio(str(path), 0.0, 0.01).samples(8000))
            assert samples is None or samples.ndim == 1

        return one

    return door


def model_args(folder: Path) -> Try:
    def one(content: bytes) -> None:
        text = text_of(content)
        for name in ("dummy", "qwen_omni"):
            survives(lambda name=name: build_model(Registry(), name, parse_args(text, "--model_args")))
        survives(lambda: generation_settings(parse_args(text, "--gen_kwargs"), "--gen_kwargs"))
        survives(lambda: parse_samples(text))

    return one


def predictions(folder: Path) -> Try:
    """Return a function that reads a predictions file; the first byte selects its kind."""
    keys = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\n"
    task = write_task(folder, keys, [{"q": "?", "a": "x", "id": 0}, {"q": "!", "a": "y", "id": 1}])

    def one(content: bytes) -> None:
        form = ("json", "jsonl", "csv")[content[0] % 3] if content else "json"
        path = folder / f"said.{form}"
        path.write_bytes(content[1:])
        survives(lambda: score_predictions([str(task)], path))

    return one


def cache_rows(folder: Path) -> Try:
    """Return a function that reads stored responses: valid ones are used, others are generated again.

    A process that can write the cache can forge responses.
    """
    file = fill(folder, prompts=["a"])
    model, requests = Said.from_args({}), [Request("a")]

    def one(content: bytes) -> None:
        with sqlite3.connect(file) as connection:
            connection.execute(
                "UPDATE entries SET value = ? WHERE key LIKE 'response/%'", (text_of(content),)
            )
        connection.close()
        with ResponseCache(folder) as cache:
            found = survives(lambda: list(cache.answer(model, requests)))
        assert found is None or all(isinstance(item.response.text, str) for item in found)

    return one


def cache_file(folder: Path) -> Try:
    """Return a function that changes bytes of the whole sqlite file: pairs of a position (two bytes) and a value."""
    sound = fill(folder / "sound", prompts=["a", "b"]).read_bytes()
    model, requests = Said.from_args({}), [Request("a"), Request("b")]
    target = folder / "answers.sqlite"

    def one(content: bytes) -> None:
        changed = bytearray(sound)
        for place, value in struct.iter_unpack("<HB", content[: len(content) // 3 * 3]):
            changed[place % len(changed)] = value
        for old in folder.glob("answers*"):
            quietly_removed(old)
        target.write_bytes(bytes(changed))
        found = survives(lambda: answered(folder, model, requests))
        assert found is None or {item.response.text for item in found} == {"yes a", "yes b"}

    return one


def answered(folder: Path, model: Said, requests: list[Request]) -> list[Any]:
    with ResponseCache(folder) as cache:
        return list(cache.answer(model, requests))


def exported(folder: Path) -> Try:
    """Return a function that imports another cache's export."""
    path = folder / "x.jsonl"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: merge_caches(path, folder / "into"))

    return one


def said(folder: Path) -> Try:
    """Return a function that passes a model's text through every filter that needs no settings."""
    context = FilterContext(("dog", "cat, or not", "A"), ("A", "B", "C"), {"choices": ["dog", "cat", "A"]})
    bare = [name for name in filter_names() if name not in ("take_first_k",)]
    pipelines = [build_pipeline({"name": "n", "filter": [{"function": name}]}, "x:1") for name in bare]

    def one(content: bytes) -> None:
        for pipeline in pipelines:
            survives(lambda pipeline=pipeline: pipeline.apply([text_of(content)], context))

    return one


def recipe(folder: Path) -> Try:
    path = folder / "own.yaml"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: load_recipe(str(path)))

    return one


DOORS: dict[str, Callable[[Path], Try]] = {
    "task_yaml": task_yaml,
    "template": template,
    "rows": rows,
    "wav": audio("wav"),
    "flac": audio("flac"),
    "ogg": audio("ogg"),
    "model_args": model_args,
    "predictions": predictions,
    "cache_rows": cache_rows,
    "cache_file": cache_file,
    "exported": exported,
    "said": said,
    "recipe": recipe,
    **RUN_DOORS,
}
