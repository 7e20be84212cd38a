"""Adapts GLM-ASR-Nano 1.5B: https://huggingface.co/zai-org/GLM-ASR-Nano-2512

The encoder is Whisper's with rotary positions. It hears windows of 30 s, each padded and scaled for itself, whose tokens
follow each other in the prompt without a delimiter. The official processor cuts clips after 655 s, where the model's
8,192 positions end; here a clip that does not fit them is an error row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import windows
from marathon_eval.backends.hf.transcriber import ChatTranscriber

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class GlmASRSettings(ChatSettings):
    """Holds the arguments of every chat model."""

    pretrained: str = "zai-org/GLM-ASR-Nano-2512"
    #: The text after the clip; by default the one that the official processor writes.
    instruction: str = "Please transcribe this audio into text"


class GlmASR(ChatTranscriber):
    """Transcribes with GLM-ASR-Nano.

    - Chat: the checkpoint's template, the clip and then `instruction=`; the question is not sent.
    - Audio: 12.5 tokens per second; its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses, except those that read the question.
    - Source: https://huggingface.co/zai-org/GLM-ASR-Nano-2512
    """

    Settings: ClassVar[type[ModelSettings]] = GlmASRSettings
    weights_class = "GlmAsrForConditionalGeneration"
    token_rate = 12.5
    end_tokens = ("<|user|>", "<|endoftext|>")

    def instruction(self) -> str:
        return cast("GlmASRSettings", self.settings).instruction

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        size = int(loaded.features.n_samples)
        pieces = [[clip[at : at + size] for at in range(0, max(len(clip), 1), size)] for clip in clips]
        features, mask = windows(loaded.features, [piece for each in pieces for piece in each])
        frames = [rows.sum(dim=1).tolist() for rows in mask.split([len(each) for each in pieces])]
        return ClipFeatures(
            # the encoder does not cast its input
            {"input_features": features.to(loaded.model.dtype), "input_features_mask": mask},
            [sum(four_to_one(count) for count in counts) for counts in frames],
            [sum(counts) * loaded.features.hop_length / RATE for counts in frames],
        )


def four_to_one(frames: int) -> int:
    """Count the tokens of a window of mel frames: a convolution halves the frames, the projector joins four of them."""
    return (frames + 1) // 2 // 4
