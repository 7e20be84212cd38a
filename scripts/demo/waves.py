"""Reads, levels, joins, layers and writes sound as float32 arrays at one rate.

Every function takes and gives mono `Wave` [n] at `RATE` Hz unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16000
Wave = NDArray[np.float32]


def read(path: Path, rate: int = RATE) -> Wave:
    """Read any file that libsndfile opens, as mono at `rate` Hz."""
    samples, native = soundfile.read(path, dtype="float32", always_2d=True)
    return resampled(samples.mean(axis=1), native, rate)


def resampled(wave: Wave, native: int, rate: int = RATE) -> Wave:
    if native == rate:
        return wave
    return np.asarray(soxr.resample(wave, native, rate), dtype=np.float32)


def silence(seconds: float, rate: int = RATE) -> Wave:
    return np.zeros(round(seconds * rate), np.float32)


def seconds(wave: Wave, rate: int = RATE) -> float:
    return len(wave) / rate


def levelled(wave: Wave, rms: float = 0.08) -> Wave:
    """Scale the wave to a loudness, limited to full scale; silence stays silence."""
    loudness = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
    if loudness == 0.0:
        return wave
    louder = wave * np.float32(rms / loudness)
    peak = float(np.abs(louder).max())
    return louder * np.float32(min(1.0, 0.95 / peak))


def join(waves: Sequence[Wave], gap: Wave) -> Wave:
    """Join the waves with `gap` after each."""
    return np.concatenate([part for wave in waves for part in (wave, gap)])


def fill(waves: Sequence[Wave], length: float, gap: Wave, rate: int = RATE) -> Wave:
    """Join the waves and repeat them until `length` seconds are reached, without cutting inside a wave."""
    chosen: list[Wave] = []
    total = 0
    while total < length * rate:
        wave = waves[len(chosen) % len(waves)]
        chosen.append(wave)
        total += len(wave) + len(gap)
    return join(chosen, gap)


def repeat(wave: Wave, length: float, rate: int = RATE) -> Wave:
    """Loop the wave and cut it to exactly `length` seconds."""
    return np.resize(wave, round(length * rate))


def layered(bed: Wave, events: Iterable[tuple[float, Wave]], rate: int = RATE) -> Wave:
    """Add events to a bed, each from its second on; parts beyond the end are dropped."""
    mixed = bed.copy()
    for start, event in events:
        first = round(start * rate)
        stop = min(first + len(event), len(mixed))
        mixed[first:stop] += event[: stop - first]
    return mixed


def banded(wave: Wave, low: float, high: float, rate: int = RATE) -> Wave:
    """Keep only the frequencies between `low` and `high` Hz, in the spectrum of the whole wave."""
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def write(path: Path, wave: Wave, rate: int = RATE) -> None:
    """Write 16-bit WAV or FLAC, by the file's suffix; the same wave gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave, -1.0, 1.0), rate, subtype="PCM_16")
