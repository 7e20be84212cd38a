"""Makes small fakes of the source corpora in their own layouts: same folders, names, tables and labels.

Lengths are those of the real clips, so that recipes run unchanged; the sample rate is low, so that they run fast.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 4000


class Writer:
    """Collects sounds and texts of a corpus, then writes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Callable[[Path], None]] = {}

    def sound(self, path: str, seconds: float, rate: int = RATE) -> None:
        """Add noise that is different for every path, at a random level."""

        def write(target: Path) -> None:
            draw = np.random.default_rng(list(path.encode()))
            samples = draw.uniform(-0.3, 0.3, round(seconds * rate)) * draw.uniform(0.3, 1.0)
            subtype = None if target.suffix == ".ogg" else "PCM_16"
            soundfile.write(target, samples.astype(np.float32), rate, subtype=subtype)

        self.files[path] = write

    def text(self, path: str, content: str) -> None:
        def write(target: Path) -> None:
            target.write_text(content, encoding="utf-8")

        self.files[path] = write

    def done(self) -> Path:
        for path, write in self.files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            write(self.root / path)
        return self.root


def copied(source: Path, target: Path, order: int) -> Path:
    """Copy the corpus in another order of files, because some file systems list them in order of creation."""
    paths = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    random.Random(order).shuffle(paths)
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target / path)
    return target


def tsv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n"


def tau(root: Path) -> Path:
    """Write four scenes, one with two places; metro and metro_station are those that the release mixed up."""
    corpus, rows = Writer(root), []
    counts = {
        ("metro", "lyon-1"): 12,
        ("metro_station", "lyon-2"): 23,
        ("park", "milan-3"): 10,
        ("park", "milan-4"): 5,
    }
    for (scene, place), count in counts.items():
        for number in range(count):
            path = f"audio/{scene}-{place}-{number:03}-a.wav"
            corpus.sound(path, 10.0)
            rows.append((path, scene, place, "a"))
    corpus.text("meta.csv", tsv(("filename", "scene_label", "identifier", "source_label"), rows))
    return corpus.done()


def gtzan(root: Path) -> Path:
    """Write two genres of 17 and 8 readable clips, and the damaged jazz clip of the widespread copy."""
    corpus = Writer(root)
    for genre, numbers in (("blues", range(17)), ("jazz", range(50, 59))):
        for number in numbers:
            path = f"genres_original/{genre}/{genre}.{number:05}.wav"
            if path.endswith("jazz.00054.wav"):
                corpus.text(path, "no audio at all")
            else:
                corpus.sound(path, 30.0)
    return corpus.done()


def had(root: Path) -> Path:
    """Write 90 genuine utterances (about 450 s) and 30 with a fake part (about 150 s), cut in three by the labels."""
    corpus, lines = Writer(root), []
    for number in range(120):
        seconds = 4.0 + number % 3
        fake = number >= 90
        name = f"HAD_train_{'fake' if fake else 'real'}_{number:08}"
        corpus.sound(f"HAD_train/train/conbine/{name}.wav", seconds)
        marks = f"0-1.20-T/1.20-1.56-F/1.56-{seconds:.2f}-T 0" if fake else f"0-{seconds:.2f}-T 1"
        lines.append(f"{name} {marks}")
    corpus.text("HAD_train/HAD_train_label.txt", "\n".join(lines) + "\n")
    return corpus.done()


def voxceleb(root: Path) -> Path:
    """Write three speakers, the first in two age groups; one only in VoxCeleb1's table, one video without an age."""
    corpus, ages = Writer(root), []
    for speaker, videos in (("id00012", 2), ("id00017", 2), ("id10003", 1)):
        for video in range(videos):
            for number in range(18):
                corpus.sound(f"wav/{speaker}/video{video}/{number:05}.wav", 8.0)
            age = {("id00012", 0): "29.0", ("id00012", 1): "45.0", ("id10003", 0): ""}.get(
                (speaker, video), "62.0"
            )
            ages.append((speaker, f"video{video}", age, 'said "hello",\nand left'))
    corpus.text(
        "vox2_meta.csv",
        "\ufeffVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set\nid00012 ,n1 ,f ,dev\nid00017 ,n2 ,m ,dev\n",
    )
    header = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
    corpus.text(
        "vox1_meta.csv", tsv(header, [("id10003", "A", "f", "NZ", "dev"), ("id00012", "B", "m", "NZ", "dev")])
    )

    def write_ages(target: Path) -> None:
        with target.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("VoxCeleb_ID", "video_id", "speaker_age", "description"), *ages])

    corpus.files["final_dataframe_extended.csv"] = write_ages
    return corpus.done()


def vesus(root: Path) -> Path:
    """Write two actors and three emotions; one of them is too short for a file."""
    corpus = Writer(root)
    for person, emotion, count in ((1, "Angry", 50), (1, "Neutral", 35), (2, "Sad", 34), (2, "Happy", 12)):
        for number in range(count):
            corpus.sound(f"Audio/{person}/{emotion}/sentence_{number:03}.wav", 3.0)
    return corpus.done()


def slue(root: Path) -> Path:
    """Write 40 sentences of 10 s with 0-3 named entities each."""
    corpus, rows = Writer(root), []
    for number in range(40):
        name = f"20150518-0900-PLENARY-{number}-en"
        corpus.sound(f"dev/{name}.ogg", 10.0)
        entities = [[label, 0, 4] for label in ("PLACE", "WHEN", "ORG")[: number % 4]]
        rows.append((name, 'we "met', f"spk{number % 5}", entities or "None"))
    corpus.text(
        "slue-voxpopuli_dev.tsv", tsv(("id", "raw_text", "speaker_id", "normalized_combined_ner"), rows)
    )
    return corpus.done()


def desed(root: Path) -> Path:
    """Write clips of one class, of two, of eight (no distractor left), and without any."""
    corpus = Writer(root)
    rows: list[tuple[str, float | str, float | str, str]] = []
    eight = ("Cat", "Dog", "Dishes", "Frying", "Speech", "Blender", "Running_water", "Vacuum_cleaner")
    sets: list[tuple[tuple[str, ...], int]] = [(("Cat",), 29), (("Dog", "Speech"), 28), (eight, 28), ((), 3)]
    for labels, count in sets:
        for number in range(count):
            name = f"Y{len(labels)}_{number:03}.wav"
            corpus.sound(f"dataset/audio/validation/{name}", 10.0)
            for place, label in enumerate(labels):
                rows.append((name, 0.5, 3.0 + place, label))
            if not labels:
                rows.append((name, "", "", ""))
    corpus.text(
        "dataset/metadata/validation/validation.tsv",
        tsv(("filename", "onset", "offset", "event_label"), rows),
    )
    return corpus.done()


def race(root: Path) -> Path:
    """Write three passages; at one word in half a second (see `reader`), one of them is too short."""
    corpus = Writer(root)
    for level, number, words in (("high", 1, 260), ("middle", 2, 300), ("high", 3, 40)):
        passage = {
            "id": f"{level}{number}.txt",
            "article": " ".join(f"word{place}" for place in range(words)),
            "questions": ["What came first?", "What came last?"],
            "options": [
                ["word0", "word1", "word2", "word3"],
                ["word0", "word1", "word2", f"word{words - 1}"],
            ],
            "answers": ["A", "D"],
        }
        corpus.text(f"test/{level}/{number}.txt", json.dumps(passage))
    return corpus.done()


def librispeech(root: Path) -> Path:
    """Write two chapters of one speaker, with utterances of 15 s."""
    corpus = Writer(root)
    for chapter, count in (("134686", 20), ("134691", 5)):
        folder = f"LibriSpeech/test-clean/1089/{chapter}"
        names = [f"1089-{chapter}-{number:04}" for number in range(count)]
        for name in names:
            corpus.sound(f"{folder}/{name}.flac", 15.0)
        corpus.text(
            f"{folder}/1089-{chapter}.trans.txt", "".join(f"{name} SAID {name[-4:]}\n" for name in names)
        )
    return corpus.done()


def needle(root: Path) -> Path:
    """Write two beds of three minutes and three events."""
    corpus = Writer(root)
    for number in range(2):
        corpus.sound(f"bed/noise{number}.wav", 180.0)
    for label in ("dog", "cat", "water"):
        corpus.sound(f"event/{label}/{label}1.wav", 1.5)
    return corpus.done()


def needle_words(root: Path) -> Path:
    """Write a bed of twenty seconds, two passwords, and three sentences that distract from them."""
    corpus = Writer(root)
    corpus.sound("bed/speech.wav", 20.0)
    for role, words in (("event", ("kiwi", "piano")), ("distractor", ("mango", "orange", "silver"))):
        for word in words:
            corpus.sound(f"{role}/{word}/{word}1.wav", 1.5)
    return corpus.done()


CORPORA = {
    "tau": tau,
    "gtzan": gtzan,
    "had": had,
    "vox_gender": voxceleb,
    "vox_age": voxceleb,
    "vesus": vesus,
    "slue": slue,
    "desed": desed,
    "race": race,
    "librispeech": librispeech,
    "needle": needle,
    "needle_words": needle_words,
}
