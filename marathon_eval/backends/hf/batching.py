"""How many requests are asked together: so many, or as many as stay within a budget of tokens. Imports no torch.

What counts are tokens with padding: requests times the longest of them, its audio, its words and its answer. They are
estimated before a clip is decoded, and counted when the batch is ready: one that came out too large is not asked.
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

#: `auto` asks no more requests than this at once: a kill loses those in flight.
MAX_BATCH = 64
#: The budget of `auto` where there is no GPU: a clip of five minutes at 25 tokens/s, or three of a minute and a half.
CPU_TOKENS = 8192
#: `auto` on a GPU fills this share of what is free, by what the first and longest request took per token.
FREE_SHARE = 0.8
#: For models that don't say how many tokens a second makes: as many as any in models/.
FALLBACK_RATE = 25.0
#: A chat's frame, and bytes of text per token; languages written otherwise than English have more tokens, of more bytes.
FRAME_TOKENS, BYTES_PER_TOKEN = 64, 3

ALLOWED = "must be a whole number of at least 1, or auto"


def parse_batch_size(text: str, flag: str = "--batch_size") -> int | Literal["auto"]:
    """`8` or `auto`. Raises MarathonError."""
    try:
        found: int | Literal["auto"] = _batch_size(text)
    except PydanticCustomError as error:
        raise MarathonError(f"{flag}: {error.message()}, got {text!r}") from None
    return found


def _batch_size(value: Any) -> Any:
    """One message where a union of types would give one for each."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    if isinstance(value, str) and value.startswith("auto:"):
        raise PydanticCustomError(
            "batch_size",
            "{allowed} (auto:N looks again N times; here every batch is measured)",
            {"allowed": ALLOWED},
        )
    raise PydanticCustomError("batch_size", "{allowed}", {"allowed": ALLOWED})


BatchSize = Annotated[int | Literal["auto"], BeforeValidator(_batch_size)]


def estimated_tokens(request: Request, seconds: float, rate: float | None) -> int:
    """Tokens of prompt and answer, before anything is decoded or tokenized."""
    words = len((request.prompt + (request.system or "")).encode(errors="surrogatepass"))
    audio = int(seconds * (rate or FALLBACK_RATE)) + 1
    return audio + words // BYTES_PER_TOKEN + FRAME_TOKENS + request.generation.max_new_tokens


def padded(lengths: Sequence[int]) -> int:
    """Tokens of a batch, every row as long as the longest."""
    return len(lengths) * max(lengths, default=0)


@dataclass
class Batching:
    """What a batch may hold, and what was learned of that. One for all adapters that differ by their press alone."""

    #: Padded tokens; None: no budget.
    tokens: int | None = None
    #: `auto` before it knows the device, and on a GPU until the first answer: one request at a time.
    picking: bool = False
    #: How many times the budget was halved for lack of memory.
    halved: int = 0
    #: How many times too low the estimates were at worst: a tokenizer of bytes, audio padded to whole windows.
    stretch: float = 1.0
    _untold: str = ""

    def fits(self, count: int, longest: float) -> bool:
        """Whether so many requests may be asked at once, the longest of so many tokens. One may always be."""
        if count <= 1:
            return True
        return not self.picking and (self.tokens is None or count * longest <= self.tokens)

    def take(self, waiting: deque[Request], most: int, estimate: Callable[[Request], int]) -> list[Request]:
        """The next batch, taken from the front: neighbours that are decoded alike, at most `most`, within the budget.

        Sampled ones are alone, so that an answer depends on its own seed only. Empty when nobody waits.
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
        """The batch cut to the budget by its real lengths, in order."""
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

    def counted(self, estimates: Sequence[int], lengths: Sequence[int]) -> None:
        """A batch turned out so long."""
        found = (real / max(1, guess) for guess, real in zip(estimates, lengths, strict=True))
        self.stretch = max(self.stretch, *found)

    def pick(self, tokens: int) -> None:
        """The budget that `auto` finds; what was learned by running out of memory stays."""
        self.picking = False
        self.tokens = max(1, tokens if self.tokens is None else min(tokens, self.tokens))

    def halve(self, lengths: Sequence[int]) -> None:
        """A batch of these lengths did not fit into memory: half of it is the budget from here on."""
        asked = padded(lengths)
        self.tokens = max(1, asked // 2)
        self.halved += 1
        self._untold = self._untold or f"out of memory with {len(lengths)} requests at once ({asked} tokens)"

    def tell(self) -> None:
        """Once memory has sufficed again: what the halving came to, in one line."""
        if self._untold:
            sys.stderr.write(
                f"marathon-eval: warning: {self._untold}: at most {self.tokens} tokens at once from here on\n"
            )
            self._untold = ""

    def record(self, lengths: Sequence[int]) -> dict[str, int]:
        """What an answer's usage keeps of its batch; nothing where only a number of requests was asked for."""
        if self.tokens is None:
            return {}
        told = {"batch_tokens": padded(lengths), "batch_budget": self.tokens}
        return {**told, "batch_halved": self.halved} if self.halved else told


def _alike(batch: Sequence[Request], request: Request) -> bool:
    if not batch:
        return True
    return batch[0].generation == request.generation and request.generation.temperature == 0
