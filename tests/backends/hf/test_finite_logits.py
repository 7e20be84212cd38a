"""Logits that are not finite numbers make an error row that says so, for every way in which a model decodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import tiny_checkpoints
from helpers.tiny_text_model import make_text_lm
from helpers.unequal_clips import falling
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Model, Request
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine import runner
from marathon_eval.backends.hf.engine.finite_logits import FiniteLogits, are_finite

SAID = "logits at token 1 are not finite numbers (NaN or infinite)"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"), seed=2)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    return falling(tmp_path_factory.mktemp("clips"))[:2]


def spoil(model: Any) -> None:
    with torch.no_grad():
        model.get_output_embeddings().weight[0] = float("nan")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("press", [{}, {"press": "dart", "ratio": 0.5}, {"press": "knorm", "ratio": 0.5}])
def test_an_audio_model(
    checkpoint: Path,
    requests: list[Request],
    press: dict[str, Any],
    temperature: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generation = Generation(max_new_tokens=3, temperature=temperature, seed=1)
    requests = [replace(request, generation=generation) for request in requests]
    load = runner.load

    def spoilt(*arguments: Any, **more: Any) -> Any:
        loaded = load(*arguments, **more)
        spoil(loaded.model)
        return loaded

    monkeypatch.setattr(runner, "load", spoilt)
    from marathon_eval.evaluator.evaluator import build_model

    model = build_model(Registry(), "qwen_omni", {"pretrained": str(checkpoint), "device": "cpu", **press})
    for _, response in complete(model, requests):
        assert response.status == "error"
        assert SAID in str(response.error)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_model(tmp_path: Path, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Model = (
        Registry()
        .model_class("text_lm")
        .from_args({"pretrained": str(make_text_lm(tmp_path)), "device": "cpu"})
    )
    load = model._load  # type: ignore[attr-defined]

    def spoilt() -> None:
        load()
        spoil(model._model)  # type: ignore[attr-defined]

    monkeypatch.setattr(model, "_load", spoilt)
    request = Request("one", generation=Generation(max_new_tokens=3, temperature=temperature, seed=1))
    ((_, response),) = complete(model, [request])
    assert response.status == "error"
    assert SAID in str(response.error)


def test_only_the_rows_own_tokens_count() -> None:
    watch, ids = FiniteLogits(), torch.zeros(3, 1)
    for step in range(3):
        scores = torch.zeros(3, 5)
        if step == 1:
            scores[1, 2] = float("nan")
            scores[2, :] = float("-inf")
        assert watch(ids, scores) is scores
    assert [watch.broken_at(row, 3) for row in range(3)] == [None, 1, 1]
    assert watch.broken_at(1, 1) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, float("-inf")], True),
        ([0.0, float("nan")], False),
        ([0.0, float("inf")], False),
        ([float("-inf")] * 2, False),
    ],
)
def test_masked_tokens_are_no_fault(values: list[float], expected: bool) -> None:
    assert bool(are_finite(torch.tensor(values))) is expected
    assert are_finite(torch.tensor([values, [0.0, 0.0]])).tolist() == [expected, True]
