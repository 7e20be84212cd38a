"""Completes the inputs of a batch: the loudness of its audio tokens, and inputs for requests that are read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.backends.hf.token_times import evenly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.model import Request
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.inputs import LocalModel


def prepared_alone(
    adapter: LocalModel,
    loaded: Loaded,
    requests: Sequence[Request],
    waves: Sequence[Sequence[NDArray[np.float32]]],
) -> Inputs:
    """Prepare each request as a batch of one; of all together only the lengths are kept, as `attention_mask`."""
    alone = [
        adapter.prepare(loaded, [request], [clips]) for request, clips in zip(requests, waves, strict=True)
    ]
    lengths = torch.tensor([each.tensors["attention_mask"].shape[1] for each in alone])
    return Inputs(
        tensors={"attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long()},
        heard_seconds=[seconds for each in alone for seconds in each.heard_seconds],
        audio_tokens=[tokens for each in alone for tokens in each.audio_tokens],
        token_times=[times for each in alone for times in each.token_times or []] or None,
        alone=alone,
    )


def with_loudness(inputs: Inputs, waves: Sequence[Sequence[NDArray[np.float32]]]) -> Inputs:
    """Return the inputs with the loudness of each request's audio tokens."""
    times: Sequence[NDArray[np.float64] | None] = inputs.token_times or [None] * len(waves)
    each = zip(waves, inputs.audio_tokens, times, strict=True)
    loudness = [token_loudness(*sample) for sample in each]
    alone = inputs.alone and [
        replace(row, loudness=[heard]) for row, heard in zip(inputs.alone, loudness, strict=True)
    ]
    return replace(inputs, loudness=loudness, alone=alone)


def token_loudness(
    waves: Sequence[NDArray[np.float32]], tokens: int, times: NDArray[np.float64] | None = None
) -> torch.Tensor:
    """Return the root mean square [tokens] of the samples that each token stands for; of a silent token 0.

    `times` [tokens, 2] are seconds of the joined clips; without them the tokens divide the sound into equal parts.
    Returns an empty tensor for a request without a clip.
    """
    # without a clip there is nothing to join, and there are no tokens
    samples = torch.cat([torch.zeros(0), *(torch.from_numpy(wave) for wave in waves)]).double()
    power = torch.cat([samples.new_zeros(1), samples.square().cumsum(0)])
    times = evenly(tokens, len(samples) / RATE) if times is None else times
    edges = (torch.from_numpy(times) * RATE).round().long().clamp(max=len(samples))
    starts, ends = edges[:, 0], edges[:, 1]
    return ((power[ends] - power[starts]) / (ends - starts).clamp(min=1)).sqrt().float()
