"""Makes clips of falling length on a tiny model, with the answer to each alone, which batches are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile
import torch

from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Model, Request, Response
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.models.qwen_omni import QwenOmni

FEW = Generation(max_new_tokens=8)
SECONDS = (8.0, 7.5, 6.0, 4.0, 3.0, 2.5, 2.0, 1.5, 1.0)


def falling(folder: Path) -> list[Request]:
    """Return requests with the longest first, in the evaluator's order."""
    for seed, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{seed}.wav", noise(seconds, seed), RATE)
    return [
        Request(f"What is heard in {n}? " + "It is loud. " * (n % 4), (Audio(str(folder / f"{n}.wav")),), FEW)
        for n in range(len(SECONDS))
    ]


def omni(checkpoint: Path, press: Any = None, **args: Any) -> QwenOmni:
    # tiny tokenizers write a token per byte: a system sentence would outweigh the clips
    given = {"pretrained": str(checkpoint), "device": "cpu", "system_prompt": "", **args}
    model = QwenOmni.from_args(given, press)
    assert isinstance(model, QwenOmni)
    return model


def answers(model: Model, requests: Sequence[Request]) -> list[Response]:
    found = dict(complete(model, requests))
    assert len(found) == len(requests)
    return [found[request] for request in requests]


def answered_alone(checkpoint: Path, requests: Sequence[Request]) -> list[str]:
    """Return the response to each request in a batch of its own."""
    found = answers(omni(checkpoint), requests)
    assert [one.status for one in found] == ["ok"] * len(requests)
    assert len({one.text for one in found}) > 5, "weights that always say the same would prove nothing"
    return [one.text for one in found]


def sizes(found: Sequence[Response]) -> list[int]:
    return [one.usage.details["batch"] for one in found]


@contextmanager
def short_of_memory(
    model: QwenOmni, fails: Callable[[torch.Tensor], BaseException | None]
) -> Iterator[list[int]]:
    """Call `fails` with every prompt before it reaches the language model; yield the sizes of those batches."""
    seen: list[int] = []
    (loading,) = answers(model, [Request("Load.", (), FEW)])
    assert loading.status == "ok"
    assert model._runner is not None
    loaded = model._runner._loaded
    assert loaded is not None

    def before(module: Any, args: Any, kwargs: Any) -> None:
        states = kwargs["inputs_embeds"]
        if states.shape[1] == 1:
            return
        seen.append(len(states))
        error = fails(states)
        if error is not None:
            raise error

    hook = loaded.model.get_decoder().register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()
