"""Defines a loaded model with its tokenizer and feature extractor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.model import Request
    from marathon_eval.api.press import Decoder, EvictionPress, PruningPress
    from marathon_eval.backends.hf.engine.eviction_context import Context
    from marathon_eval.backends.hf.engine.lower_layers import LowerLayers


class ClipReuse(Protocol):
    """Declares the reuse of work on the current clip, as generation needs it; `shared_clip.Shared` implements it."""

    def lower_layers(self, press: PruningPress) -> LowerLayers | None:
        """Return the stored layers below the press's first cut; None if they would not be reused."""

    def context(
        self,
        decoder: Decoder,
        tensors: Mapping[str, Tensor],
        length: int,
        press: EvictionPress,
        silent: NDArray[np.bool_] | None = None,
    ) -> Context:
        """Return the prefilled context, computed now or reused from the previous request."""

    def serves_whole(self, decoder: Decoder, request: Request, audio_tokens: Sequence[int]) -> bool:
        """Return whether a response without a press should start from the prefilled context too."""


@dataclass(frozen=True)
class Loaded:
    """Holds a model in memory, and the tokenizer and feature extractor that make its inputs."""

    model: Any
    tokenizer: Any
    features: Any
    chat_template: str | None
    device: torch.device
    weights_bytes: int
    #: The work that other requests on the same clip may reuse.
    shared: ClipReuse | None = None
