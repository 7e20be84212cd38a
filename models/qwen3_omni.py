"""Qwen3-Omni 30B-A3B, by the thinker alone: https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct

Features are the official processor's for one clip at a time: its own padding of unequal clips reaches into their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import stacked, whole_clip

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class Qwen3OmniSettings(ChatSettings):
    """The model card asks for no system sentence when only text is wanted."""

    pretrained: str = "Qwen/Qwen3-Omni-30B-A3B-Instruct"


class Qwen3Omni(ChatModel):
    """13 audio tokens per second; no limit on length but the model's positions."""

    Settings: ClassVar[type[ModelSettings]] = Qwen3OmniSettings
    weights_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
    weights_prefix = "thinker."
    token_rate = 13.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        mels = [whole_clip(loaded.features, clip) for clip in clips]
        features, mask = stacked(mels)
        chunk = 2 * int(loaded.model.config.audio_config.n_window)
        return ClipFeatures(
            {"input_features": features, "feature_attention_mask": mask},
            [audio_tokens(mel.shape[1], chunk) for mel in mels],
            [mel.shape[1] * loaded.features.hop_length / RATE for mel in mels],
        )


def audio_tokens(frames: int, chunk: int) -> int:
    """Tokens of `frames` mel frames: three halvings, rounded up, in chunks of `chunk` frames, which are 13 each."""
    rest = frames % chunk
    return frames // chunk * halved(chunk) + halved(rest)


def halved(frames: int) -> int:
    """What three convolutions of stride 2 leave of `frames`."""
    for _ in range(3):
        frames = -(-frames // 2)
    return frames
