"""Tests a local chat model: its inputs, what it hears, its answers by several ways that must agree, and its measurements.

Every comparison is of logits, not of texts: the same token from other logits would hide a fault. What rounding may change
is stated in each line (`backends/hf/engine/head_logits.py`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.chat import ChatModel
from marathon_eval.evaluator.selftest import agreement, inputs, measures, presses
from marathon_eval.evaluator.selftest.clips import HEARD_LENGTHS
from marathon_eval.evaluator.selftest.subject import LocalSelfTest
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, SelfTestResult

if TYPE_CHECKING:
    from marathon_eval.backends.hf.engine.loaded import Loaded


def check_local(model: HFAudio, folder: Path, result: SelfTestResult) -> None:
    """Add the lines of a local model to `result`; sounds are written into `folder`. Raises MarathonError."""
    import torch
    import transformers

    if not isinstance(model, ChatModel):
        add_not_chat(model, result)
        return
    there = LocalSelfTest(model, folder)
    result.setting = {
        "device": _device(there.loaded),
        "dtype": str(there.loaded.model.dtype).removeprefix("torch."),
        "kernel": model.args.attn_implementation,
        "parameters": sum(part.numel() for part in there.loaded.model.parameters()),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    result.check("architecture", lambda: inputs.architecture(there))
    result.check("adapter (LoRA)", lambda: inputs.adapter_weights(there))
    result.check("start of the prompt", lambda: inputs.start_of_prompt(there))
    result.check("official processor", lambda: inputs.official(there))
    for seconds in HEARD_LENGTHS:
        result.check(f"hears {seconds:g} s", partial(inputs.heard, there, seconds))
    plain: list[Any] = []

    def answers() -> str:
        plain.append(there.answered(there.adapter(), [there.request]))
        (response,), _ = plain[0]
        return f"{response.usage.output_tokens} tokens, finish {response.finish_reason}"

    if not result.check("answers without a press", answers):
        return
    (response,), (logits,) = plain[0]
    result.check("finite logits", lambda: agreement.finite(logits))
    for seconds in HEARD_LENGTHS:
        result.check(f"answers {seconds:g} s", partial(agreement.long_clip, there, seconds))
    result.check("own loop = generate", lambda: agreement.own_loop(there, logits))
    result.check("batch of 4 = batches of 1", lambda: agreement.batch(there))
    for kernel in agreement.KERNELS:
        result.check(f"kernel {kernel}", partial(agreement.kernel, there, kernel, logits))
    presses.add_lines(there, logits, result)
    result.check("prefill and decode", lambda: measures.stage_seconds(there, response))
    result.check("memory", lambda: measures.memory(there, response))


def add_not_chat(model: HFAudio, result: SelfTestResult) -> None:
    """Add one line for a local model that is no chat model: it has no prompt with audio tokens to test."""

    def say() -> str:
        raise NotApplicable(
            f"{model.name()} has no audio tokens in a prompt; its answers are tested by running a task"
        )

    result.check("chat model", say)


def _device(loaded: Loaded) -> str:
    import torch

    device = loaded.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
