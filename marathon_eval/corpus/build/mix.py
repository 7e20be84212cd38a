"""Two recordings in one: how much louder, and how far ahead, with the two answers that follow.

After AIR-Bench's mixing strategy (section 3.3 of https://arxiv.org/abs/2402.07729), of which no code, gains or offsets
were released. Neither clip is cut or repeated: an offset beyond the first clip's end puts them one after the other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.audio import Audio
from marathon_eval.api.loudness import Method, loudness, method_for
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The measured difference must be this near to the wanted one: gates may fall otherwise after a large gain.
TOLERANCE_LU = 0.5


@dataclass(frozen=True)
class MixSettings:
    """What is wanted. `level_diff` is A's level minus B's (LU), `offset_s` B's start minus A's."""

    level_diff: float
    offset_s: float
    rate: int = 16000
    ceiling_dbfs: float = -1.0
    #: Below these no answer is right: "equal" and "together".
    equal_margin: float = 1.0
    together_margin_s: float = 0.5

    def __post_init__(self) -> None:
        if not abs(self.level_diff) <= 60:
            raise MarathonError(f"mix: level_diff: must be from -60 to 60 LU, got {self.level_diff}")
        if not abs(self.offset_s) <= 3600:
            raise MarathonError(f"mix: offset_s: must be within an hour, got {self.offset_s}")
        if self.rate < 8000 or not self.ceiling_dbfs <= 0:
            raise MarathonError("mix: rate must be at least 8000 Hz and ceiling_dbfs at most 0")
        if self.equal_margin < 0 or self.together_margin_s < 0:
            raise MarathonError("mix: equal_margin and together_margin_s must not be negative")


@dataclass(frozen=True)
class Placed:
    """One clip inside the mixture: first sample, one past the last, the gain it got (dB), its level there."""

    start: int
    stop: int
    gain_db: float
    level: float


@dataclass(frozen=True)
class Mixed:
    """The mixture [n] at `rate`, what was measured in it, and the two answers."""

    samples: NDArray[np.float32]
    rate: int
    a: Placed
    b: Placed
    method: Method
    level_diff: float
    offset_s: float
    louder: Literal["a", "b", "equal"]
    ahead: Literal["a", "b", "together"]

    @property
    def ambiguous(self) -> list[str]:
        """The questions that have no one answer here: `louder`, `ahead`."""
        unclear = (("louder", self.louder == "equal"), ("ahead", self.ahead == "together"))
        return [name for name, is_unclear in unclear if is_unclear]

    def facts(self) -> dict[str, Any]:
        """Everything but the samples, as JSON."""
        overlap = max(0, min(self.a.stop, self.b.stop) - max(self.a.start, self.b.start))
        return {
            "a": asdict(self.a),
            "b": asdict(self.b),
            "rate": self.rate,
            "seconds": len(self.samples) / self.rate,
            "overlap_s": overlap / self.rate,
            "method": self.method,
            "level_diff": self.level_diff,
            "offset_s": self.offset_s,
            "louder": self.louder,
            "ahead": self.ahead,
        }


def mix(a: NDArray[np.float32], b: NDArray[np.float32], settings: MixSettings) -> Mixed:
    """Mix mono clips [n] and [m], both at `settings.rate`.

    B gets the gain that gives the wanted difference; one common gain for both then keeps the sum under the ceiling.
    Levels are measured on each clip alone, as it stands in the mixture. Raises MarathonError for silent clips, and
    where the difference cannot be had.
    """
    rate = settings.rate
    method = method_for(min(len(a), len(b)) / rate)
    gain_b = loudness(a, rate, method).level - loudness(b, rate, method).level - settings.level_diff
    offset = round(settings.offset_s * rate)
    starts = max(0, -offset), max(0, offset)
    total = _summed((a, b * _factor(gain_b)), starts)
    common = _common_gain(total, settings.ceiling_dbfs)
    placed_a = _placed(a, starts[0], common, rate, method)
    placed_b = _placed(b, starts[1], gain_b + common, rate, method)
    measured = placed_a.level - placed_b.level
    if abs(measured - settings.level_diff) > TOLERANCE_LU:
        raise MarathonError(
            f"mix: wanted a difference of {settings.level_diff:.1f} LU and measure {measured:.1f}: a clip is too quiet"
        )
    return Mixed(
        samples=(total * _factor(common)).astype("float32"),
        rate=rate,
        a=placed_a,
        b=placed_b,
        method=method,
        level_diff=measured,
        offset_s=offset / rate,
        louder="equal" if abs(measured) < settings.equal_margin else "a" if measured > 0 else "b",
        ahead="together"
        if abs(offset) < settings.together_margin_s * rate or not offset
        else "a"
        if offset > 0
        else "b",
    )


def mix_files(a: Audio, b: Audio, out: Path, settings: MixSettings) -> dict[str, Any]:
    """Decode two recordings, mix them, write 16-bit audio to `out`; returns the facts with both sources.

    Raises AudioError for what cannot be decoded, MarathonError for what cannot be mixed or written.
    """
    import soundfile

    try:
        mixed = mix(a.samples(settings.rate), b.samples(settings.rate), settings)
        out.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(out, mixed.samples, mixed.rate, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise MarathonError(f"{out}: cannot write ({error})") from None
    sources = {name: {**asdict(one), "sha256": one.facts().sha256} for name, one in (("a", a), ("b", b))}
    return {**mixed.facts(), "sources": sources}


def _summed(clips: tuple[NDArray[np.float32], ...], starts: tuple[int, ...]) -> NDArray[np.float64]:
    import numpy as np

    ends = [start + len(clip) for clip, start in zip(clips, starts, strict=True)]
    total = np.zeros(max(ends))
    for clip, start, end in zip(clips, starts, ends, strict=True):
        total[start:end] += clip
    return total


def _common_gain(total: NDArray[np.float64], ceiling_dbfs: float) -> float:
    """Zero or less: what brings the peak to the ceiling."""
    import numpy as np

    peak = float(np.abs(total).max())
    return min(0.0, ceiling_dbfs - 20 * float(np.log10(peak))) if peak > 0 else 0.0


def _placed(clip: NDArray[np.float32], start: int, gain: float, rate: int, method: Method) -> Placed:
    level = loudness(clip * _factor(gain), rate, method).level
    return Placed(start, start + len(clip), gain, level)


def _factor(decibel: float) -> float:
    return float(10 ** (decibel / 20))
