"""Forecasts the remaining time of a run from the times of its responses to short and long clips so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from marathon_eval.api.model import Usage

#: Number of responses from which the line is fitted; before, time is proportional to seconds of audio.
ENOUGH = 20
#: Batches, the first included, before which progress shows no forecast.
ENOUGH_BATCHES = 3
#: Seconds; responses that arrive within this time of each other count as one batch.
TOGETHER = 0.005


@dataclass
class Burst:
    """Holds the responses of one batch: their number, seconds of audio, and seconds since the batch before."""

    answers: int
    audio: float
    spent: float


@dataclass
class Forecast:
    """Fits seconds per response over seconds of audio by least squares, in running sums.

    Clips come longest first, and a response costs a fixed time in addition to the time that grows with its clip: a
    forecast proportional to the audio alone would be too low for the many short clips at the end. The first batch is
    left out of the fit, because it includes loading the weights.
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
        """Add a response on `audio` seconds of audio that came `spent` seconds after the one before."""
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

    @property
    def known(self) -> bool:
        """Whether enough is timed to tell the rest: batches after the first, which includes loading the weights."""
        return self._bursts >= ENOUGH_BATCHES or (self.answers >= ENOUGH and self._n > 0)

    def left(self, answers: int, audio: float) -> float | None:
        """Return the seconds for `answers` more responses on `audio` seconds; None before there is any timing."""
        if answers <= 0:
            return 0.0
        if self.answers >= ENOUGH and self._n:
            fixed, rate = self.line()
            return fixed * answers + rate * audio
        if self.known and self._x:  # without the first batch
            return self._y * audio / self._x
        return self.spent * audio / self.audio if self.audio else None

    def line(self) -> tuple[float, float]:
        """Return the fitted seconds per response and seconds per second of audio; neither is below zero."""
        spread = self._xx - self._x**2 / self._n
        if spread <= 1e-9 * self._xx:
            # clips of one length determine no slope: use time proportional to audio
            return (0.0, self._y / self._x) if self._x else (self._y / self._n, 0.0)
        rate = (self._xy - self._x * self._y / self._n) / spread
        fixed = (self._y - rate * self._x) / self._n
        if rate < 0:
            return self._y / self._n, 0.0
        return (fixed, rate) if fixed >= 0 else (0.0, self._xy / self._xx)


class AnswerForecast(NamedTuple):
    """Tells the seconds of further answers from timed ones: what reads the audio grows with it, decoding with the answers.

    Clips of one length, such as windows or whole clips of one task, do not tell these two apart by themselves.
    """

    reading: Forecast
    decode_s: float
    timed: int

    def left(self, answers: int, audio: float) -> float | None:
        """Return the seconds for so many answers on `audio` seconds of audio; None if nothing tells it."""
        read = self.reading.left(answers, audio)
        return None if read is None else read + answers * self.decode_s


def answer_forecast(usages: Sequence[Usage]) -> AnswerForecast:
    """Fit what the timed ones of these answers took."""
    reading, decode, timed = Forecast(), 0.0, 0
    for usage in usages:
        stages = [part for part in (usage.encode_s, usage.prefill_s) if part is not None]
        if (stages or usage.decode_s is not None) and usage.heard_seconds:
            reading.add(usage.heard_seconds, sum(stages))
            decode += usage.decode_s or 0.0
            timed += 1
    return AnswerForecast(reading, decode / timed if timed else 0.0, timed)
