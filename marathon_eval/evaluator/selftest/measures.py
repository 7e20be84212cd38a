"""Checks a local model's measurements against arithmetic: seconds against operations, bytes against the cache's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marathon_eval.api.model import Response
from marathon_eval.backends.hf.flops import Shape, prefill
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, require

if TYPE_CHECKING:
    from marathon_eval.evaluator.selftest.subject import LocalSelfTest

#: No device computes more operations per second; a higher figure means that time was measured before work was done.
MOST_OPERATIONS = 5e15


def stage_seconds(there: LocalSelfTest, response: Response) -> str:
    """Return prefill and decode seconds, with the operations per second that the FLOP model makes of them."""
    usage, config = response.usage, there.model.decoder(there.loaded.model).stack.config
    prefill_s, decode_s = usage.prefill_s or 0.0, usage.decode_s or 0.0
    require(prefill_s > 0, f"the prefill took {prefill_s} s")
    shape, prompt = Shape.of(config), usage.input_tokens or 0
    said = (
        f"prefill of {prompt} tokens {prefill_s:.3f} s, then {usage.output_tokens} tokens in {decode_s:.3f} s"
    )
    if shape is None:
        return f"{said}; no FLOP model for this architecture"
    rate = prefill(shape, [prompt] * shape.layers) / prefill_s
    require(rate < MOST_OPERATIONS, f"{said}: {rate:.2g} operations per second, more than any device makes")
    return f"{said}: {rate / 1e12:.3g} TFLOP/s in the prefill"


def memory(there: LocalSelfTest, response: Response) -> str:
    """Hold the KV cache's bytes, and on a GPU the peak of memory, against what the shape and the prompt make."""
    usage, model = response.usage, there.loaded.model
    shape = Shape.of(there.model.decoder(model).stack.config)
    if shape is None:
        raise NotApplicable("the cache of experts, windows or shared layers has no simple arithmetic")
    size = next(model.parameters()).element_size()
    expected = 2 * shape.layers * shape.key_heads * shape.head_size * size * (usage.input_tokens or 0)
    require(usage.kv_bytes == expected, f"the cache takes {usage.kv_bytes} bytes, its shape makes {expected}")
    if usage.peak_bytes is None:
        return f"cache {expected:,} bytes, as its shape makes; peak memory is measured on a GPU only"
    require(usage.peak_bytes >= expected, f"peak {usage.peak_bytes:,} bytes, below the cache's {expected:,}")
    return f"cache {expected:,} bytes, as its shape makes; peak {usage.peak_bytes:,} bytes beside the weights"
