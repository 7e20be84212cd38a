"""Qwen2-Audio 7B: https://huggingface.co/Qwen/Qwen2-Audio-7B-Instruct

It hears 30 s and not a sample more, without a word about it, so longer clips are asked as numbered 30 s pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import audio_tokens, windows

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class Qwen2AudioSettings(ChatSettings):
    """No system sentence of ours: the checkpoint's template adds its own."""

    pretrained: str = "Qwen/Qwen2-Audio-7B-Instruct"


class Qwen2Audio(ChatModel):
    """25 audio tokens per second, 30 s per piece."""

    Settings: ClassVar[type[ModelSettings]] = Qwen2AudioSettings
    weights_class = "Qwen2AudioForConditionalGeneration"
    token_rate = 25.0
    segment_seconds = 30.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        features, mask = windows(loaded.features, clips)
        frames = mask.sum(dim=1).tolist()
        return ClipFeatures(
            {"input_features": features, "feature_attention_mask": mask},
            [audio_tokens(count) for count in frames],
            [count * loaded.features.hop_length / RATE for count in frames],
        )
