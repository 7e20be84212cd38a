"""Tests `press=kvpress:NAME`: kvpress scores the keys and the harness evicts them.

kvpress itself needs packages that the tests do without, so a module with its classes' shape stands in for it; the
scripted check of real scores is scripts/dev/golden/kvpress_scores.py.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch

from helpers import tiny_checkpoints
from helpers.tiny_press_run import Tiny
from marathon_eval.api.press import EvictionPress, budget
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.eviction import (
    answer,
    context_length,
    keep_selected_keys,
    prefill_context,
)
from marathon_eval.backends.hf.kvpress import KVPress
from marathon_eval.backends.press_args import split_press_args
from marathon_eval.errors import MarathonError
from marathon_eval.presses.knorm import Knorm
from marathon_eval.presses.tova import Tova


class ScorerPress:
    """What every scoring press of kvpress is to a caller."""


@dataclass
class KnormPress(ScorerPress):
    compression_ratio: float = 0.0

    def score(
        self, module: Any, hidden: Any, keys: torch.Tensor, values: Any, attentions: Any, kwargs: Any
    ) -> Any:
        return -keys.norm(dim=-1)


@dataclass
class LastQueryPress(ScorerPress):
    """Attention of the last query, from the module's own projection, as kvpress's query-aware presses make it."""

    compression_ratio: float = 0.0

    def score(
        self, module: Any, hidden: Any, keys: torch.Tensor, values: Any, attentions: Any, kwargs: Any
    ) -> Any:
        cos, sin = kwargs["position_embeddings"]
        assert cos.dim() == 3
        query = module.q_proj(hidden[:, -1:]).view(1, 1, -1, keys.shape[-1]).transpose(1, 2)
        again, _ = module.rotary_emb(keys, torch.tensor([[hidden.shape[1] - 1]]))
        torch.testing.assert_close(again[:, 0], cos[:, -1])
        first, second = query.chunk(2, dim=-1)
        query = query * cos[:, -1:] + torch.cat([-second, first], dim=-1) * sin[:, -1:]
        repeated = keys.repeat_interleave(query.shape[1] // keys.shape[1], dim=1)
        weights = (query @ repeated.transpose(2, 3) / keys.shape[-1] ** 0.5).softmax(-1)
        scores = weights.mean(dim=1).expand(-1, keys.shape[1], -1).clone()
        scores[..., -1] = scores.max() + 1  # TOVA's: the last key stays
        return scores


class ThinKPress:
    """Scores nothing: it drops channels."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("kvpress")
    for part in (ScorerPress, KnormPress, LastQueryPress, ThinKPress):
        setattr(library, part.__name__, part)
    monkeypatch.setitem(sys.modules, "kvpress", library)


def chosen(name: str, **settings: Any) -> EvictionPress:
    args = {"press": f"kvpress:{name}", "ratio": 0.6, "dtype": "float32", **settings}
    rest, press = split_press_args(args, {"dtype"}, Registry().press_class)
    assert rest == {"dtype": "float32"}
    assert isinstance(press, KVPress)
    return press


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.load(tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny")))


def first_logits(model: Tiny, press: EvictionPress) -> tuple[torch.Tensor, list[int]]:
    inputs, decoder = model.inputs(6.0), model.decoder
    ids = inputs.tensors["input_ids"]
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids)).nonzero().squeeze(1)
    length = context_length(press, ids, audio)
    cache = keep_selected_keys(decoder, prefill_context(decoder, inputs.tensors, length, press), press, 1)
    counts = [layer.keys.shape[2] - length + len(audio) for layer in cache.layers]
    assert counts == [budget(len(audio), 0.6)] * tiny_checkpoints.LAYERS
    (logits,) = answer(decoder, cache, ids[:, length:], length, lambda logits: None)
    return logits, counts


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "ours"), [("KnormPress", Knorm(ratio=0.6)), ("LastQueryPress", Tova(ratio=0.6))]
)
def test_its_scores_evict_as_ours_do(model: Tiny, name: str, ours: EvictionPress) -> None:
    hooks = model.hooks()
    theirs, _ = first_logits(model, chosen(name))
    expected, _ = first_logits(model, ours)
    torch.testing.assert_close(theirs, expected, atol=1e-5, rtol=0)
    assert model.hooks() == hooks
    assert not any("rotary_emb" in vars(layer.self_attn) for layer in model.decoder.layers)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("KnromPress", {}, "no scoring press in kvpress 'KnromPress'. Did you mean KnormPress?"),
        ("ThinKPress", {}, "press=kvpress:ThinKPress: does not score keys"),
        ("KnormPress", {"options": '{"window": 3}'}, 'options={"window": 3}: '),
        ("KnormPress", {"options": "window"}, "options=window: "),
        ("KnormPress", {"ratio": 1.5}, "ratio=1.5"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=re.escape(message)):
        chosen(name, **settings)


def test_where_it_is_not_installed_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kvpress", None)
    with pytest.raises(MarathonError, match="kvpress:SnapKVPress: .*pip install --no-deps kvpress"):
        chosen("SnapKVPress")


@pytest.mark.usefixtures("installed")
def test_the_fingerprint_names_class_options_and_release() -> None:
    press = chosen("KnormPress", options="{}")
    assert press.fingerprint["press"] == "kvpress"
    assert press.fingerprint["scorer"] == "KnormPress"
    assert press.fingerprint["kvpress"] == "unknown", "no such distribution is installed"
    assert press.fingerprint != chosen("LastQueryPress").fingerprint
