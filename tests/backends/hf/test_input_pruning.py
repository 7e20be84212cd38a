"""Tests dropping tokens before the first layer of a model with windowed attention: masks, kernels and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import tiny_chat_models
from helpers.press_reference import generated, inputs_of
from helpers.tiny_model_cases import CASES, PRESSES, Bench, answers, asked, built, clips
from marathon_eval.api.press import PruningPress
from marathon_eval.backends.hf.engine.input_pruning import InputPruning, window_mask
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.errors import MarathonError

#: As it is pruned: 4 of 6 positions are left; the last came with this pass.
PLACES = torch.tensor([[0, 3, 4, 5]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat_models.make_gemma4(tmp_path_factory.mktemp("gemma4"))


def benched(folder: Path, kernel: str) -> Bench:
    case = replace(CASES["gemma4"], args={"attn_implementation": kernel})
    return Bench(case, folder, load(built(case, folder)))


def pruning(name: str, **settings: Any) -> PruningPress:
    press = PRESSES[name](**settings)
    assert isinstance(press, PruningPress)
    return press


def seen(window: int, new: int, valid: list[bool] | None = None, eager: bool = False) -> torch.Tensor | None:
    there = torch.tensor([valid or [True] * 4])
    mask = window_mask(PLACES, there, torch.zeros(1, new, 8), window, eager)
    return None if mask is None else mask[0, 0].int()


def test_a_window_reaches_positions_not_places() -> None:
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    mask = seen(3, 4)
    assert mask is not None
    assert mask.tolist() == expected
    assert (seen(3, 1) == torch.tensor([expected[-1]])).all()
    assert seen(7, 4) is None, "a causal kernel needs no mask where the window holds all"
    assert seen(7, 1) is None


def test_padding_is_seen_by_itself_alone() -> None:
    mask = seen(7, 4, [False, True, True, True])
    assert mask is not None
    assert mask.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]


def test_eager_attention_adds_its_mask() -> None:
    mask = window_mask(PLACES, torch.ones(1, 4).bool(), torch.zeros(1, 4, 8), 3, eager=True)
    assert mask is not None
    assert mask[0, 0, 3].tolist() == [torch.finfo(torch.float32).min, 0, 0, 0]


@pytest.mark.parametrize("name", ["frame", "dart"])
def test_both_kernels_answer_alike(folder: Path, name: str) -> None:
    sdpa, eager = (benched(folder, kernel) for kernel in ("sdpa", "eager"))
    for ratio in (0.0, 0.6):
        press = pruning(name, ratio=ratio, layer=0)
        one, other = (generated(there, inputs_of(there, 6.0, 4.0), press) for there in (sdpa, eager))
        torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=0)


def test_other_kernels_and_layers_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = benched(folder, "sdpa")
    decoder = there.decoder
    with pytest.raises(MarathonError, match="drops tokens before its first layer only: layer=0"):
        InputPruning(decoder, pruning("frame", ratio=0.5, layer=1), (0,))
    monkeypatch.setattr(decoder.stack.config, "_attn_implementation_internal", "flash_attention_2")
    with pytest.raises(MarathonError, match="attn_implementation=flash_attention_2: .* needs eager or sdpa"):
        InputPruning(decoder, pruning("frame", ratio=0.5, layer=0), (0,))


def test_no_cache(folder: Path) -> None:
    there = benched(folder, "sdpa")
    decoder, inputs = there.decoder, inputs_of(there, 2.0)
    with (
        torch.inference_mode(),
        InputPruning(decoder, pruning("frame", ratio=0.5, layer=0), (0,)),
        pytest.raises(ValueError, match="without a KV cache"),
    ):
        there.loaded.model(**inputs.tensors, use_cache=False)


def test_usage_tells_what_every_layer_kept(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there, clip = benched(folder, "sdpa"), clips(tmp_path_factory)(8.0)
    (response,) = answers(there.adapter(pruning("frame", ratio=0.75, layer=0)), [asked(clip)])
    usage = response.usage
    assert (usage.audio_tokens, usage.kept_tokens) == (200, 50)
    assert usage.input_tokens is not None
    assert list(usage.details["kv_tokens"].values()) == [usage.input_tokens - 150]
    assert 0 < usage.details["select_s"] < (usage.prefill_s or 0)
    assert "theoretical_speedup" not in usage.details, "the work model knows no windows"
