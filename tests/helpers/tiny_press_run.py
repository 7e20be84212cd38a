"""Runs a tiny model in memory and exposes its internals, for the press tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from marathon_eval.api.model import Request
from marathon_eval.api.press import Decoder, PruningPress
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.prompt_facts import with_facts
from marathon_eval.backends.hf.engine.prompt_pass import KeptTokens
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.backends.hf.engine.request_inputs import token_loudness
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.models.qwen_omni import QwenOmni

NEW_TOKENS = 8


@dataclass
class Run:
    """Holds a greedy answer's logits [B, step, vocabulary], with what was cached and kept."""

    logits: Tensor
    sequences: Tensor
    cached: list[int]
    kept: KeptTokens | None


@dataclass
class Tiny:
    """Holds a loaded tiny Qwen2.5-Omni."""

    adapter: QwenOmni
    loaded: Loaded
    _inputs: dict[tuple[float, ...], Inputs] = field(default_factory=dict)
    _plain: dict[tuple[float, ...], Run] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, attention: str = "sdpa") -> Tiny:
        args = {"pretrained": str(folder), "attn_implementation": attention, "device": "cpu"}
        adapter = QwenOmni(QwenOmni.Settings.model_validate(args))
        return cls(adapter, load(adapter))

    @property
    def decoder(self) -> Decoder:
        return self.adapter.decoder(self.loaded.model)

    def inputs(self, *seconds: float) -> Inputs:
        """Return a batch of prompts of different lengths, each with the given seconds of noise, built once."""
        if seconds not in self._inputs:
            self._inputs[seconds] = self._built(seconds)
        return self._inputs[seconds]

    def plain(self, *seconds: float) -> Run:
        """Return the answer to these inputs without a press, computed once: no press may leave anything behind."""
        if seconds not in self._plain:
            self._plain[seconds] = self.run(self.inputs(*seconds))
        return self._plain[seconds]

    def _built(self, seconds: tuple[float, ...]) -> Inputs:
        waves = [[noise(length, seed)] for seed, length in enumerate(seconds)]
        requests = [Request("What is heard?" + " Say it." * row) for row in range(len(seconds))]
        # one placeholder per clip: the request's own audio is not read here
        inputs = self.adapter.prepare(self.loaded, [_with_audio(r) for r in requests], waves)
        inputs = with_facts(inputs, requests, self.loaded.tokenizer, self.decoder.audio_token_ids)
        heard = [
            token_loudness(wave, tokens) for wave, tokens in zip(waves, inputs.audio_tokens, strict=True)
        ]
        return replace(inputs, loudness=heard)

    def run(
        self,
        inputs: Inputs,
        press: PruningPress | None = None,
        early_exit: bool = True,
        seeds: Sequence[int] = (11, 12),
        **generation: Any,
    ) -> Run:
        """Generate a greedy answer of NEW_TOKENS tokens."""
        config = GenerationConfig(
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
            **generation,
        )
        pruning = None
        with torch.inference_mode():
            if press is None:
                out = self.loaded.model.generate(**inputs.tensors, generation_config=config)
            else:
                rows = len(inputs.tensors["input_ids"])
                pruning = Pruning(
                    self.decoder, press, seeds[:rows], early_exit, inputs.loudness, facts=inputs.facts
                )
                with pruning:
                    out = self.loaded.model.generate(**inputs.tensors, generation_config=config)
        return Run(
            logits=torch.stack(out.logits, dim=1),
            sequences=out.sequences,
            cached=[layer.keys.shape[-2] for layer in out.past_key_values.layers],
            kept=pruning.kept if pruning else None,
        )

    def hooks(self) -> int:
        """Return every hook of every module."""
        return sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in self.loaded.model.modules()
        )


def noise(seconds: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return noise whose loudness swells and falls, so that no two audio tokens are alike."""
    generator = np.random.default_rng(seed)
    count = int(seconds * RATE)
    swell = 0.05 + 0.2 * np.sin(np.linspace(0, 7 + seed, count)) ** 2
    return (generator.standard_normal(count) * swell).astype(np.float32)


def _with_audio(request: Request) -> Request:
    from marathon_eval.api.audio import Audio

    return replace(request, audios=(Audio("unread.wav"),))


class CutAt(NamedTuple):
    """Describes a cut at the input of `layer`: the kept audio tokens, by place among those left, and their states."""

    layer: int
    kept: Tensor
    merged: Tensor | None = None


def recomputed(
    tiny: Tiny,
    inputs: Inputs,
    sequences: Tensor,
    row: int,
    cuts: Sequence[CutAt] = (),
    markers: int = 0,
) -> Tensor:
    """Compute the logits [step, vocabulary] of one sample by the definition of pruning, in one pass without hooks.

    The pass uses no cache, no generate and no batch. Layers before a cut see every token, the others the text, the
    kept audio tokens and the answer so far. Masks are built explicitly, and positions are those of the whole
    sequence. `markers` is the number of tokens on either side of the audio that may be removed too.
    """
    model: Any = tiny.loaded.model
    stack: Any = tiny.decoder.stack
    prompt = inputs.tensors["input_ids"].shape[1]
    padding = int((inputs.tensors["attention_mask"][row] == 0).sum())
    ids = sequences[row : row + 1, padding:-1]
    frames = inputs.tensors["feature_attention_mask"][row : row + 1]
    at = {cut.layer: cut for cut in cuts}
    with torch.inference_mode():
        hidden = model.get_input_embeddings()(ids)
        heard = model.get_audio_features(
            inputs.tensors["input_features"][row : row + 1], feature_attention_mask=frames
        ).last_hidden_state
        audio = ids == model.config.audio_token_id
        hidden = hidden.masked_scatter(audio[..., None], heard)
        places = torch.arange(ids.shape[1]).expand(3, 1, -1)
        (where,) = audio[0].nonzero(as_tuple=True)
        may_go = torch.zeros_like(audio[0])
        may_go[int(where[0]) - markers : int(where[-1]) + 1 + markers] = True
        for index, block in enumerate(stack.layers):
            if index in at:
                cut = at[index]
                if cut.merged is not None:
                    hidden = hidden.index_copy(1, cut.kept, cut.merged[None])
                stays = ~may_go | torch.isin(torch.arange(len(may_go)), cut.kept)
                hidden, places, may_go = hidden[:, stays], places[..., stays], may_go[stays]
            length = hidden.shape[1]
            mask = torch.full((length, length), -torch.inf).triu(1)[None, None]
            hidden = block(hidden, attention_mask=mask, position_embeddings=stack.rotary_emb(hidden, places))
        logits: Tensor = model.lm_head(stack.norm(hidden))
    steps = sequences.shape[1] - prompt
    return logits[0, -steps:]
