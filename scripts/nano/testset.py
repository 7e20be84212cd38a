"""Makes test clips of 90 to 150 s in the released layout, with other seeds, sentences and voices than training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from demo.fetch import Shelf, default_cache
from demo.voices import Speaker
from demo.waves import RATE, Wave, write
from nano import pieces
from nano.questions import ASKS, LABELS, row

Random = np.random.Generator

SHORTEST, LONGEST = 90.0, 150.0
#: What a voice says in one clip, again and again.
SENTENCES = 6
#: Seeds below this are training's, so that no test clip is ever drawn by a seed that training used.
FIRST_SEED = 1_000_000


class Place(NamedTuple):
    """Says where a task's clips and metadata lie, as in the release."""

    clips: str
    metadata: str


LAYOUT = {
    "genre": Place(
        "GTZAN/concatenated_audio/wav", "GTZAN/concatenated_audio/music_genre_classification_meta.json"
    ),
    "place": Place("TAU/concatenated_resampled", "TAU/concatenated_resampled/acoustic_scene_task_meta.json"),
    "event": Place(
        "DESED/DESED_dataset/concatenated_audio",
        "DESED/DESED_dataset/concatenated_audio/desed_sound_event_detection_task.json",
    ),
    "acted": Place("VESUS", "VESUS/audio_emotion_dataset.json"),
    "spoken": Place(
        "VoxCeleb/concatenated_audio/wav", "VoxCeleb/concatenated_audio/gender_id_task_meta.json"
    ),
}
#: What tells the classes apart in the metadata, beside question, options and answer.
LABELLED = {"genre": "genre_label", "place": "scene_label", "acted": "emotion_label", "spoken": "label"}


def build(
    out: Path,
    kinds: Sequence[str],
    count: int,
    seed: int,
    longest: float = LONGEST,
    between: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Write `count` clips for each kind, its classes in turn. Files that already exist in `out` are not changed.

    `between` is the part of the clip in which sound events are heard.

    Raises MarathonError where no speech engine can be had.
    """
    for number, kind in enumerate(LAYOUT):
        place = LAYOUT[kind]
        if kind not in kinds or (out / place.metadata).is_file():
            continue
        random = np.random.default_rng([FIRST_SEED + seed, number])
        rows = list(_rows(out / place.clips, random, kind, count, longest, between))
        content: Any = rows if kind != "event" else {"task_info": {"name": "nano"}, "tasks": rows}
        (out / place.metadata).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _rows(
    folder: Path, random: Random, kind: str, count: int, longest: float, between: tuple[float, float]
) -> Iterator[dict[str, Any]]:
    speaker = Speaker(Shelf(default_cache())) if kind in ("acted", "spoken") else None
    for number in range(count):
        label = LABELS[kind][number % len(LABELS[kind])]
        seconds = float(random.uniform(min(SHORTEST, longest), longest))
        voice, wave = clip(random, kind, label, seconds, speaker, between)
        path = f"{label.replace(' ', '_')}/nano_{number:03d}.wav"
        write(folder / path, wave)
        told = {"person_id": voice} if kind == "acted" else {"speaker_id_original": voice}
        if kind in LABELLED:
            told[LABELLED[kind]] = label.lower()
        fields = row(random, kind, label, ASKS[kind][0])
        yield {"path": path, **fields, **told, "task_type": "nano", "uniq_id": number}


def clip(
    random: Random,
    kind: str,
    label: str,
    seconds: float,
    speaker: Speaker | None = None,
    between: tuple[float, float] = (0.0, 1.0),
) -> tuple[str, Wave]:
    """Return the voice (empty if there is none) and a clip of its class."""
    if kind == "event":
        return "", events(random, label, seconds, between)
    if kind == "genre":
        return "", _filled(seconds, lambda: pieces.music(random, label))
    if kind == "place":
        return "", _filled(seconds, lambda: pieces.place(random, label))
    assert speaker is not None
    gender = label if kind == "spoken" else str(random.choice(pieces.GENDERS))
    name = str(random.choice(pieces.VOICES["test"][gender]))
    said = [pieces.sentence(random, "test") for _ in range(SENTENCES)]
    if kind == "spoken":
        waves = [pieces.spoken(random, speaker, name, text) for text in said]
    else:
        waves = [pieces.acted(random, speaker, name, label, text) for text in said]
    return name, _filled(seconds, lambda: waves[int(random.integers(SENTENCES))])


def events(random: Random, label: str, seconds: float, between: tuple[float, float] = (0.0, 1.0)) -> Wave:
    """Return a room in which the event occurs every few seconds, in the given part of the clip."""
    mixed = pieces.room(random, seconds)
    moment = between[0] * seconds + float(random.uniform(0.2, 3))
    while moment < between[1] * seconds - 1:
        sound = pieces.event(random, label)
        first = round(moment * RATE)
        last = min(first + len(sound), round(between[1] * len(mixed)))
        mixed[first:last] += sound[: last - first]
        moment += len(sound) / RATE + float(random.uniform(0.5, 6))
    return mixed


def _filled(seconds: float, piece: Callable[[], Wave]) -> Wave:
    """Join pieces until the clip is full."""
    waves: list[Wave] = []
    while sum(map(len, waves)) < seconds * RATE:
        waves.append(piece())
    return np.concatenate(waves)[: round(seconds * RATE)]
