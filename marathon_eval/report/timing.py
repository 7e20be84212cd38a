"""Summarises the usage of a run's answers: spread of the seconds of each stage, speed, tokens kept."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from marathon_eval.report.sample_columns import TRANSCRIBE, CellColumns
from marathon_eval.scoring.usage import STAGES

#: What a report has seconds of: the stages, or a recogniser's whole work on a clip.
TIMED = (*STAGES, TRANSCRIBE)


@dataclass(frozen=True)
class Spread:
    """Holds quantiles of one stage's seconds over `n` answers."""

    p5: float
    q1: float
    median: float
    q3: float
    p95: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Compute the quantiles; return None if there are no values."""
        if not values:
            return None
        if len(values) == 1:
            only = float(values[0])
            return cls(only, only, only, only, only, 1)
        twentieths = quantiles(values, n=20, method="inclusive")
        return cls(twentieths[0], twentieths[4], twentieths[9], twentieths[14], twentieths[18], len(values))


@dataclass
class Timing:
    """Collects usage over the tasks of one run. Stages are `array`s, because a report may read 250,000 rows."""

    stages: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in TIMED})
    heard_seconds: float = 0.0
    busy_seconds: float = 0.0
    audio_tokens: int = 0
    kept_tokens: int = 0
    peak_bytes: int = 0

    def add(self, cell: CellColumns) -> None:
        """Add the usage of one task's answers."""
        usage = cell.usage
        for name, values in self.stages.items():
            values.extend(value for value in usage[name] if value is not None)
        for audio_seconds, *stage_seconds in zip(
            usage["heard_seconds"], *(usage[name] for name in TIMED), strict=True
        ):
            seconds = sum(value for value in stage_seconds if value is not None)
            if audio_seconds is not None and seconds > 0:
                self.heard_seconds += audio_seconds
                self.busy_seconds += seconds
        for before, after in zip(usage["audio_tokens"], usage["kept_tokens"], strict=True):
            if before is not None and after is not None:
                self.audio_tokens += int(before)
                self.kept_tokens += int(after)
        self.peak_bytes = max([self.peak_bytes, *(int(v) for v in usage["peak_bytes"] if v is not None)])

    def spread(self, stage: str) -> Spread | None:
        """Return the quantiles of a stage's seconds; None if no answer has them."""
        return Spread.of(self.stages[stage])

    @property
    def speed(self) -> float | None:
        """Seconds of audio processed per second of encode, prefill and decode, or of transcription; None without timing."""
        return self.heard_seconds / self.busy_seconds if self.busy_seconds else None

    @property
    def kept(self) -> float | None:
        """Fraction (0-1) of the audio tokens that the press kept; None without counts."""
        return self.kept_tokens / self.audio_tokens if self.audio_tokens else None
