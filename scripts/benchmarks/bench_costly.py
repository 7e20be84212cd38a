"""Adds to the dummy model's responses the costs that a local model reports: a dozen numbers, different each time."""

from __future__ import annotations

import random
from dataclasses import replace

from marathon_eval.api.model import Request, Response, Usage
from marathon_eval.models.dummy import Dummy

DRAW = random.Random(0)
WORDS = ("yes", "the", "answer", "is", "A", "because", "of", "rain")


class Costly(Dummy):
    def _answer(self, request: Request) -> Response:
        return replace(super()._answer(request), text=" ".join(DRAW.choices(WORDS, k=12)), usage=costs())


def costs() -> Usage:
    tokens, kept, length, output = (DRAW.randrange(7000) for _ in range(4))
    encode, prefill, decode, select = (round(DRAW.random(), 6) for _ in range(4))
    details = {
        "batch": 4,
        "tokens_per_s": DRAW.random() * 100,
        "kv_tokens": {"0-27": kept},
        "select_s": select,
        "theoretical_speedup": round(DRAW.random(), 4),
    }
    return Usage(
        heard_seconds=DRAW.random() * 300,
        audio_tokens=tokens,
        kept_tokens=kept,
        input_tokens=length,
        output_tokens=output,
        encode_s=encode,
        prefill_s=prefill,
        decode_s=decode,
        peak_bytes=DRAW.randrange(2**36),
        kv_bytes=DRAW.randrange(2**30),
        details=details,
    )
