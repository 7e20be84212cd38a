"""Makes what position probes are built from: long backgrounds, labelled sounds, and sentences with words to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demo.fetch import Shelf
from demo.noises import EVENTS, noise
from demo.origin import Recording
from demo.sources import asterisk_prompts, librivox_sentences
from demo.spoken import ASR_GAP, FEMALE, MALE, texts
from demo.voices import Speaker
from demo.waves import RATE, Wave, fill, levelled, silence, write

#: DESED's classes -> the labels of the recipe `needle`
LABELS = {
    "Alarm bell ringing": "alarm",
    "Blender": "blender",
    "Cat": "cat",
    "Dishes": "dishes",
    "Dog": "dog",
    "Electric shaver toothbrush": "shaver",
    "Frying": "frying",
    "Running water": "water",
    "Speech": "speech",
    "Vacuum cleaner": "vacuum",
}
#: Sounds are no longer than this, so that three of them fit into 5 s at every depth.
EVENT_SECONDS = 1.3
#: The words of the recipe `needle_words`: passwords, and names that distract from them.
PASSWORDS = ("kiwi", "piano", "tiger", "window", "candle", "rocket")
NAMES = ("mango", "dragon", "garden", "hammer", "orange", "silver")


def sound_source(out: Path, length: float, seed: int) -> None:
    """Write bed/room.flac of `length` seconds, and two sounds of each class as event/LABEL/LABEL_N.flac."""
    random = np.random.default_rng(seed)
    # a minute is repeated, because noise is filtered in the spectrum of the whole wave
    minute = levelled(noise(random, 60.0, 40, 1200), 0.02)
    write(out / "bed" / "room.flac", np.resize(minute, round(length * RATE)))
    for name, label in LABELS.items():
        for number in (1, 2):
            wave = levelled(EVENTS[name](random)[: round(EVENT_SECONDS * RATE)])
            write(out / "event" / label / f"{label}_{number}.flac", wave)


def word_source(out: Path, length: float, shelf: Shelf, speaker: Speaker) -> None:
    """Write bed/speech.flac of `length` seconds, and the sentences of two voices as event/ and distractor/WORD/.

    Raises MarathonError when no speech engine is available.
    """
    waves = [recording.wave for recording in hay(shelf, speaker)]
    speech = fill(waves, length, silence(ASR_GAP))
    write(out / "bed" / "speech.flac", speech[: round(length * RATE)])
    for role, said, words in (
        ("event", "The password is {}.", PASSWORDS),
        ("distractor", "The name is {}.", NAMES),
    ):
        for word in words:
            for number, voice in enumerate((FEMALE, MALE), start=1):
                sentence = speaker.say(said.format(word), voice, pause=0.0)
                write(out / role / word / f"{word}_{number}.flac", without_pauses(sentence.wave))


def without_pauses(wave: Wave) -> Wave:
    """Cut the silence at both ends, all but 20 ms."""
    loud = np.flatnonzero(np.abs(wave) > 0.02)
    return wave[max(0, int(loud[0]) - RATE // 50) : int(loud[-1]) + RATE // 50]


def hay(shelf: Shelf, speaker: Speaker) -> list[Recording]:
    """Return recordings of announcements and of a novel; without any, passages that both voices read."""
    found = librivox_sentences(shelf) + [r for r in asterisk_prompts(shelf) if len(r.text.split()) >= 6]
    return found or [
        speaker.say(passage["text"], voice) for voice in (FEMALE, MALE) for passage in texts("passages")
    ]
