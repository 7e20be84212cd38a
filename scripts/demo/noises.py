"""Computes scenes and household sounds with numpy; listeners can tell them apart, but they are not lifelike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo.waves import RATE, Wave, banded, layered, levelled, repeat

Random = np.random.Generator
Sound = Callable[[Random], Wave]


def _time(length: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.arange(round(length * RATE)) / RATE


def noise(random: Random, length: float, low: float, high: float) -> Wave:
    """Return white noise between two frequencies."""
    return banded(random.standard_normal(round(length * RATE)).astype(np.float32), low, high)


def ring(hertz: float, length: float, decay: float) -> Wave:
    """Return a struck tone with two overtones that decays by 1/e every `decay` seconds."""
    t = _time(length)
    tone = sum(np.sin(2 * np.pi * hertz * k * t) / k**1.5 for k in (1, 2.01, 3.03))
    return np.asarray(tone * np.exp(-t / decay), np.float32)


def hum(hertz: float, length: float, wobble: float = 0.0) -> Wave:
    """Return a motor's sound: eight harmonics, whose pitch sways by `wobble` every four seconds."""
    t = _time(length)
    phase = 2 * np.pi * hertz * (t + wobble * np.sin(2 * np.pi * t / 4) * 4 / (2 * np.pi))
    return np.asarray(sum(np.sin(k * phase) / k for k in range(1, 9)), np.float32)


def glide(points: tuple[float, ...], length: float) -> Wave:
    """Return a tone whose pitch follows `points`, faded in and out: a bird, a cat, a squealing wheel."""
    t = _time(length)
    hertz = np.interp(t, np.linspace(0, length, len(points)), points)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    voice = np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase)
    return np.asarray(voice * np.sin(np.pi * t / length), np.float32)


def swell(wave: Wave) -> Wave:
    """Make the wave louder towards the middle, like something that passes by."""
    return wave * np.hanning(len(wave)).astype(np.float32)


def clicks(random: Random, length: float, per_second: float, low: float, high: float) -> Wave:
    """Return short bursts at random moments: steps, crackling, cutlery."""
    wave = np.zeros(round(length * RATE), np.float32)
    burst = noise(random, 0.05, low, high) * np.exp(-_time(0.05) / 0.01).astype(np.float32)
    for first in random.integers(0, len(wave) - len(burst), round(length * per_second)):
        wave[first : first + len(burst)] += burst * np.float32(random.uniform(0.3, 1))
    return wave


def babble(random: Random, length: float) -> Wave:
    """Return a crowd: speech-band noise in many slow rhythms."""
    crowd = noise(random, length, 250, 3500)
    t = _time(length)
    rhythm = sum(1 + np.sin(2 * np.pi * f * t + random.uniform(0, 6)) for f in (2.3, 3.1, 4.7, 0.4))
    return crowd * np.asarray(rhythm / 4, np.float32)


def chime(*hertz: float) -> Wave:
    return np.concatenate([ring(h, 0.6, 0.25) for h in hertz])


def bird(random: Random) -> Wave:
    base = random.uniform(2500, 4500)
    return np.concatenate(
        [glide((base, base * 1.3, base * 0.9), 0.12) for _ in range(int(random.integers(2, 6)))]
    )


#: scene -> its bed, and what happens in it: (the sound, how many times a minute, how loud)
Happening = tuple[Sound, float, float]
SCENES: dict[str, tuple[Callable[[Random, float], Wave], tuple[Happening, ...]]] = {
    "airport": (
        babble,
        ((lambda r: chime(660, 523, 784), 4, 0.5), (lambda r: swell(noise(r, 6, 80, 900)), 3, 0.8)),
    ),
    "shopping_mall": (
        babble,
        ((lambda r: chime(523, 659, 784, 659), 8, 0.3), (lambda r: ring(2100, 0.4, 0.05), 12, 0.3)),
    ),
    "metro_station": (
        lambda r, n: noise(r, n, 40, 600),
        ((lambda r: swell(noise(r, 9, 60, 2500)), 3, 1.5), (lambda r: chime(880, 880, 880), 3, 0.5)),
    ),
    "street_pedestrian": (
        babble,
        ((lambda r: clicks(r, 4, 2, 300, 2500), 14, 0.8), (lambda r: swell(noise(r, 5, 80, 700)), 2, 0.5)),
    ),
    "public_square": (
        lambda r, n: noise(r, n, 150, 2500),
        (
            (lambda r: ring(392, 3, 1.2), 5, 0.9),
            (bird, 10, 0.3),
            (lambda r: clicks(r, 3, 3, 500, 3000), 6, 0.5),
        ),
    ),
    "street_traffic": (
        lambda r, n: noise(r, n, 30, 400),
        ((lambda r: swell(noise(r, 5, 60, 1800)), 16, 1.5), (lambda r: hum(420, 0.5), 3, 0.5)),
    ),
    "tram": (
        lambda r, n: 0.3 * hum(100, n, 0.02) + 0.5 * noise(r, n, 40, 500),
        ((lambda r: glide((2300, 2700, 2500), 1.5), 5, 0.3), (lambda r: ring(1200, 1, 0.3), 4, 0.5)),
    ),
    "bus": (
        lambda r, n: 0.5 * hum(55, n, 0.15) + 0.3 * noise(r, n, 40, 800),
        ((lambda r: noise(r, 0.8, 2000, 7000), 4, 0.3), (lambda r: ring(990, 0.5, 0.2), 3, 0.4)),
    ),
    "metro": (
        lambda r, n: 0.6 * noise(r, n, 30, 350) + 0.2 * hum(160, n, 0.05),
        ((lambda r: clicks(r, 1.0, 4, 100, 900), 40, 2.0), (lambda r: chime(740, 587), 2, 0.3)),
    ),
    "park": (
        lambda r, n: 0.4 * noise(r, n, 200, 1500),
        ((bird, 45, 0.5), (lambda r: clicks(r, 3, 2, 200, 1500), 4, 0.3)),
    ),
}

#: the ten household sounds of DESED, where no recording can be had
EVENTS: dict[str, Sound] = {
    "Alarm bell ringing": lambda r: np.concatenate([ring(1400, 0.15, 0.1) for _ in range(12)]),
    "Blender": lambda r: 0.6 * hum(210, 3, 0.03) + 0.5 * noise(r, 3, 500, 6000),
    "Cat": lambda r: glide((500, 900, 750, 450), 0.9),
    "Dishes": lambda r: layered(
        clicks(r, 1.5, 6, 2500, 7500),
        [(float(r.uniform(0, 1)), 0.3 * ring(3100, 0.4, 0.08)) for _ in range(4)],
    ),
    "Dog": lambda r: np.concatenate([swell(noise(r, 0.15, 300, 1800)), np.zeros(2400, np.float32)] * 3),
    "Electric shaver toothbrush": lambda r: hum(120, 3, 0.01),
    "Frying": lambda r: 0.3 * noise(r, 3, 3000, 7800) + clicks(r, 3, 40, 2000, 7500),
    "Running water": lambda r: (
        noise(r, 3, 400, 6000) * np.asarray(1 + 0.3 * np.sin(9 * _time(3)), np.float32)
    ),
    "Speech": lambda r: babble(r, 2),
    "Vacuum cleaner": lambda r: 0.3 * hum(180, 4) + noise(r, 4, 200, 5000),
}


def scene(random: Random, label: str, length: float) -> Wave:
    """Return a soundscape of `length` seconds."""
    bed, happenings = SCENES[label]
    mixed = levelled(repeat(bed(random, 30.0), length), 0.03)
    for sound, per_minute, loudness in happenings:
        count = max(1, round(per_minute * length / 60))
        starts = np.sort(random.uniform(0, length - 3, count))
        mixed = layered(mixed, [(float(start), levelled(sound(random), 0.08 * loudness)) for start in starts])
    return levelled(mixed)
