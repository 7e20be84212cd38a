"""Adapts Qwen2.5-Omni 3B and 7B, of which only the thinker is loaded: https://huggingface.co/Qwen/Qwen2.5-Omni-7B

Inputs are built from the tokenizer and the feature extractor, so that audio needs neither torchvision nor Pillow. The
features cover the clip's real length; the official processor computes 300 s for every clip and cuts longer ones. A
test compares ids and features with that processor's.
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

#: The system prompt that the model card requires; the official processor warns when another one is used.
SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, "
    "capable of perceiving auditory and visual inputs, as well as generating text and speech."
)


class QwenOmniSettings(ChatSettings):
    """Holds the arguments of every chat model; the default `system_prompt` is the model card's."""

    #: A folder or a name on the hub; `nano` is the small model that this package ships (docs/nano.md).
    pretrained: str = "Qwen/Qwen2.5-Omni-7B"
    system_prompt: str = SYSTEM


class QwenOmni(ChatModel):
    """Answers with the thinker of Qwen2.5-Omni, in text only.

    - Chat: the checkpoint's template; the system turn is the model card's sentence, audio comes before the question.
    - Audio: 25 tokens per second; its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/Qwen/Qwen2.5-Omni-7B
    """

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
