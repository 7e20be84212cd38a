"""Tests that the layers below a cut run once for all pruning presses and ratios, without changing any answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniDecoderLayer

from helpers import tiny_chat_models, tiny_checkpoints
from helpers.multi_question_task import QUESTIONS, Taken, config, data, first_logits, told
from helpers.tiny_press_run import Tiny
from marathon_eval.api.press import PruningPress
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.lower_layers import LowerLayers
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import NO_PRESS, Grid
from marathon_eval.presses.dart import Dart
from marathon_eval.presses.fastv import FastV
from marathon_eval.presses.frame import Frame

PRUNING = [
    name
    for name in Registry().names("press")
    if issubclass(press := Registry().press_class(name), PruningPress)
    and name != "pool"
    and press.only_layer is None
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"), layers=6)


def prefills(patch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each layer read a prompt; filled by later runs."""
    counts: Counter[int] = Counter()
    original = Qwen2_5OmniDecoderLayer.forward

    def counted(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        counts[self.self_attn.layer_idx] += hidden_states.shape[1] > 1
        return original(self, hidden_states, *args, **kwargs)

    patch.setattr(Qwen2_5OmniDecoderLayer, "forward", counted)
    return counts


def test_layers_below_a_cut_run_once_for_a_prompt(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clips with a question each, three presses, two ratios, cuts at 2 and 4: below 2 once, between once per press.

    The uncompressed cell runs everything once more.
    """
    counts, taken = prefills(monkeypatch), Taken()
    asked = config(data(tmp_path, questions=QUESTIONS[:1]), checkpoint, tmp_path / "cache")
    assert sweep(asked, Grid((NO_PRESS, "frame", "fastv", "dart"), (0.3, 0.6), (2, 4)), taken)
    clips, cells = 2, 12
    assert [counts[layer] for layer in range(6)] == [
        *(2 * clips,) * 2,
        *((1 + cells // 2 + 1) * clips,) * 2,
        *((1 + cells) * clips,) * 2,
    ]
    spared = [
        "prefill" in sample.usage["details"].get("shared", [])
        for label, result in taken.items()
        for sample in result.samples["heard"]
        if label not in (NO_PRESS, "frame L2 0.3")
    ]
    assert all(spared)


def test_one_pruning_cell_keeps_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken()
    monkeypatch.setattr(LowerLayers, "once", None)
    assert sweep(config(data(tmp_path), checkpoint, tmp_path / "c"), Grid((NO_PRESS, "frame"), (0.5,)), taken)
    assert taken["frame 0.5"].whole


def same_as_alone(asked: Any, grid: Grid, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Answers and first-token logits of the sweep are those of each cell's own run without sharing."""
    seen, taken = first_logits(patch), Taken()
    assert sweep(asked, grid, taken)
    together = dict(seen)
    seen.clear()
    for cell in taken.cells:
        args = {**cell.config.model_args, "sharing": False}
        alone = evaluate(replace(cell.config, use_cache=str(folder / "alone"), model_args=args))
        assert alone.whole, cell.label
        assert [told(one) for one in alone.samples["heard"]] == [
            told(one) for one in taken[cell.label].samples["heard"]
        ], cell.label
    assert together.keys() == seen.keys()
    assert len(together) >= len(taken)
    assert all(torch.allclose(together[key], seen[key], atol=1e-5, rtol=0) for key in seen)


def test_cells_at_several_layers_answer_as_alone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deep cuts before shallow ones; a batch of two has clips of different lengths."""
    asked = config(data(tmp_path, questions=QUESTIONS[:1]), checkpoint, tmp_path / "cache", batch_size=2)
    same_as_alone(asked, Grid((NO_PRESS, "frame", "fastv"), (0.6,), (4, 2)), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"batch_size": 2}, {"attn_implementation": "eager"}], ids=str)
@pytest.mark.parametrize("model", ["qwen_omni", "qwen2_audio"])
def test_every_pruning_press_at_every_layer(
    model: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = {"qwen_omni": tiny_checkpoints.make_qwen_omni, "qwen2_audio": tiny_chat_models.make_qwen2_audio}
    checkpoint = make[model](tmp_path / "checkpoint")
    asked = replace(config(data(tmp_path), checkpoint, tmp_path / "cache", **settings), model=model)
    same_as_alone(asked, Grid((NO_PRESS, *PRUNING), (0.3, 0.8), (1, 2)), tmp_path, monkeypatch)


def test_logits_are_equal_bit_by_bit(checkpoint: Path) -> None:
    """Whatever comes first: a press that looks at attention or one that does not, the deep cut or the shallow one."""
    model = Tiny.load(checkpoint)
    inputs = model.inputs(3.0, 4.0)
    presses = [
        FastV(ratio=0.5, layer=4),
        Frame(ratio=0.5, layer=2),
        Frame(ratio=0.7, layer=3),
        FastV(ratio=0.7, layer=2),
        Dart(ratio=0.5, layer=5),
        Frame(ratio=0.7, layer=4, stages=((2, 0.3), (4, 0.7))),
        FastV(ratio=0.7, layer=3, stages=((3, 0.3), (5, 0.7))),
    ]
    spared: list[float] = []
    lower = LowerLayers(presses, spared.append)
    for press in presses:
        alone = model.run(inputs, press)
        with torch.inference_mode(), Pruning(model.decoder, press, (11, 12), lower=lower):
            out = model.loaded.model.generate(
                **inputs.tensors, max_new_tokens=8, do_sample=False, pad_token_id=0
            )
        assert torch.equal(out, alone.sequences), press
    assert [seconds > 0 for seconds in spared] == [False, False, True, True, True, True, True]


def test_another_prompt_is_not_answered_from_the_last_ones_layers(checkpoint: Path) -> None:
    model, press = Tiny.load(checkpoint), Frame(ratio=0.5)
    lower = LowerLayers((press, press), lambda seconds: None)
    for seconds in (3.0, 4.0, 3.0):
        inputs = model.inputs(seconds)
        alone = model.run(inputs, press)
        with torch.inference_mode(), Pruning(model.decoder, press, (11,), lower=lower):
            out = model.loaded.model.generate(
                **inputs.tensors, max_new_tokens=8, do_sample=False, pad_token_id=0
            )
        assert torch.equal(out, alone.sequences)
    assert all("forward" not in vars(layer) for layer in model.decoder.layers)
