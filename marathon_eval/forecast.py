"""How long the rest of a run takes, by what answers on short and on long clips have cost so far."""

from __future__ import annotations

from dataclasses import dataclass

#: Fewer answers than this fix no line: the first also pay for loading the weights.
ENOUGH = 20


@dataclass
class Forecast:
    """Least squares of seconds per answer on seconds of audio, in running sums.

    Clips come longest first, and an answer costs a fixed part besides the part that grows with its clip: in
    proportion to the audio alone, the many short clips at the end would come out too cheap.
    """

    n: int = 0
    audio: float = 0.0
    spent: float = 0.0
    _audio_squared: float = 0.0
    _both: float = 0.0

    def add(self, audio: float, spent: float) -> None:
        """An answer on `audio` seconds took `spent` seconds of wall time."""
        self.n += 1
        self.audio += audio
        self.spent += spent
        self._audio_squared += audio * audio
        self._both += audio * spent

    def left(self, answers: int, audio: float) -> float | None:
        """Seconds for `answers` more on `audio` seconds in all; None while nothing can be said."""
        if answers <= 0:
            return 0.0
        if self.n >= ENOUGH:
            fixed, rate = self.line()
            return fixed * answers + rate * audio
        if self.audio > 0:
            return self.spent * audio / self.audio
        return None

    def line(self) -> tuple[float, float]:
        """Seconds per answer, and seconds per second of audio; neither below zero, which no work costs."""
        spread = self._audio_squared - self.audio**2 / self.n
        if spread <= 1e-9 * self._audio_squared:
            # clips of one length: their cost cannot be told apart
            return (0.0, self.spent / self.audio) if self.audio else (self.spent / self.n, 0.0)
        rate = (self._both - self.audio * self.spent / self.n) / spread
        fixed = (self.spent - rate * self.audio) / self.n
        if rate < 0:
            return self.spent / self.n, 0.0
        if fixed < 0:
            return 0.0, self._both / self._audio_squared
        return fixed, rate
