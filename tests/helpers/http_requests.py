"""Sends requests for the API tests: clips of the lengths that matter, and responses by prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Model, Request, Response

SECONDS = (5, 95, 300, 330)


def make_clips(folder: Path) -> dict[int, Audio]:
    """Write quiet noise, and return its files by seconds."""
    noise = np.random.default_rng(0).standard_normal(max(SECONDS) * 8000).astype(np.float32) / 20
    for seconds in SECONDS:
        soundfile.write(folder / f"{seconds}.wav", noise[: seconds * 8000], 8000)
    return {seconds: Audio(str(folder / f"{seconds}.wav")) for seconds in SECONDS}


def answers(model: Model, *requests: Request) -> dict[str, Response]:
    return {request.prompt: response for request, response in model.generate(requests)}


def one(model: Model, request: Request) -> Response:
    return answers(model, request)[request.prompt]
