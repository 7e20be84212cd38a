"""Resamples, levels, fades and mixes mono float32 arrays [n], and rounds them to 16 bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.loudness import loudness
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The highest level that 16 bits can hold.
CEILING = 32767 / 32768


class Laid(NamedTuple):
    """Holds a sound and the frame of the mix at which it starts."""

    at: int
    samples: NDArray[np.float32]


def frames_at(frames: int, rate: int, new_rate: int) -> int:
    """Return how many frames a sound of `frames` at `rate` Hz has at `new_rate` Hz, rounded half up."""
    return (frames * new_rate + rate // 2) // rate


def resampled(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Resample to `new_rate` Hz, with exactly `frames_at` frames, because soxr's own rounding may differ by one."""
    import numpy as np

    if rate == new_rate:
        return samples
    import soxr

    length = frames_at(len(samples), rate, new_rate)
    changed = np.asarray(soxr.resample(samples, rate, new_rate), dtype=np.float32)
    return np.pad(changed, (0, max(0, length - len(changed))))[:length]


def gain_to(samples: NDArray[np.float32], rate: int, level_db: float, where: str) -> float:
    """Return the gain in dB that brings a sound to an active level (dBFS, pauses not counted).

    Raises MarathonError for silence.
    """
    try:
        return level_db - loudness(samples, rate, "active_rms").level
    except MarathonError as error:
        raise MarathonError(f"{where}: can't be brought to {level_db} dB: {error}") from None


def faded(samples: NDArray[np.float32], fade_in: int, fade_out: int) -> NDArray[np.float32]:
    """Fade in and out by raised cosines of `fade_in` and `fade_out` frames; both halves of a cross-fade sum to 1."""
    import numpy as np

    if not fade_in and not fade_out:
        return samples
    result = samples.copy()
    result[:fade_in] *= _rise(fade_in)
    if fade_out:
        result[-fade_out:] *= _rise(fade_out)[::-1]
    return np.asarray(result, dtype=np.float32)


def _rise(frames: int) -> NDArray[np.float32]:
    import numpy as np

    steps = (np.arange(frames) + 0.5) / max(1, frames)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * steps), dtype=np.float32)


def mixed_on_silence(frames: int, sounds: Iterable[Laid]) -> NDArray[np.float32]:
    """Add sounds to silence of `frames` frames.

    Where sounds do not overlap, their samples stay unchanged bit by bit.
    """
    import numpy as np

    mix = np.zeros(frames, dtype=np.float32)
    for at, samples in sounds:
        mix[at : at + len(samples)] += samples
    return mix


def below_ceiling(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Scale the whole sound down where it would clip, and return it with the gain in dB (0 where unchanged)."""
    peak = peak_of(samples)
    if peak <= 1.0:
        return samples, 0.0
    import math

    return samples * (CEILING / peak), 20 * math.log10(CEILING / peak)


def peak_of(samples: NDArray[np.float32]) -> float:
    """Return the largest absolute value, 0 for no samples, without a copy of the sound."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def to_pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round to 16-bit samples; samples that were read from a 16-bit file are restored bit by bit."""
    import numpy as np

    scaled = np.rint(samples * np.float32(32768))
    return np.asarray(np.clip(scaled, -32768, 32767), dtype=np.int16)
