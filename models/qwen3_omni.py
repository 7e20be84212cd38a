"""Adapts Qwen3-Omni 30B-A3B, of which only the thinker is loaded.

Source: https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct. Features equal the official processor's for one clip
at a time; when that processor pads clips of unequal length, the padding changes the features at their ends.
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
    """Holds the arguments of every chat model. The model card requires no system prompt for text output."""

    pretrained: str = "Qwen/Qwen3-Omni-30B-A3B-Instruct"


class Qwen3Omni(ChatModel):
    """Answers with the thinker of Qwen3-Omni, in text only.

    - Chat: the checkpoint's template without a system turn, audio before the question.
    - Audio: 13 tokens per second; its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct
    """

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
    """Count the audio tokens of `frames` mel frames.

    The encoder works in chunks of `chunk` frames and halves each chunk three times, rounding up; a whole chunk of 100
    frames makes 13 tokens.
    """
    rest = frames % chunk
    return frames // chunk * halved(chunk) + halved(rest)


def halved(frames: int) -> int:
    """Return how many frames three convolutions of stride 2 leave of `frames`."""
    for _ in range(3):
        frames = -(-frames // 2)
    return frames
