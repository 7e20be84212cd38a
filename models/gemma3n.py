"""Adapts Gemma 3n E4B and E2B: https://huggingface.co/google/gemma-3n-E4B-it

Google documents clips of up to 30 s, so longer clips are split into 30 s pieces in one turn. Every piece takes 188
tokens, however short it is. Most layers attend in windows and some share their KV cache, so a press can only drop
tokens before the first layer (`layer=0`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class Gemma3nSettings(ChatSettings):
    """Holds the arguments of every chat model."""

    pretrained: str = "google/gemma-3n-E4B-it"


class Gemma3n(ChatModel):
    """Answers with Gemma 3n.

    - Chat: the checkpoint's template, audio between its begin and end tokens before the question.
    - Audio: 188 tokens per piece of up to 30 s, at least 6.25 per second; longer clips are split into 30 s pieces.
    - Presses: pruning presses at `layer=0` that read no attention.
    - Source: https://huggingface.co/google/gemma-3n-E4B-it
    """

    Settings: ClassVar[type[ModelSettings]] = Gemma3nSettings
    version = 2
    press_version: ClassVar[int] = 3
    weights_class = "Gemma3nForConditionalGeneration"
    token_rate = 6.25
    padded_to: float | None = 30.0
    segment_seconds = 30.0
    cut_at_input = True
    end_tokens = ("<end_of_turn>", "<eos>")
    #: The checkpoint contains a vision tower that only timm can build, so timm is required for audio too.
    needs: ClassVar[Mapping[str, str]] = {"timm": "gemma3n"}

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        extractor = loaded.features
        out = extractor(list(clips), sampling_rate=RATE, return_attention_mask=True, return_tensors="pt")
        mask = out["input_features_mask"]
        # the samples after the last whole frame do not count as cut audio
        reach = [int(n) * extractor.hop_length + extractor.frame_length for n in mask.sum(dim=1)]
        return ClipFeatures(
            {"input_features": out["input_features"], "input_features_mask": mask},
            self.counts(loaded, mask),
            [min(len(clip), heard) / RATE for clip, heard in zip(clips, reach, strict=True)],
            self.sounding(loaded, mask),
        )

    def sounding(self, loaded: Loaded, mask: Tensor) -> list[int]:
        """Count the tokens of each row of `mask` [N, frames] that the encoder makes of sound; the rest are silent.

        The encoder subsamples the mask as its convolutions do the frames, and then by its reduction factor.
        """
        config: Any = loaded.model.config.audio_config
        stride = math.prod(time for time, _ in config.sscp_conv_stride_size)
        counts: list[int] = mask[:, ::stride][:, :: config.conf_reduction_factor].sum(dim=1).tolist()
        return counts

    def counts(self, loaded: Loaded, mask: Tensor) -> list[int]:
        """Return the audio tokens of each row of `mask` [N, frames]."""
        return [int(loaded.model.config.audio_soft_tokens_per_image)] * len(mask)

    def spelled(self, loaded: Loaded, count: int) -> str:
        return f"\n\n{self.between(loaded, count)}\n\n"

    def between(self, loaded: Loaded, count: int) -> str:
        """Return `count` audio tokens between the begin and end tokens of audio."""
        config: Any = loaded.model.config
        ends = [config.boa_token_id, getattr(config, "eoa_token_id", None) or config.eoa_token_index]
        before, after = loaded.tokenizer.convert_ids_to_tokens(ends)
        return f"{before}{self.placeholder(loaded) * count}{after}"
