"""What the engine of local models needs from an adapter: its arguments, its batches, and the adapter's interface."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import Field

from marathon_eval.api.model import ModelSettings, Request, Response
from marathon_eval.api.press import Press
from marathon_eval.backends.hf.batching import Batching, BatchSize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.api.press import Decoder
    from marathon_eval.backends.hf.engine.loaded import Loaded


RATE = 16000


class HFSettings(ModelSettings):
    """The arguments of every local model."""

    pretrained: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: Literal[
        "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"
    ] = "sdpa"
    device: str = "auto"
    device_map: str | None = None
    batch_size: BatchSize = 1
    #: Of prompt and answer, with padding; alone it means as many requests as stay within.
    max_batch_tokens: int | None = Field(default=None, ge=1)
    trust_remote_code: bool = False
    #: Hear and encode a clip once for all questions on it; off for measuring what that is worth.
    sharing: bool = True
    #: A folder that keeps what the audio encoder gave, and its bound; those read longest ago are deleted first.
    encoder_cache: str | None = None
    encoder_cache_gb: float = Field(default=20.0, gt=0)


@dataclass(frozen=True)
class Inputs:
    """What goes into the model for a batch, and what is known of it per sample."""

    tensors: dict[str, Tensor]
    heard_seconds: list[float]
    audio_tokens: list[int]
    loudness: list[Tensor] | None = None
    details: dict[str, Any] = field(default_factory=dict)


class LocalModel(Protocol):
    """An adapter as the engine sees it; `backends.hf.adapter.HFAudio` implements it."""

    #: kinds of press that the model can carry
    carries: ClassVar[tuple[type[Press], ...]]

    @classmethod
    def name(cls) -> str:
        """Return the model's name on the command line."""

    @property
    def args(self) -> HFSettings:
        """Return the arguments of `--model_args`."""

    @property
    def press(self) -> Press | None:
        """Return the press, if one was asked for."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return everything about the model that can change a response."""

    @property
    def cells(self) -> Sequence[LocalModel]:
        """Return the adapters that share these weights, one per cell of a sweep."""

    @property
    def batching(self) -> Batching:
        """Return the token budget of a batch, shared by all cells."""

    @property
    def has_decoder(self) -> bool:
        """Return whether `decoder` is implemented, so that the audio encoder's output can be reused."""

    @property
    def weights_class(self) -> str:
        """Return the name of the transformers class that loads the weights."""

    @property
    def weights_prefix(self) -> str | None:
        """Return the prefix of the tensors that are needed; None loads all."""

    @property
    def token_rate(self) -> float | None:
        """Return audio tokens per second; None where audio is not in the token stream."""

    @property
    def end_tokens(self) -> tuple[str, ...]:
        """Return ending tokens beside those that the checkpoint names."""

    def folder(self) -> Path:
        """Return the checkpoint's folder, downloaded if need be."""

    def kernels(self) -> str | dict[str, str]:
        """Return the attention implementation, or one per part of the model."""

    def extractor(self, folder: Path) -> Any:
        """Load the feature extractor."""

    def after_load(self, model: Any, folder: Path) -> None:
        """Complete the loaded model before the first request."""

    def begin(self, loaded: Loaded) -> None:
        """Read what only the loaded checkpoint tells."""

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """Build the tensors of a batch, on the CPU."""

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        """Generate one response per request."""

    def decoder(self, model: Any) -> Decoder:
        """Return what a press may know of the loaded model."""

    def seed_of(self, request: Request) -> int:
        """Return the request's seed for a press that draws at random."""

    def hashes(self, requests: Sequence[Request]) -> list[str]:
        """Return the content hashes of all clips, in order."""

    def know_lengths(self, requests: Sequence[Request]) -> None:
        """Look up the clips' seconds."""

    def tokens_of(self, request: Request) -> int:
        """Return an estimate of the tokens of prompt and answer."""

    def requests_at_once(self) -> int:
        """Return how many requests one batch may hold."""

    def take(self, waiting: deque[Request]) -> list[Request]:
        """Remove the next batch from the front of the queue and return it."""


def chat_template(folder: Path) -> str | None:
    """A checkpoint's chat template, from where processors and tokenizers keep it; None where it has none."""
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        file = folder / name
        if file.is_file():
            template = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
            if isinstance(template, str):
                return template
    return None
