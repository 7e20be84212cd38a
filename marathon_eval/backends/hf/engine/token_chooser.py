"""Chooses the tokens of an answer that is decoded outside `generate`."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from marathon_eval.api.model import Generation
from marathon_eval.backends.hf.engine.finite_logits import are_finite, broken_logits
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.usage import now
from marathon_eval.errors import RowError


@dataclass
class Chooser:
    """Chooses each next token and stores it, until an end token, a stop string or `max_new_tokens`.

    Above temperature 0 it samples as `generate` does: with the same seed and no key evicted, the same tokens.
    """

    loaded: Loaded
    generation: Generation
    tokens: list[int]
    first_at: float | None = None
    finish: str = "length"
    #: Its own, so that nothing else that draws changes what is drawn here; it gives what a seeded global one would.
    _generator: torch.Generator | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.generation.seed is not None:
            self._generator = torch.Generator(self.loaded.device).manual_seed(self.generation.seed)

    def __call__(self, logits: Tensor) -> int | None:
        meant = are_finite(logits)
        chosen = self._next(logits, meant)
        # a token has to be read at every step, and one read waits for the device as long as two numbers do
        token, is_meant = torch.stack([chosen, meant.to(chosen.dtype)]).tolist()
        if not is_meant:
            raise RowError(broken_logits(len(self.tokens)))
        if self.first_at is None:
            self.first_at = now(self.loaded.device)
        self.tokens.append(token)
        if token in self.loaded.model.generation_config.eos_token_id or self._stopped():
            self.finish = "stop"
            return None
        return token if len(self.tokens) < self.generation.max_new_tokens else None

    def _next(self, logits: Tensor, meant: Tensor) -> Tensor:
        """Return the next token's number, on the logits' device; sampling, which stops the process at NaN, gets zeros there."""
        generation = self.generation
        if generation.temperature <= 0:
            return logits.argmax()
        warpers = LogitsProcessorList([TemperatureLogitsWarper(generation.temperature)])
        if generation.top_p < 1:
            warpers.append(TopPLogitsWarper(generation.top_p))
        scores = warpers(None, torch.where(meant, logits, torch.zeros_like(logits))[None].float())
        return torch.multinomial(scores.softmax(-1), num_samples=1, generator=self._generator)[0, 0]

    def _stopped(self) -> bool:
        return bool(self.generation.stop) and any(stop in self.text() for stop in self.generation.stop)

    def text(self) -> str:
        """Return the answer so far, without special tokens."""
        decoded: str = self.loaded.tokenizer.decode(self.tokens, skip_special_tokens=True)
        return decoded
