"""Measures how loud a clip is: ITU-R BS.1770-5 integrated loudness, or the active level of a short clip.

Source: https://www.itu.int/rec/R-REC-BS.1770 (K-weighting, 400 ms blocks with 75 % overlap, gates at -70 LUFS and
10 LU below the ungated mean). The standard gives its filters for 48 kHz; here the two analogue prototypes behind
them are transformed for each rate, so that 48 kHz gives the standard's own coefficients.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["bs1770", "active_rms"]

BLOCK_SECONDS = 0.4
STEP_SECONDS = 0.1
#: Frame length of the active level. A frame more than ACTIVE_RANGE_DB below the loudest one counts as a pause.
FRAME_SECONDS = 0.05
ACTIVE_RANGE_DB = 40.0
ABSOLUTE_GATE = -70.0
RELATIVE_GATE = -10.0
_OFFSET = -0.691
#: High shelf: corner in Hz, gain in dB, quality; high-pass: corner in Hz, quality.
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)
#: Zeros appended to the clip, so that the tail of the high-pass, which is shorter, does not wrap round to the start.
_TAIL_SECONDS = 0.5


class Loudness(NamedTuple):
    """Holds a level: in LUFS for `bs1770`, in dB relative to full scale for `active_rms`.

    The two are not comparable.
    """

    level: float
    method: Method


def method_for(seconds: float) -> Method:
    """Return `bs1770` for clips of at least one block (0.4 s), else `active_rms`."""
    return "bs1770" if seconds >= BLOCK_SECONDS else "active_rms"


def loudness(samples: NDArray[np.float32], rate: int, method: Method | None = None) -> Loudness:
    """Measure mono samples [n] at `rate` Hz.

    Raises MarathonError for silence and for samples that are not numbers.
    """
    import numpy as np

    method = method or method_for(len(samples) / rate)
    if not len(samples) or not np.isfinite(samples).all():
        raise MarathonError("loudness: the clip is empty or holds samples that are not numbers")
    level = _integrated(samples, rate) if method == "bs1770" else _active_rms(samples, rate)
    if level is None:
        raise MarathonError("loudness: the clip is silent, so it has no level")
    return Loudness(level, method)


def _integrated(samples: NDArray[np.float32], rate: int) -> float | None:
    powers = _block_powers(_weighted(samples, rate), round(BLOCK_SECONDS * rate), round(STEP_SECONDS * rate))
    audible = powers[powers > _power(ABSOLUTE_GATE)]
    if not len(audible):
        return None
    gate = _level(float(audible.mean())) + RELATIVE_GATE
    return _level(float(audible[audible > _power(gate)].mean()))


def _active_rms(samples: NDArray[np.float32], rate: int) -> float | None:
    """Return the RMS in dB over the frames that are not pauses; a clip shorter than a frame counts as one frame."""
    frame = min(max(1, round(FRAME_SECONDS * rate)), len(samples))
    powers = _block_powers(samples.astype("float64"), frame, frame)
    loudest = float(powers.max())
    if loudest <= 10 ** (ABSOLUTE_GATE / 10):
        return None
    active = powers[powers >= loudest * 10 ** (-ACTIVE_RANGE_DB / 10)]
    return 10 * math.log10(float(active.mean()))


def _block_powers(samples: NDArray[np.float64], length: int, step: int) -> NDArray[np.float64]:
    """Return the mean square of each whole block, computed from running sums."""
    import numpy as np

    length = min(length, len(samples))
    sums = np.concatenate([[0.0], np.cumsum(samples**2)])
    starts = np.arange(0, len(samples) - length + 1, step)
    powers: NDArray[np.float64] = (sums[starts + length] - sums[starts]) / length
    return np.maximum(powers, 0.0)


def _weighted(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Apply both K-weighting filters as a product of spectra, which equals filtering in time."""
    import numpy as np

    size = 1 << (len(samples) + round(_TAIL_SECONDS * rate) - 1).bit_length()
    turns = np.exp(-1j * np.linspace(0.0, np.pi, size // 2 + 1))
    spectrum = np.fft.rfft(samples, size)
    for numerator, denominator in (_shelf(rate), _high_pass(rate)):
        spectrum *= np.polyval(numerator[::-1], turns) / np.polyval(denominator[::-1], turns)
    weighted: NDArray[np.float64] = np.fft.irfft(spectrum, size)[: len(samples)]
    return weighted


def _shelf(rate: int) -> tuple[list[float], list[float]]:
    """Return numerator and denominator of the high shelf, by bilinear transform of its prototype."""
    corner, gain, quality = _SHELF
    k, high = math.tan(math.pi * corner / rate), 10 ** (gain / 20)
    middle = high**0.4996667741545416
    scale = 1 + k / quality + k * k
    numerator = [high + middle * k / quality + k * k, 2 * (k * k - high), high - middle * k / quality + k * k]
    denominator = [1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k]
    return [value / scale for value in numerator], [value / scale for value in denominator]


def _high_pass(rate: int) -> tuple[list[float], list[float]]:
    """Return numerator and denominator of the high-pass; the numerator is not normalised, as in the standard."""
    corner, quality = _HIGH_PASS
    k = math.tan(math.pi * corner / rate)
    scale = 1 + k / quality + k * k
    return [1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / scale, (1 - k / quality + k * k) / scale]


def _level(power: float) -> float:
    return _OFFSET + 10 * math.log10(power)


def _power(level: float) -> float:
    return float(10 ** ((level - _OFFSET) / 10))
