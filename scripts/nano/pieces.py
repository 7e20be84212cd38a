"""Makes short sounds of every class from a seed; training clips and test clips are joined from them.

The recipes are those of scripts/demo, varied: tempo, key, timbre, spectrum and loudness differ from piece to piece.
"""

from __future__ import annotations

import numpy as np

from demo.noises import EVENTS, SCENES, noise, scene
from demo.people import EMOTIONS
from demo.spoken import texts
from demo.tunes import STYLES, TUNE_RATE, Style, note, tune
from demo.voices import Speaker, Voice
from demo.waves import RATE, Wave, levelled, resampled

Random = np.random.Generator
GENRES, PLACES, SOUNDS, MOODS = tuple(STYLES), tuple(SCENES), tuple(EVENTS), tuple(EMOTIONS)
GENDERS = ("Male", "Female")

TUNE_SECONDS, SCENE_SECONDS, EVENT_SECONDS = 12.0, 20.0, 6.0
#: eSpeak NG's voices without breath (which differs from run to run), split so that test voices are never trained on.
VOICES = {
    "train": {
        "Male": ("m1", "m2", "m4", "m5", "m7", "Denis", "Diogo", "Marco", "antonio", "travis"),
        "Female": ("f1", "Annie", "Andrea", "anika", "linda", "steph", "steph3", "grandma"),
        # nothing is said of their gender: for moods only
        "Other": (
            "Alex",
            "Gene",
            "Jacky",
            "Mario",
            "Michael",
            "Mike",
            "ed",
            "ian",
            "iven",
            "john",
            "quincy",
            "rob",
            "robert",
            "paul",
        ),
    },
    "test": {
        "Male": ("m3", "m6", "m8", "michel", "Hugo"),
        "Female": ("f4", "aunty", "belinda", "steph2"),
    },
}
ACCENTS = ("en-us", "en-029", "en-gb-x-rp", "en-gb-scotland")


def music(random: Random, genre: str, seconds: float = TUNE_SECONDS) -> Wave:
    """Return a tune in the genre's style, with a random tempo, key, timbre and decay."""
    style, key = STYLES[genre], int(random.integers(-3, 4))
    own = varied(style, random, key)
    wave = resampled(tune(random, genre, seconds, own), TUNE_RATE, RATE)
    note.cache_clear()
    return levelled(coloured(random, wave), random.uniform(0.06, 0.12))


def varied(style: Style, random: Random, key: int) -> Style:
    """Return the style, `key` semitones higher, with small changes that preserve its character."""
    return style._replace(
        tempo=round(style.tempo * random.uniform(0.93, 1.07)),
        chords=tuple(tuple(step + key for step in chord) for chord in style.chords),
        harmonics=max(2, style.harmonics + int(random.integers(-1, 2))),
        decay=style.decay * random.uniform(0.85, 1.18),
        drive=style.drive * random.uniform(0.8, 1.25),
    )


def place(random: Random, label: str, seconds: float = SCENE_SECONDS) -> Wave:
    """Return a soundscape."""
    return levelled(coloured(random, scene(random, label, seconds)), random.uniform(0.05, 0.11))


def event(random: Random, label: str) -> Wave:
    """Return one household sound of EVENT_SECONDS at most, faster or slower; short sounds are repeated."""
    wave = EVENTS[label](random)
    wave = resampled(wave, RATE, round(RATE * random.uniform(0.87, 1.15)))
    return levelled(coloured(random, wave), random.uniform(0.04, 0.08))[: round(EVENT_SECONDS * RATE)]


def room(random: Random, seconds: float) -> Wave:
    """Return the faint noise under events."""
    wave = noise(random, seconds, random.uniform(30, 80), random.uniform(700, 2500))
    return levelled(wave, random.uniform(0.003, 0.009))


def coloured(random: Random, wave: Wave) -> Wave:
    """Apply a gentle tone control: up to 4 dB up or down from the lowest to the highest frequency."""
    spectrum = np.fft.rfft(wave)
    tilt = np.linspace(-1, 1, len(spectrum)) * random.uniform(-4, 4) / 20
    return np.fft.irfft(spectrum * 10**tilt, len(wave)).astype(np.float32)


def acted(random: Random, speaker: Speaker, name: str, mood: str, sentence: str) -> Wave:
    """Speak a sentence in a mood, by pace, pitch, range and loudness, which stand for an emotion."""
    _, pace, pitch, spread, loudness = EMOTIONS[mood]
    voice = Voice(
        f"{ACCENTS[int(random.integers(len(ACCENTS)))]}+{name}",
        round(pace * random.uniform(0.95, 1.05)),
        pitch + int(random.integers(-4, 5)),
        max(0, spread + int(random.integers(-5, 6))) if spread else 0,
    )
    return speaker.say(sentence, voice, pause=0.3, rms=loudness * random.uniform(0.9, 1.1)).wave


def spoken(random: Random, speaker: Speaker, name: str, sentence: str) -> Wave:
    """Speak a sentence in a voice at its natural pitch."""
    voice = Voice(
        f"{ACCENTS[int(random.integers(len(ACCENTS)))]}+{name}",
        int(random.integers(140, 190)),
        int(random.integers(42, 59)),
        int(random.integers(35, 66)),
    )
    return speaker.say(sentence, voice, pause=0.3, rms=random.uniform(0.05, 0.11)).wave


def sentence(random: Random, part: str) -> str:
    """Return a sentence of this part of the data only: the texts are split, and names are filled in."""
    material = texts("sentences")
    known = [*material["report_templates"], *material["neutral"]]
    mine = known[0::2] if part == "train" else known[1::2]
    chosen = str(mine[int(random.integers(len(mine)))])
    for kind in ("person", "place", "organisation"):
        while f"{{{kind}}}" in chosen:
            chosen = chosen.replace(f"{{{kind}}}", str(random.choice(material[kind])), 1)
    return chosen
