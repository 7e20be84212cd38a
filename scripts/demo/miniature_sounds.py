"""Makes a second of noise as the bytes of a sound file, for miniatures of benchmarks."""

from __future__ import annotations

import io

import numpy as np
import soundfile

RATE = 8000


def sound(seed: int, kind: str = "WAV") -> bytes:
    """Return a second of noise at 8 kHz, a different one for every seed, as a file of a kind that soundfile writes."""
    noise = np.random.default_rng(seed).uniform(-0.4, 0.4, RATE).astype(np.float32)
    with io.BytesIO() as file:
        soundfile.write(file, noise, RATE, format=kind)
        return file.getvalue()
