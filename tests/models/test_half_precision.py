"""Runs every local chat model in half precision, with and without a press."""

from __future__ import annotations

import pytest

from helpers.tiny_model_cases import (
    CASES,
    Bench,
    Benches,
    Clips,
    answers,
    asked,
    built,
    press_of,
    slow_if_related,
)
from marathon_eval.backends.hf.engine.load import load


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", slow_if_related(CASES))
def test_half_precision_answers(name: str, dtype: str, bench: Benches, clip: Clips) -> None:
    case, folder = CASES[name], bench(name).folder
    there = Bench(case, folder, load(built(case, folder, dtype=dtype)))
    presses = [None, press_of("dart", case)] + ([] if case.at_input else [press_of("snapkv", case)])
    for press in presses:
        (answer,) = answers(there.adapter(press, dtype=dtype), [asked(clip(3.0))])
        assert (answer.status, answer.error) == ("ok", None)
