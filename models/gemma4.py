"""Gemma 4 E2B and E4B: https://huggingface.co/google/gemma-4-E4B-it

30 s per piece, as Gemma 3n's, but as many tokens as a piece is long. Presses as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.models.gemma3n import Gemma3n, Gemma3nSettings

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.engine.loaded import Loaded


class Gemma4Settings(Gemma3nSettings):
    """As every chat model's."""

    pretrained: str = "google/gemma-4-E4B-it"


class Gemma4(Gemma3n):
    """25 audio tokens per second."""

    Settings: ClassVar[type[ModelSettings]] = Gemma4Settings
    weights_class = "Gemma4ForConditionalGeneration"
    token_rate = 25.0
    needs: ClassVar[Mapping[str, str]] = {}

    def kernels(self) -> dict[str, str]:
        """The audio encoder has an eager kernel only."""
        return {"": self.args.attn_implementation, "audio_config": "eager"}

    def counts(self, loaded: Loaded, mask: Tensor) -> list[int]:
        """Two convolutions of stride 2 keep every second frame's mask, twice."""
        counts: list[int] = mask[:, ::2][:, ::2].sum(dim=1).tolist()
        return counts

    def spelled(self, loaded: Loaded, count: int) -> str:
        return self.between(loaded, count)
