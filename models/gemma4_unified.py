"""Adapts Gemma 4 12B, which has no audio encoder: https://huggingface.co/google/gemma-4-12B-it

A linear layer turns 40 ms of samples into one token, and the language model hears the rest. Clips are split into 30 s
pieces as for Gemma 4 E2B and E4B, the length that Google documents for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.models.gemma4 import Gemma4, Gemma4Settings

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class Gemma4UnifiedSettings(Gemma4Settings):
    """Holds the arguments of every chat model."""

    pretrained: str = "google/gemma-4-12B-it"


class Gemma4Unified(Gemma4):
    """Answers with Gemma 4 12B.

    - Chat: the checkpoint's template, audio between its begin and end tokens after the question (`audio_first=`).
    - Audio: 25 tokens per second; longer clips are split into 30 s pieces.
    - Presses: pruning presses at `layer=0` that read no attention.
    - Source: https://huggingface.co/google/gemma-4-12B-it
    """

    Settings: ClassVar[type[ModelSettings]] = Gemma4UnifiedSettings
    weights_class = "Gemma4UnifiedForConditionalGeneration"
    windows: ClassVar[str] = "attends in windows in most layers"
    #: The language model is the only part that attends.
    part_kernels: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        out = loaded.features(list(clips), return_tensors="pt")
        mask = out["input_features_mask"]
        return ClipFeatures(
            {"input_features": out["input_features"], "input_features_mask": mask},
            mask.sum(dim=1).tolist(),
            [len(clip) / RATE for clip in clips],
        )

    def encoder(self, model: Any) -> Any:
        """Return the projection of samples, which stands where other models have an encoder."""
        return model.model.embed_audio
