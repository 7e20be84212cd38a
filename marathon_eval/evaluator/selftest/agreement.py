"""Checks that several ways to one answer agree: both decoding loops, batches, attention kernels, and long clips."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import EvictionPress
from marathon_eval.evaluator.selftest.clips import rustle_file
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, require

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.evaluator.selftest.subject import LocalSelfTest

KERNELS = ("sdpa", "eager", "flash_attention_2")
#: The lengths in seconds of the clips in a batch: unequal, so that shorter ones are padded.
BATCH_SECONDS = (6.0, 5.0, 3.5, 2.0)


def finite(logits: Tensor) -> str:
    """See that all logits are finite numbers."""
    import torch

    bad = int((~torch.isfinite(logits)).sum())
    require(
        bad == 0,
        f"{bad} of {logits.numel()} logits are NaN or infinite; dtype=bfloat16 has more range than float16",
    )
    return f"{logits.numel()} logits, from {float(logits.min()):.3g} to {float(logits.max()):.3g}"


def long_clip(there: LocalSelfTest, seconds: float) -> str:
    """Answer about a long clip with one token."""
    spent = time.monotonic() - there.started
    if spent > there.long_clips_until:
        raise NotApplicable(f"left out after {spent:.0f} s, so that the self-test ends within five minutes")
    request = Request("What is heard?", (rustle_file(there.folder, seconds),), Generation(max_new_tokens=1))
    (response,), (logits,) = there.answered(there.adapter(), [request])
    finite(logits)
    usage = response.usage
    require(
        (usage.heard_seconds or 0.0) > seconds - 0.5, f"{usage.heard_seconds} of {seconds:g} s were heard"
    )
    return (
        f"{usage.audio_tokens} audio tokens, prefill {usage.prefill_s:.2f} s, encoder {usage.encode_s:.2f} s"
    )


def own_loop(there: LocalSelfTest, logits: Tensor) -> str:
    """Hold transformers' generate against the loop that answers under eviction, at ratio 0."""
    if there.model.cut_at_input or EvictionPress not in there.model.carries:
        raise NotApplicable(f"{there.model.name()} carries no eviction press, so generate alone answers")
    from marathon_eval.backends.hf.engine.observers import WHOLE

    _, (own,) = there.answered(there.adapter(WHOLE), [there.request])
    return there.compared(logits, own)


def batch(there: LocalSelfTest) -> str:
    """Hold the answers of a batch of four clips against those to each clip alone."""
    adapter: Any = there.adapter(batch_size=4)
    if adapter.requests_at_once() < len(BATCH_SECONDS):
        raise NotApplicable(f"{there.model.name()} answers one request at a time")
    requests = [
        Request(
            "What is heard?" + " Say it." * n,
            (rustle_file(there.folder, seconds, n),),
            Generation(max_new_tokens=1),
        )
        for n, seconds in enumerate(BATCH_SECONDS)
    ]
    _, together = there.answered(adapter, requests)
    said = ""
    for request, row in zip(requests, together, strict=True):
        _, (alone,) = there.answered(there.adapter(batch_size=1), [request])
        said = max(said, there.compared(alone, row))
    return said


def kernel(there: LocalSelfTest, name: str, logits: Tensor) -> str:
    """Hold another attention kernel against the one that the model was loaded with."""
    import torch

    args = there.model.args
    if name == args.attn_implementation:
        raise NotApplicable("all other lines run it")
    if name.startswith("flash") and there.loaded.model.dtype not in (torch.bfloat16, torch.float16):
        raise NotApplicable(f"it computes in bfloat16 or float16 only, not {there.loaded.model.dtype}")
    adapter = there.adapter(attn_implementation=name)
    try:
        there.loaded.model.set_attn_implementation(adapter.kernels())
    except (ImportError, ValueError) as error:
        raise NotApplicable(f"not available here: {error}".partition("\n")[0]) from None
    try:
        _, (other,) = there.answered(adapter, [there.request])
    finally:
        there.loaded.model.set_attn_implementation(there.model.kernels())
    return there.compared(logits, other)
