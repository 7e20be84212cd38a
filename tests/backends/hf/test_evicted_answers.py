"""Tests answers from an evicted cache in whole runs: sampled ones, ones without audio, and short windows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers import tiny_checkpoints
from helpers.multi_question_task import config, data
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("run")
    checkpoint = tiny_checkpoints.make_qwen_omni(folder / "tiny")
    return replace(config(data(folder), checkpoint, folder), use_cache=None, no_cache=True)


def texts(run: RunConfig, **model_args: object) -> list[str | list[str] | None]:
    result = evaluate(replace(run, model_args={**run.model_args, **model_args}))
    samples = result.samples["heard"]
    assert [sample.error for sample in samples] == [None] * len(samples)
    return [sample.response for sample in samples]


def test_sampled_answers_are_those_of_generate(run: RunConfig) -> None:
    sampling = {"temperature": 0.9, "top_p": 0.8, "max_new_tokens": 12}
    first = replace(run, gen_kwargs={**sampling, "seed": 1})
    without = texts(first)
    assert texts(first, press="snapkv", ratio=0.0) == without
    evicted = texts(first, press="snapkv", ratio=0.7)
    assert texts(first, press="snapkv", ratio=0.7) == evicted
    assert texts(replace(run, gen_kwargs={**sampling, "seed": 2}), press="snapkv", ratio=0.7) != evicted


@pytest.mark.parametrize("press", ["snapkv", "pyramidkv", "frame_kv", "dart"])
@pytest.mark.parametrize("evict", ["context", "prompt"])
def test_without_audio_no_press_removes_anything(run: RunConfig, press: str, evict: str) -> None:
    mute = replace(run, no_audio="none")
    settings = {"press": press, "ratio": 0.9, **({"evict": evict} if press != "dart" else {})}
    assert texts(mute, **settings) == texts(mute)


def test_a_window_above_the_budget_is_told_once(run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    texts(run, press="snapkv", ratio=0.9)
    told = capsys.readouterr().err
    assert told.count("the window is shortened to") == 1
    texts(run, press="snapkv", ratio=0.1, window=8)
    assert "shortened" not in capsys.readouterr().err
