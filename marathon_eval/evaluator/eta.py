"""How long the rest of a run takes, by what answers on short and on long clips have cost so far."""

from __future__ import annotations

from dataclasses import dataclass

#: Fewer answers than this fix no line.
ENOUGH = 20
#: Seconds; answers closer than this left the model together, as one batch.
TOGETHER = 0.005


@dataclass
class Burst:
    """Answers that came at one time, and the seconds since the ones before."""

    answers: int
    audio: float
    spent: float


@dataclass
class Forecast:
    """Seconds per answer by seconds of audio: a line of least squares, in running sums.

    Clips come longest first, and an answer costs a fixed part besides the one that grows with its clip: in
    proportion to the audio alone, the many short clips at the end would come out too cheap. What the first answers
    took is left out of the line, for they waited for the weights.
    """

    answers: int = 0
    audio: float = 0.0
    spent: float = 0.0
    _latest: Burst | None = None
    _bursts: int = 0
    _n: int = 0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0

    def add(self, audio: float, spent: float) -> None:
        """An answer on `audio` seconds came `spent` seconds after the one before."""
        self.answers += 1
        self.audio += audio
        self.spent += spent
        if self._latest is not None and spent < TOGETHER:
            latest = self._latest
            self._latest = Burst(latest.answers + 1, latest.audio + audio, latest.spent + spent)
            return
        if self._latest is not None:
            self._close(self._latest)
        self._latest = Burst(1, audio, spent)

    def _close(self, burst: Burst) -> None:
        self._bursts += 1
        if self._bursts == 1:
            return
        self._n += burst.answers
        self._x += burst.audio
        self._y += burst.spent
        self._xx += burst.audio**2 / burst.answers
        self._xy += burst.audio * burst.spent / burst.answers

    def left(self, answers: int, audio: float) -> float | None:
        """Seconds until `answers` more on `audio` seconds are there; None while nothing can be said."""
        if answers <= 0:
            return 0.0
        if self.answers >= ENOUGH and self._n:
            fixed, rate = self.line()
            return fixed * answers + rate * audio
        return self.spent * audio / self.audio if self.audio else None

    def line(self) -> tuple[float, float]:
        """Seconds per answer, and per second of audio. Neither falls below zero, which no work costs."""
        spread = self._xx - self._x**2 / self._n
        if spread <= 1e-9 * self._xx:
            # clips of one length say nothing of others: in proportion, as before there was a line
            return (0.0, self._y / self._x) if self._x else (self._y / self._n, 0.0)
        rate = (self._xy - self._x * self._y / self._n) / spread
        fixed = (self._y - rate * self._x) / self._n
        if rate < 0:
            return self._y / self._n, 0.0
        return (fixed, rate) if fixed >= 0 else (0.0, self._xy / self._xx)
