"""Computes simple tunes with numpy, one style for each genre of GTZAN: tempo, chords, timbre, beat."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from demo.waves import Wave, levelled

TUNE_RATE = 22050
Random = np.random.Generator


class Style(NamedTuple):
    """Describes a genre in a few numbers. Beat patterns are eighths of a bar: kick x, snare o, hat -, rest a dot."""

    tempo: int
    chords: tuple[tuple[int, ...], ...]  # semitones over A2 (110 Hz)
    harmonics: int
    decay: float
    beat: str
    strum: str  # eighths on which the chord sounds
    swing: float = 0.5  # where the off-beat eighth falls inside its quarter
    drive: float = 0.0  # how hard the sum is overdriven
    melody: bool = True


MAJOR, MINOR, SEVENTH, NINTH = (0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 4, 10, 14)


def _on(chord: tuple[int, ...], *roots: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(root + step for step in chord) for root in roots)


STYLES = {
    "blues": Style(84, _on(SEVENTH, 0, 0, 5, 0, 7, 5, 0, 7), 5, 0.5, "x-o-x-o-", "x.xxx.xx", swing=0.66),
    "classical": Style(96, _on(MAJOR, 0, 5, 7, 0) + _on(MINOR, 9, 2), 3, 0.9, "........", "xxxxxxxx"),
    "country": Style(112, _on(MAJOR, 0, 0, 5, 5, 7, 7, 0, 0), 6, 0.3, "x-o-x-o-", ".x.x.x.x"),
    "disco": Style(120, _on(MINOR, 0, 0, 8, 10), 6, 0.2, "x-x-x-x-", ".xx..xx.", melody=False),
    "hiphop": Style(90, _on(MINOR, 0, 0, 3, 5), 4, 0.4, "x--ox-o-", "x.......", swing=0.58, melody=False),
    "jazz": Style(140, _on(NINTH, 2, 7, 0, 9), 2, 0.6, "--x---x-", "..x..x..", swing=0.66),
    "metal": Style(160, _on((0, 7, 12), 0, 1, 0, 3), 9, 0.3, "xxoxxxox", "xxxxxxxx", drive=9.0, melody=False),
    "pop": Style(116, _on(MAJOR, 0, 7, 5) + _on(MINOR, 9), 4, 0.4, "x-o-x-o-", "x.xx.xx."),
    "reggae": Style(76, _on(MAJOR, 0, 5, 0, 7), 4, 0.15, "..-.xo-.", "..x...x.", melody=False),
    "rock": Style(128, _on((0, 7, 12), 0, 5, 7, 5), 7, 0.4, "x-o-xxo-", "x.xxx.xx", drive=4.0),
}


def tune(random: Random, genre: str, length: float, style: Style | None = None) -> Wave:
    """Return `length` seconds in the genre's style (or `style`) at TUNE_RATE; the melody is drawn from the chord."""
    style = style or STYLES[genre]
    track = np.zeros(round(length * TUNE_RATE), np.float32)
    quarter = 60 / style.tempo
    bar = 0
    while bar * 4 * quarter < length:
        chord = style.chords[bar % len(style.chords)]
        for eighth in range(8):
            offset = eighth // 2 + (style.swing if eighth % 2 else 0.0)
            start = (bar * 4 + offset) * quarter
            if style.strum[eighth] == "x":
                for step in chord:
                    _add(track, start, 0.25 * note(110 * 2 ** (step / 12), style))
            if style.melody and random.random() < 0.5:
                step = int(random.choice(chord)) + 24
                _add(track, start, 0.3 * note(110 * 2 ** (step / 12), style))
            _add(track, start, drum(random, style.beat[eighth]))
        bar += 1
    driven = np.tanh(track * style.drive) if style.drive else track
    return levelled(driven.astype(np.float32), 0.1)


@cache
def note(hertz: float, style: Style) -> Wave:
    """Return a plucked tone of one second at most."""
    t = np.arange(min(TUNE_RATE, round(5 * style.decay * TUNE_RATE))) / TUNE_RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, style.harmonics + 1))
    return np.asarray(tone * np.exp(-t / style.decay), np.float32)


def drum(random: Random, kind: str) -> Wave:
    """Return a drum: the kick is a falling tone, snare and hat are short noise."""
    t = np.arange(round(0.2 * TUNE_RATE)) / TUNE_RATE
    if kind == "x":
        return np.asarray(
            np.sin(2 * np.pi * (50 * t + 8 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.08), np.float32
        )
    if kind in "o-":
        length, loudness = (0.06, 0.5) if kind == "o" else (0.015, 0.2)
        return np.asarray(loudness * random.standard_normal(len(t)) * np.exp(-t / length), np.float32)
    return np.zeros(0, np.float32)


def _add(track: Wave, start: float, sound: Wave) -> None:
    first = round(start * TUNE_RATE)
    stop = min(first + len(sound), len(track))
    if first < stop:
        track[first:stop] += sound[: stop - first]
