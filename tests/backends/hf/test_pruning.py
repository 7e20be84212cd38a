"""Tests pruning inside the decoder: what it refuses, and what it passes to a press."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from transformers import StaticCache

from helpers import tiny_checkpoints
from helpers.tiny_press_run import Tiny
from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.backends.hf.engine.prompt_pass import gathered_tokens
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.errors import MarathonError, RowError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.load(tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny")))


@dataclass(frozen=True)
class Told(PruningPress):
    """Chooses as the test says and keeps the views that it was given."""

    rule: Callable[[PruningView], torch.Tensor] = field(default=lambda view: view.audio[: view.keep])
    views: list[PruningView] = field(default_factory=list)

    @classmethod
    def arguments(cls) -> dict[str, type]:
        return {"ratio": float, "seed": int, "layer": int}

    def select(self, view: PruningView) -> torch.LongTensor:
        self.views.append(view)
        return self.rule(view)  # type: ignore[return-value]  # torch's stubs: a Tensor


class Attentive(Told):
    needs_attention = True


def test_a_view_holds_one_sample_without_its_padding(model: Tiny) -> None:
    press = Attentive(ratio=0.5)
    inputs = model.inputs(6.0, 3.0)
    model.run(inputs, press)
    lengths = inputs.tensors["attention_mask"].sum(dim=1).tolist()
    assert lengths[0] != lengths[1]
    for view, length, audio in zip(press.views, lengths, inputs.audio_tokens, strict=True):
        assert view.hidden.shape == (length, tiny_checkpoints.HIDDEN)
        assert view.keys.shape == (2, length, 16)
        assert len(view.audio) == audio
        assert view.keep == audio // 2
        assert view.attention is not None
        assert view.attention.shape == (length,)
        assert view.attention.sum().item() == pytest.approx(1.0, abs=1e-5)
        torch.testing.assert_close(view.normed, model.decoder.norm(view.hidden))


def test_attention_is_not_computed_unless_asked_for(model: Tiny) -> None:
    press = Told(ratio=0.5)
    model.run(model.inputs(3.0), press)
    assert press.views[0].attention is None


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda view: view.audio[: view.keep - 1], id="too few"),
        pytest.param(lambda view: view.audio[: view.keep + 1], id="too many"),
        pytest.param(lambda view: view.audio[:1].expand(view.keep), id="one token many times"),
        pytest.param(lambda view: torch.arange(view.keep), id="text"),
    ],
)
def test_a_press_that_misses_its_budget_is_refused(
    model: Tiny, rule: Callable[[PruningView], torch.Tensor]
) -> None:
    with pytest.raises(RowError, match=r"press \w+ \(class Told in .*select must return a LongTensor \["):
        model.run(model.inputs(3.0), Told(ratio=0.5, rule=rule))


def test_text_is_never_dropped_and_a_prompt_without_audio_stays_whole(model: Tiny) -> None:
    press = Told(ratio=0.9)
    inputs = model.inputs(3.0)
    base = dict(inputs.tensors)
    text = base["input_ids"][0] != model.loaded.model.config.audio_token_id
    silent = replace(
        inputs,
        tensors={"input_ids": base["input_ids"][:, text], "attention_mask": base["attention_mask"][:, text]},
    )
    run = model.run(silent, press)
    assert press.views == []
    assert torch.equal(run.logits, model.run(silent).logits)


@pytest.mark.parametrize("layer", [4, 40])
def test_a_layer_that_the_model_lacks(model: Tiny, layer: int) -> None:
    with pytest.raises(MarathonError, match="this model has 4 layers, layer must be 0 to 3"):
        Pruning(model.decoder, Told(ratio=0.5, layer=layer), (0,))


def test_layers_that_attend_in_windows(model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        model.decoder.stack.config, "layer_types", ["full_attention", "sliding_attention"] * 2
    )
    with pytest.raises(MarathonError, match="sliding_attention layers"):
        Pruning(model.decoder, Told(ratio=0.5), (0,))


def test_beams(model: Tiny) -> None:
    with pytest.raises(ValueError, match="2 sequences for 1 samples"):
        model.run(model.inputs(2.0), Told(ratio=0.5), num_beams=2)


def test_static_cache(model: Tiny) -> None:
    inputs = model.inputs(2.0)
    cache = StaticCache(config=model.decoder.stack.config, max_cache_len=512)
    with (
        torch.inference_mode(),
        Pruning(model.decoder, Told(ratio=0.5), (0,)),
        pytest.raises(ValueError, match="only with a DynamicCache"),
    ):
        model.loaded.model(**inputs.tensors, past_key_values=cache)


def test_no_cache(model: Tiny) -> None:
    inputs = model.inputs(2.0)
    with (
        torch.inference_mode(),
        Pruning(model.decoder, Told(ratio=0.5), (0,)),
        pytest.raises(ValueError, match="without a KV cache"),
    ):
        model.loaded.model(**inputs.tensors, use_cache=False)


def test_a_prompt_in_pieces(model: Tiny) -> None:
    inputs = model.inputs(2.0)
    with torch.inference_mode(), Pruning(model.decoder, Told(ratio=0.5), (0,)):
        first = model.loaded.model(**inputs.tensors)
        with pytest.raises(ValueError, match="arrives in pieces"):
            model.loaded.model(input_ids=torch.ones(1, 3).long(), past_key_values=first.past_key_values)


def test_right_padding(model: Tiny) -> None:
    inputs = model.inputs(2.0)
    mask = inputs.tensors["attention_mask"].clone()
    mask[0, -1] = 0
    with (
        torch.inference_mode(),
        Pruning(model.decoder, Told(ratio=0.5), (0,)),
        pytest.raises(ValueError, match="left-padded"),
    ):
        model.loaded.model(**{**inputs.tensors, "attention_mask": mask})


def test_embeddings_alone(model: Tiny) -> None:
    with (
        torch.inference_mode(),
        Pruning(model.decoder, Told(ratio=0.5), (0,)),
        pytest.raises(ValueError, match="input_ids are needed"),
    ):
        model.loaded.model(inputs_embeds=torch.zeros(1, 4, tiny_checkpoints.HIDDEN))


def test_taken_gathers_per_sample_and_spreads_what_is_shared() -> None:
    order = torch.tensor([[0, 2], [1, 2]])
    values = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(gathered_tokens(values, order)[1], values[1, 1:])
    shared = gathered_tokens(values[:1], order)
    assert torch.equal(shared[1], values[0, 1:])
    grids = values.expand(3, 2, 3, 4)
    assert torch.equal(gathered_tokens(grids, order)[2, 0], values[0, [0, 2]])
