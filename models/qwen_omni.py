"""Qwen2.5-Omni 3B and 7B, by the thinker alone: https://huggingface.co/Qwen/Qwen2.5-Omni-7B

Inputs are built from tokenizer and feature extractor, so that hearing needs neither torchvision nor Pillow, and the
features cover the clip's real length where the official processor computes 300 s for every clip (and cuts what is
longer). A test holds ids and features against that processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import audio_tokens, mel_frames, stacked

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The system sentence that the model card asks for and the official processor warns about when it differs.
SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, "
    "capable of perceiving auditory and visual inputs, as well as generating text and speech."
)


class QwenOmniSettings(ChatSettings):
    """`system_prompt=` (empty: no system turn) and `audio_first=` beside what every local model takes."""

    pretrained: str = "Qwen/Qwen2.5-Omni-7B"
    system_prompt: str = SYSTEM


class QwenOmni(ChatModel):
    """25 audio tokens per second; no limit on length but the model's positions."""

    Settings: ClassVar[type[ModelSettings]] = QwenOmniSettings
    version: ClassVar[int] = 1
    weights_class = "Qwen2_5OmniThinkerForConditionalGeneration"
    weights_prefix = "thinker."
    pinned: ClassVar[Mapping[str, str]] = {
        "Qwen/Qwen2.5-Omni-7B": "ae9e1690543ffd5c0221dc27f79834d0294cba00",
        "Qwen/Qwen2.5-Omni-3B": "f75b40e3da2003cdd6e1829b1f420ca70797c34e",
    }
    token_rate = 25.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        mels = [mel_frames(loaded.features, clip) for clip in clips]
        frames = [mel.shape[1] for mel in mels]
        features, mask = stacked(mels)
        return ClipFeatures(
            {"input_features": features, "feature_attention_mask": mask},
            [audio_tokens(count) for count in frames],
            [count * loaded.features.hop_length / RATE for count in frames],
        )
