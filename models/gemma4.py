"""Adapts Gemma 4 E2B and E4B: https://huggingface.co/google/gemma-4-E4B-it

Clips are split into 30 s pieces as for Gemma 3n, but a piece's tokens are proportional to its length. It carries the
same presses. The model card asks for audio after the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.inputs import ALL_KERNELS
from marathon_eval.models.gemma3n import Gemma3n, Gemma3nSettings

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.engine.loaded import Loaded


class Gemma4Settings(Gemma3nSettings):
    """Holds the arguments of every chat model."""

    pretrained: str = "google/gemma-4-E4B-it"
    audio_first: bool = False


class Gemma4(Gemma3n):
    """Answers with Gemma 4.

    - Chat: the checkpoint's template, audio between its begin and end tokens after the question (`audio_first=`).
    - Audio: 25 tokens per second; longer clips are split into 30 s pieces.
    - Presses: pruning presses at `layer=0` that read no attention.
    - Source: https://huggingface.co/google/gemma-4-E4B-it
    """

    Settings: ClassVar[type[ModelSettings]] = Gemma4Settings
    press_version = 1
    weights_class = "Gemma4ForConditionalGeneration"
    token_rate = 25.0
    padded_to = None
    needs: ClassVar[Mapping[str, str]] = {}
    #: The audio encoder has an eager kernel only.
    part_kernels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text_config": ALL_KERNELS,
        "vision_config": ALL_KERNELS,
        "audio_config": ("eager",),
    }

    def counts(self, loaded: Loaded, mask: Tensor) -> list[int]:
        """Count the frames that two convolutions of stride 2 leave: each keeps every second entry of the mask."""
        counts: list[int] = mask[:, ::2][:, ::2].sum(dim=1).tolist()
        return counts

    def sounding(self, loaded: Loaded, mask: Tensor) -> list[int]:
        """Return the counts: no token is silent."""
        return self.counts(loaded, mask)

    def spelled(self, loaded: Loaded, count: int) -> str:
        return self.between(loaded, count)
