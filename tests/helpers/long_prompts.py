"""Builds prompts with minutes of audio, and computes what a press may read of them without the code under test.

The model runs once, without hooks, and its own outputs (hidden states and cached keys) are taken. Queries are computed
from the layers' weights, and rotated by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.api.press import Decoder, PruningPress
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.lower_layers import LowerLayers
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.backends.hf.engine.request_inputs import with_loudness
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.models.qwen_omni import QwenOmni

#: Samples of one audio token of Qwen2.5-Omni, which has 25 in a second.
TOKEN_SAMPLES = RATE // 25


@dataclass(frozen=True)
class LongPrompt:
    """Holds one request on one or more clips, and the model that reads it."""

    loaded: Loaded
    decoder: Decoder
    inputs: Inputs
    #: Root mean square of the samples of each audio token, from the sound alone.
    loudness: Tensor

    @property
    def ids(self) -> Tensor:
        """Return the prompt's token ids [T]."""
        return self.inputs.tensors["input_ids"][0]

    @cached_property
    def audio(self) -> Tensor:
        """Return the positions of audio tokens."""
        return torch.isin(self.ids, torch.tensor(self.decoder.audio_token_ids)).nonzero().squeeze(1)

    def read(self, length: int | None = None) -> ModelStates:
        """Run the model on the first `length` tokens, or on all."""
        tensors = dict(self.inputs.tensors)
        for name in ("input_ids", "attention_mask"):
            tensors[name] = tensors[name][:, :length]
        with torch.inference_mode():
            out = self.loaded.model(**tensors, use_cache=True, output_hidden_states=True)
        layers = out.past_key_values.layers
        hidden = [states[0] for states in out.hidden_states]
        return ModelStates(self, hidden, [x.keys[0] for x in layers], [x.values[0] for x in layers])


@dataclass(frozen=True)
class ModelStates:
    """Holds hidden states [T, h] before each layer, and each layer's keys and values [key heads, T, d]."""

    prompt: LongPrompt
    hidden: Sequence[Tensor]
    keys: Sequence[Tensor]
    values: Sequence[Tensor]

    @property
    def length(self) -> int:
        return len(self.hidden[0])

    def queries(self, layer: int, rotated: bool = True) -> Tensor:
        """Return a layer's queries [heads, T, d], from its weights and its input."""
        module: Any = self.prompt.decoder.layers[layer]
        with torch.inference_mode():
            flat = module.self_attn.q_proj(module.input_layernorm(self.hidden[layer]))
        size = self.keys[layer].shape[-1]
        queries = flat.unflatten(-1, (-1, size)).transpose(0, 1)
        return self.turned(queries, torch.arange(self.length)) if rotated else queries

    def turned(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Rotate vectors [..., T, d] by their positions [T]."""
        cos, sin = (part.to(vectors.dtype) for part in self.rotary(positions))
        half = vectors.shape[-1] // 2
        crossed = torch.cat([-vectors[..., half:], vectors[..., :half]], dim=-1)
        return vectors * cos + crossed * sin

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines [T, d] of the rotary embedding (Su et al., https://arxiv.org/abs/2104.09864)."""
        config: Any = self.prompt.decoder.stack.config
        size = self.keys[0].shape[-1]
        speed = config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2).float() / size)
        angles = (positions.float()[:, None] * speed).repeat(1, 2)
        return angles.cos(), angles.sin()


class Stopped(Exception):
    """Ends a forward pass whose later layers nobody looks at."""


@dataclass(frozen=True)
class CutSeen:
    """Holds what reached the layer of a cut: positions, states and rotary tables of the tokens that are left."""

    positions: Tensor
    states: Tensor
    rotary: tuple[Tensor, Tensor]
    #: What the press named, in its order.
    named: Tensor


@dataclass
class Machine:
    """Runs the code under test on one prompt; layers below a cut are computed once."""

    prompt: LongPrompt
    lower: LowerLayers

    @classmethod
    def of(cls, prompt: LongPrompt, watching: Sequence[PruningPress]) -> Machine:
        """`watching` holds a press with attention for every layer that is cut."""
        return cls(prompt, LowerLayers(watching, lambda seconds: None))

    def cut(self, press: PruningPress, seed: int) -> CutSeen:
        """Prefill up to the cut, and return what is left there."""
        decoder, layer = self.prompt.decoder, press.cuts[0][0]
        seen: dict[str, Any] = {}

        def stop(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen["states"] = (args[0] if args else kwargs["hidden_states"])[0]
            seen["rotary"] = kwargs["position_embeddings"]
            raise Stopped

        loudness = self.prompt.inputs.loudness
        with torch.inference_mode(), named_by(press) as named:
            lower = self.lower if layer else None
            with Pruning(decoder, press, [seed], loudness=loudness, lower=lower) as pruning:
                handle = decoder.layers[layer].register_forward_pre_hook(stop, with_kwargs=True)
                with pytest.raises(Stopped):
                    self.prompt.loaded.model(**self.prompt.inputs.tensors, use_cache=True)
                handle.remove()
                (positions,) = pruning.left()[layer]
        size = seen["states"].shape[0]
        cos, sin = (part.reshape(-1, size, part.shape[-1])[0] for part in seen["rotary"])
        return CutSeen(positions, seen["states"], (cos, sin), named[0])


@contextmanager
def named_by(press: PruningPress) -> Iterator[list[Tensor]]:
    """While open, note what the press names, in its order."""
    named: list[Tensor] = []
    original = press.select

    def select(view: Any) -> Any:
        named.append(original(view))
        return named[-1]

    object.__setattr__(press, "select", select)  # settings are frozen
    try:
        yield named
    finally:
        object.__delattr__(press, "select")


class Nano:
    """Holds the demonstration model in one dtype; an encoder run is kept until the next prompt."""

    def __init__(self, dtype: str) -> None:
        arguments = {"pretrained": "nano", "device": "cpu", "dtype": dtype}
        self.arguments: dict[str, Any] = arguments
        self.loaded = load(self._adapter())
        encode, self._heard = self.loaded.model.get_audio_features, dict[Any, Any]()

        def once(features: Tensor, *args: Any, **kwargs: Any) -> Any:
            key = features.shape, float(features.double().sum())
            if key not in self._heard:
                self._heard = {key: encode(features, *args, **kwargs)}
            return self._heard[key]

        self.loaded.model.get_audio_features = once

    def _adapter(self, **more: Any) -> QwenOmni:
        return QwenOmni(QwenOmni.Settings.model_validate({**self.arguments, **more}))

    def prompt(self, seconds: Sequence[float], audio_first: bool) -> LongPrompt:
        """Build a request on clips of noise; the question stands behind the clips, or before them."""
        waves = [noise(length, number) for number, length in enumerate(seconds, start=int(sum(seconds)))]
        adapter = self._adapter(audio_first=audio_first)
        audios = tuple(Audio(f"unread{number}.wav") for number in range(len(seconds)))
        inputs = adapter.prepare(self.loaded, [Request("Which sounds can be heard?", audios)], [waves])
        sound = torch.cat([torch.from_numpy(wave) for wave in waves]).double()
        loudness = sound.unflatten(0, (-1, TOKEN_SAMPLES)).square().mean(dim=1).sqrt()
        assert len(loudness) == inputs.audio_tokens[0]
        decoder = adapter.decoder(self.loaded.model)
        return LongPrompt(self.loaded, decoder, with_loudness(inputs, [waves]), loudness)
