"""Tests tasks written for lmms-eval: their own keys, the audio that their functions get and return, and their scorers."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow  # type: ignore[import-untyped]  # ships no stubs
import pyarrow.parquet  # type: ignore[import-untyped]  # ships no stubs
import pytest
import soundfile

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.task import Task, load_task
from marathon_eval.task.yaml.lmms_eval import arguments_for

UTILS = """
import random
import numpy as np

def text(doc, lmms_eval_specific_kwargs):
    return lmms_eval_specific_kwargs["pre_prompt"] + doc["q"] + lmms_eval_specific_kwargs.pop("post_prompt")

def marked(doc, lmms_eval_specific_kwargs):
    return "Hear <audio> and say what it is." + (" <audio>" if doc["a"] == "two" else "")

def clip(doc):
    return [doc["sound"]]

def decoded(doc):
    return [{"array": doc["sound"]["array"], "sampling_rate": doc["sound"].get("sampling_rate")}]

def louder(doc, lmms_eval_specific_kwargs):
    gain = lmms_eval_specific_kwargs["gain"]
    return [{"array": gain * doc["sound"]["array"], "sampling_rate": doc["sound"]["sampling_rate"]}]

def nothing(doc):
    return [{"array": [], "sampling_rate": 8000}]

def results(doc, results):
    return {"right": {"score": float(results[0] == doc["a"]), "said": results[0]}}

def share(results, args):
    return 100 * sum(item["score"] for item in results) / len(results)

def written(results, args):
    return open(args.output_path, "w")

def several(results):
    return {"right": 1.0}

def guess(doc, results):
    return {"right": random.random() + np.random.rand()}
"""
BASE = """dataset_path: parquet
dataset_kwargs:
  token: true
  data_files: {test: rows.parquet}
test_split: test
doc_to_text: !function utils.text
doc_to_target: a
generation_kwargs: {max_new_tokens: 8, temperature: 0, num_beams: 1, do_sample: false}
metadata:
  - version: 0.5
"""
KWARGS = """lmms_eval_specific_kwargs:
  default: {pre_prompt: "Hear. ", post_prompt: "?", gain: 0.5}
  dummy: {pre_prompt: "", post_prompt: "!"}
"""
VISUAL = "doc_to_visual: !function utils.clip\n"
SCORED = "process_results: !function utils.results\nmetric_list:\n  - metric: right\n    aggregation: "
WAVE = (0.25 * np.sin(np.arange(800) / 5)).astype(np.float32)


@cache
def wav() -> bytes:  # once: a WAV of floats holds the second in which it was written
    with io.BytesIO() as file:
        soundfile.write(file, WAVE, 8000, format="WAV", subtype="FLOAT")
        return file.getvalue()


def task_of(folder: Path, keys: str) -> Task:
    (folder / "utils.py").write_text(UTILS)
    rows = [{"q": f"Which {a}", "a": a, "sound": {"bytes": wav(), "path": "x.wav"}} for a in ("one", "two")]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    path = folder / "own.yaml"
    path.write_text(BASE + keys)
    registry = Registry(trust_task_code=True)
    task = load_task(path, registry.task_path, registry)
    assert isinstance(task, Task)
    return task


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))


def test_prompts_are_those_of_the_model_or_of_default(tmp_path: Path) -> None:
    task = task_of(tmp_path, KWARGS + VISUAL)
    doc = task.docs().docs[0]
    for _ in range(2):  # the function changes its argument: each call gets a copy
        assert task.requests(doc)[0].prompt == "Hear. Which one?"
        assert task.requests(doc, "dummy")[0].prompt == "Which one!"
    assert task.scorer.version == 0.5


@pytest.mark.parametrize(
    ("table", "model", "found"),
    [
        ({"default": {"a": 1}, "m": {"a": 2}}, "m", {"a": 2}),
        ({"default": {"a": 1}, "m": {"a": 2}}, "other", {"a": 1}),
        ({"dataset": {"a": 3}}, "m", {"a": 3}),
        ({"a": 4}, "m", {"a": 4}),
    ],
)
def test_arguments_are_chosen_as_lmms_eval_chooses_them(
    table: dict[str, object], model: str, found: dict[str, object]
) -> None:
    chosen = arguments_for(table, model)
    assert {key: chosen[key] for key in found} == found


@pytest.mark.parametrize("function", ["clip", "decoded"])
def test_audio_that_a_function_returns_unchanged_is_the_tables_own(function: str, tmp_path: Path) -> None:
    own = task_of(tmp_path, KWARGS + "doc_to_visual: sound\n").docs().docs[0].audio
    assert (
        own == task_of(tmp_path, KWARGS + f"doc_to_visual: !function utils.{function}\n").docs().docs[0].audio
    )


def test_audio_that_a_function_makes_is_what_the_model_gets(tmp_path: Path) -> None:
    (clip,) = task_of(tmp_path, KWARGS + "doc_to_visual: !function utils.louder\n").docs().docs[0].audio
    assert isinstance(clip, Audio)
    np.testing.assert_allclose(clip.samples(8000), 0.5 * WAVE, atol=1e-6)


def test_audio_without_samples_is_an_error_row(tmp_path: Path) -> None:
    doc = task_of(tmp_path, KWARGS + "doc_to_visual: !function utils.nothing\n").docs().docs[0]
    assert "returns audio without an array of samples" in (doc.error or "")


def scored(task: Task, *texts: str) -> float | None:
    docset = task.docs()
    samples = [task.score(doc, [Response(text)]) for doc, text in zip(docset.docs, texts, strict=True)]
    assert [sample.error for sample in samples] == [None, None]
    return task.aggregate(samples, docset).readings["none"]["right"].value


def test_answers_lose_white_space_and_an_aggregation_may_take_args(tmp_path: Path) -> None:
    task = task_of(tmp_path, KWARGS + VISUAL + SCORED + "!function utils.share\n")
    assert scored(task, " one\n", "three") == 50
    plain = task_of(tmp_path, KWARGS + VISUAL)
    assert plain.score(plain.docs().docs[0], [Response("\none ")]).readings["none"].scores == {
        "exact_match": 1.0
    }


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("written", "AttributeError: args.output_path: lmms-eval's command line is not there"),
        ("several", "several must return the number of metric 'right'"),
    ],
)
def test_an_aggregation_without_a_number_is_one_line(function: str, message: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, KWARGS + VISUAL + SCORED + f"!function utils.{function}\n")
    with pytest.raises(MarathonError, match=message) as error:
        scored(task, "one", "two")
    assert "\n" not in str(error.value)


def test_scorers_that_guess_give_the_same_figure_again(tmp_path: Path) -> None:
    keys = "process_results: !function utils.guess\nmetric_list: [{metric: right, aggregation: mean}]\n"
    task = task_of(tmp_path, KWARGS + VISUAL + keys)
    first = scored(task, "one", "two")
    assert scored(task, "one", "two") == first
    assert scored(task, "one", "three") != first


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (VISUAL + "doc_to_audio: sound\n", "own.yaml:11: doc_to_visual: the task has doc_to_audio too"),
        ("lmms_eval_specific_kwargs: text\n", "own.yaml:11: lmms_eval_specific_kwargs: must be a mapping"),
        (
            VISUAL + "model_specific_generation_kwargs: {default: {}, dummy: {max_new_tokens: 3}}\n",
            "own.yaml:12: model_specific_generation_kwargs: only `default` is supported here; for dummy",
        ),
        (
            VISUAL + "doc_to_messages: !function utils.clip\n",
            "own.yaml:12: 'doc_to_messages' is not supported here: a function may",
        ),
        (
            VISUAL + "model_specific_target_kwargs: {dummy: {}}\n",
            "'model_specific_target_kwargs' is not supported",
        ),
    ],
)
def test_what_is_refused(keys: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=message):
        task_of(tmp_path, keys)


def test_generation_arguments_of_default_hold(tmp_path: Path) -> None:
    keys = KWARGS + VISUAL + "model_specific_generation_kwargs: {default: {max_new_tokens: 3}}\n"
    assert task_of(tmp_path, keys).generation.max_new_tokens == 3


def test_a_clips_mark_in_a_functions_text_is_its_place(tmp_path: Path) -> None:
    task_of(tmp_path, KWARGS + VISUAL)
    path = tmp_path / "own.yaml"
    path.write_text(path.read_text().replace("utils.text", "utils.marked"))
    registry = Registry(trust_task_code=True)
    task = load_task(path, registry.task_path, registry)
    assert isinstance(task, Task)
    first, second = task.docs().docs
    assert task.requests(first)[0].placed
    with pytest.raises(RowError, match=r"<audio> once per clip, .* \(found 2 for 1 clip\)"):
        task.requests(second)
