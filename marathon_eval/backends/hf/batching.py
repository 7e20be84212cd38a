"""Chooses the requests of a batch: a fixed number of them, or as many as fit a token budget. Imports no torch.

The budget counts tokens with padding: the number of requests times the longest request's audio, words and answer.
Tokens are estimated before a clip is decoded and counted when the batch is ready; a batch that turns out too large is
split before it runs.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from marathon_eval.api.model import Request
from marathon_eval.errors import MarathonError

#: The largest batch of `auto`; a killed run loses the requests of one batch.
MAX_BATCH = 64
#: The budget of `auto` without a GPU: one clip of five minutes at 25 tokens/s, or three of a minute and a half.
CPU_TOKENS = 8192
#: Audio tokens by which each clip may have fewer than its length times the rate: frames and tokens are rounded.
ROUNDED_TOKENS = 2
#: `auto` on a GPU uses this share of the free memory, judged by the bytes per token of the first, longest request.
FREE_SHARE = 0.8
#: Audio tokens per second for models that do not state a rate: the highest rate in models/.
FALLBACK_RATE = 25.0
#: Tokens of the chat template, and UTF-8 bytes of text per token. Text in other languages than English has more
#: tokens, but also more bytes per token.
FRAME_TOKENS, BYTES_PER_TOKEN = 64, 3

ALLOWED = "must be a whole number of at least 1, or auto"


def parse_batch_size(text: str, flag: str = "--batch_size") -> int | Literal["auto"]:
    """Parse a number such as `8`, or `auto`. Raises MarathonError naming `flag`."""
    try:
        size: int | Literal["auto"] = _batch_size(text)
    except PydanticCustomError as error:
        raise MarathonError(f"{flag}: {error.message()}, got {text!r}") from None
    return size


def _batch_size(value: Any) -> Any:
    """Validate with one error message; pydantic would give one for each type of the union."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    if isinstance(value, str) and value.startswith("auto:"):
        raise PydanticCustomError(
            "batch_size",
            "{allowed} (lm-eval's auto:N measures again N times; here auto measures every batch)",
            {"allowed": ALLOWED},
        )
    raise PydanticCustomError("batch_size", "{allowed}", {"allowed": ALLOWED})


BatchSize = Annotated[int | Literal["auto"], BeforeValidator(_batch_size)]


def estimated_tokens(request: Request, seconds: float, rate: float | None) -> int:
    """Estimate the tokens of prompt, audio and answer without decoding or tokenizing anything."""
    text = "".join([request.system or "", *(turn.text for turn in request.earlier), request.prompt])
    text_bytes = len(text.encode(errors="surrogatepass"))
    audio = int(seconds * (rate or FALLBACK_RATE)) + 1
    return audio + text_bytes // BYTES_PER_TOKEN + FRAME_TOKENS + request.generation.max_new_tokens


def padded(lengths: Sequence[int]) -> int:
    """Count a batch's tokens with every row padded to the longest."""
    return len(lengths) * max(lengths, default=0)


@dataclass
class Batching:
    """Holds the batch limits and adapts them to memory; adapters that differ only in their press share one object."""

    #: The budget in padded tokens; None: no budget.
    tokens: int | None = None
    #: True while `auto` has no budget yet (on a GPU until the first response): batches then hold one request.
    picking: bool = False
    #: How many times the budget was halved after running out of memory.
    halved: int = 0
    #: The largest ratio of counted to estimated tokens: byte tokenizers and audio padded to whole windows exceed 1.
    stretch: float = 1.0
    _unreported: str = ""

    def fits(self, count: int, longest: float) -> bool:
        """Return whether a batch of `count` requests, the longest of `longest` tokens, is allowed.

        One request always is.
        """
        if count <= 1:
            return True
        return not self.picking and (self.tokens is None or count * longest <= self.tokens)

    def take(self, waiting: deque[Request], most: int, estimate: Callable[[Request], int]) -> list[Request]:
        """Remove the next batch from the front: at most `most` requests, with equal settings, within the budget.

        A sampled request is a batch of its own, so that its response depends only on its own seed. Returns an empty
        list when no request waits.
        """
        batch: list[Request] = []
        longest = 0.0
        while waiting and len(batch) < most and _alike(batch, waiting[0]):
            if most > 1 and self.tokens is not None:
                longest = max(longest, self.stretch * estimate(waiting[0]))
            if not self.fits(len(batch) + 1, longest):
                break
            batch.append(waiting.popleft())
        return batch

    def parts(self, batch: Sequence[Request], lengths: Sequence[int]) -> list[list[Request]]:
        """Split a batch by its counted lengths into parts that fit the budget, in order."""
        parts: list[list[Request]] = []
        longest = 0
        for request, length in zip(batch, lengths, strict=True):
            longest = max(longest, length)
            if parts and self.fits(len(parts[-1]) + 1, longest):
                parts[-1].append(request)
            else:
                parts.append([request])
                longest = length
        return parts

    def correct_estimates(self, estimates: Sequence[int], lengths: Sequence[int]) -> None:
        """Compare a batch's estimates with its counted lengths, and raise `stretch` to the largest ratio."""
        ratios = (real / max(1, guess) for guess, real in zip(estimates, lengths, strict=True))
        self.stretch = max(self.stretch, *ratios)

    def pick(self, tokens: int) -> None:
        """Set the budget that `auto` measured; a lower budget from running out of memory stays."""
        self.picking = False
        self.tokens = max(1, tokens if self.tokens is None else min(tokens, self.tokens))

    def halve(self, lengths: Sequence[int]) -> None:
        """Set the budget to half of a batch of these lengths, which did not fit into memory."""
        size = padded(lengths)
        self.tokens = max(1, size // 2)
        self.halved += 1
        self._unreported = (
            self._unreported or f"out of memory with {len(lengths)} requests at once ({size} tokens)"
        )

    def report_halving(self) -> None:
        """Print the reduced token budget, once, after the first batch that fits again."""
        if self._unreported:
            sys.stderr.write(
                f"marathon-eval: warning: {self._unreported}: at most {self.tokens} tokens at once from here on\n"
            )
            self._unreported = ""

    def record(self, lengths: Sequence[int]) -> dict[str, int]:
        """Return the batch's entries for a response's usage; empty when there is no token budget."""
        if self.tokens is None:
            return {}
        entries = {"batch_tokens": padded(lengths), "batch_budget": self.tokens}
        return {**entries, "batch_halved": self.halved} if self.halved else entries


def _alike(batch: Sequence[Request], request: Request) -> bool:
    if not batch:
        return True
    return batch[0].generation == request.generation and request.generation.temperature == 0
