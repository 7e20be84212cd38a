"""Adapts Qwen2-Audio 7B: https://huggingface.co/Qwen/Qwen2-Audio-7B-Instruct

The model hears at most 30 s and cuts longer audio without a warning, so longer clips are split into 30 s pieces,
which its chat template numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.lone_placeholders import supply_mask
from marathon_eval.backends.hf.mel import audio_tokens, windows

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class Qwen2AudioSettings(ChatSettings):
    """Holds the arguments of every chat model. The checkpoint's template adds its own system prompt."""

    pretrained: str = "Qwen/Qwen2-Audio-7B-Instruct"


class Qwen2Audio(ChatModel):
    """Answers with Qwen2-Audio.

    - Chat: the checkpoint's template, which adds a system turn of its own; audio comes before the question.
    - Audio: 25 tokens per second; longer clips are split into pieces of 30 s, all in one turn.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/Qwen/Qwen2-Audio-7B-Instruct
    """

    Settings: ClassVar[type[ModelSettings]] = Qwen2AudioSettings
    weights_class = "Qwen2AudioForConditionalGeneration"
    token_rate = 25.0
    segment_seconds = 30.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")

    def after_load(self, model: Any, folder: Path) -> None:
        supply_mask(model)

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        features, mask = windows(loaded.features, clips)
        frames = mask.sum(dim=1).tolist()
        return ClipFeatures(
            {"input_features": features, "feature_attention_mask": mask},
            [audio_tokens(count) for count in frames],
            [count * loaded.features.hop_length / RATE for count in frames],
        )
