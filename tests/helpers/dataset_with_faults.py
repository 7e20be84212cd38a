"""Makes a small data set without faults, and plants in it every kind of fault that doctor lists."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from helpers import make_source_corpora
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.corpus.build.recipe import load_recipe

RATE = 4000
CLASSES = ["bus", "park", "train", "river"]
TOY = """\
dataset: toy
tasks:
  quiz: {metadata: quiz.json, rows: 40, rate: 4000, seconds: [20, 60], promised_seconds: 10, label: class, also_true: heard}
  talk: {tree: "talk/(?P<speaker>\\\\w+)/[^/]+\\\\.wav$", transcripts: true, rate: 4000, promised_seconds: 10}
"""


def tone(path: Path, seconds: float = 20.0, rate: int = RATE, channels: int = 1) -> None:
    """Return noise that is different for every path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(list(path.name.encode()))
    soundfile.write(path, draw.uniform(-0.4, 0.4, (round(seconds * rate), channels)), rate, subtype="PCM_16")


def rows(folder: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((folder / "quiz" / "quiz.json").read_text())
    return content


def save(folder: Path, content: Any) -> None:
    (folder / "quiz" / "quiz.json").write_text(json.dumps(content))


def clean_data(folder: Path) -> Path:
    """Write 40 questions on 40 sounds, with even classes and letters, and two transcribed sounds."""
    draw, content = random.Random(0), []
    for number in range(40):
        label, slot = CLASSES[number % 4], number // 4 % 4
        options = draw.sample([name for name in CLASSES if name != label], 3)
        options.insert(slot, label)
        tone(folder / "quiz" / f"{number:02}.wav")
        shown = {f"choice_{letter}": f"A {name}" for letter, name in zip("abcd", options, strict=True)}
        row = {"path": f"{number:02}.wav", "question": "Where?", **shown, "answer_gt": "ABCD"[slot]}
        content.append({**row, "class": label, "heard": [f"A {label}"], "uniq_id": number})
    save(folder, content)
    for name in ("x", "y"):
        tone(folder / "talk" / name / f"{name}-1.wav")
        (folder / "talk" / name / f"{name}.trans.txt").write_text(f"{name}-1 some words\n")
    return folder


def change(number: int, **values: Any) -> Callable[[Path], None]:
    """Return a function that plants a change of one row's keys; None removes a key."""

    def plant(folder: Path) -> None:
        content = rows(folder)
        content[number] = {
            key: value for key, value in {**content[number], **values}.items() if value is not None
        }
        save(folder, content)

    return plant


def sound(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return a function that plants a change of one sound."""
    return lambda folder: make(folder / "quiz" / "07.wav")


def write(path: Path, samples: Any, rate: int = RATE, **more: Any) -> None:
    soundfile.write(path, samples, rate, **more)


def put(path: Path, text: str) -> None:
    path.write_text(text)


def noise(frames: int = 20 * RATE) -> Any:
    return np.random.default_rng(1).uniform(-0.4, 0.4, frames)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2001])


def flac_cut(path: Path) -> None:
    """Truncate a FLAC file, which contains its number of samples, so that libsndfile reports the cut."""
    write(path, noise(), format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_flac(path: Path) -> None:
    write(path, noise(), format="FLAC")


def two_tracks(path: Path) -> None:
    """Write a Matroska file with two audio tracks under the name of a row's WAV."""
    with av.open(str(path), "w", format="matroska") as output:
        tracks = [output.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]
        for seed, track in enumerate(tracks):
            samples = np.random.default_rng(seed).integers(-9000, 9000, (1, 20 * RATE), dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = RATE
            output.mux(track.encode(frame))
        for track in tracks:
            output.mux(track.encode(None))


def loud_between_samples(path: Path) -> None:
    """Write a square wave with edges between samples, whose resampled version rings above full scale."""
    time = np.arange(20 * RATE) / RATE
    write(path, 0.995 * np.sign(np.sin(2 * np.pi * 317.3 * time) + 1e-9), subtype="PCM_24")


def opposed_channels(path: Path) -> None:
    write(path, np.stack([noise(), -noise()], axis=1))


def many_talks(folder: Path) -> None:
    """Add talks with a transcript of usual length, and one of two words."""
    for number in range(5):
        tone(folder / "talk" / "z" / f"z-{number}.wav")
    lines = [f"z-{number} {'some words ' * (30 if number else 1)}" for number in range(5)]
    (folder / "talk" / "z" / "z.trans.txt").write_text("\n".join(lines))
    for name in ("x", "y"):
        (folder / "talk" / name / f"{name}.trans.txt").write_text(f"{name}-1 {'other words ' * 30}\n")


def telling_rates(folder: Path) -> None:
    """Give one class another sample rate than the others."""
    for row in rows(folder):
        if row["class"] == "bus":
            tone(folder / "quiz" / row["path"], rate=8000)


def unfinished_build(folder: Path) -> None:
    """Leave the journal of a build, as a kill does."""
    (folder / "manifests").mkdir()
    (folder / "manifests" / "quiz.journal").write_text('{"planned": []}\n')


def half_silent(path: Path) -> None:
    samples = noise()
    samples[RATE : 12 * RATE] = 0
    write(path, samples)


def skewed_labels(folder: Path) -> None:
    content = rows(folder)
    for number in range(1, 32):
        content[number]["class"] = "bus"
    save(folder, content)


def skewed_letters(folder: Path) -> None:
    """Move every answer to the first place."""
    content = rows(folder)
    for row in content:
        right = f"choice_{row['answer_gt'].lower()}"
        row["choice_a"], row[right], row["answer_gt"] = row[right], row["choice_a"], "A"
    save(folder, content)


def telling_letters(folder: Path) -> None:
    """Give each class a fixed place: letters stay even, but they give the class away."""
    content = rows(folder)
    for row in content:
        for letter, name in zip("abcd", CLASSES, strict=True):
            row[f"choice_{letter}"] = f"A {name}"
        row["answer_gt"] = "ABCD"[CLASSES.index(row["class"])]
    save(folder, content)


def repeated_question(folder: Path) -> None:
    content = rows(folder)
    content[9] = {**content[8], "uniq_id": 9}
    save(folder, content)


def built(folder: Path) -> None:
    """Build a data set and change one of its files afterwards."""
    build(
        load_recipe("tau").model_copy(update={"rate": RATE}),
        Order(make_source_corpora.tau(folder.parent / "source"), folder),
    )
    path = folder / "TAU/concatenated_resampled/metro/metro_lyon-1_segment_1.wav"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


PLANTS: dict[str, list[Callable[[Path], None]]] = {
    "missing": [sound(Path.unlink)],
    "outside_root": [change(7, path="../../07.wav"), change(7, path="/etc/07.wav")],
    "empty": [
        sound(lambda path: put(path, "")),
        sound(lambda path: write(path, np.zeros(0))),
    ],
    "unreadable": [sound(lambda path: put(path, "no sound"))],
    "truncated": [sound(cut), sound(flac_cut)],
    "non_finite": [sound(lambda path: write(path, np.append(noise(), np.nan), subtype="FLOAT"))],
    "silent": [sound(lambda path: write(path, np.full(20 * RATE, 5e-4)))],
    "partly_silent": [sound(half_silent)],
    "clipped": [sound(lambda path: write(path, np.clip(4 * noise(), -1, 1)))],
    "dc_offset": [sound(lambda path: write(path, noise() + 0.2))],
    "wrong_rate": [sound(lambda path: tone(path, rate=8000))],
    "multi_channel": [sound(lambda path: tone(path, channels=2))],
    "several_tracks": [sound(two_tracks)],
    "too_short": [sound(lambda path: tone(path, seconds=15))],
    "too_long": [sound(lambda path: tone(path, seconds=61))],
    "short_of_promise": [lambda folder: tone(folder / "talk" / "x" / "x-1.wav", seconds=5)],
    "wrong_container": [sound(as_flac)],
    "duplicate_audio": [
        lambda folder: tone(folder / "quiz" / "copy" / "07.wav"),
        sound(lambda path: as_other(path)),
    ],
    "orphan_audio": [lambda folder: tone(folder / "quiz" / "stray.wav")],
    "changed": [built],
    "broken_metadata": [
        lambda folder: put(folder / "quiz" / "quiz.json", "[{]"),
        lambda folder: save(folder, {"rows": "none"}),
    ],
    "bad_row": [
        change(7, path=None),
        change(7, answer_gt=None),
        lambda folder: save(folder, [*rows(folder), "x"]),
    ],
    "gold_not_an_option": [change(7, answer_gt="E"), change(7, answer_gt="A lake")],
    "duplicate_option": [change(7, choice_a="A bus", choice_b="a bus ")],
    "empty_option": [change(7, choice_a=" ")],
    "empty_question": [change(7, question="")],
    "empty_reference": [
        lambda folder: (folder / "talk/x/x.trans.txt").unlink(),
        lambda folder: put(folder / "talk/x/x.trans.txt", "x-10 other words\n"),
    ],
    "true_distractor": [change(7, heard=["A_river", "A bus"])],
    "option_count": [change(7, choice_e="A lake")],
    "duplicate_id": [change(7, uniq_id=8)],
    "duplicate_row": [repeated_question],
    "label_imbalance": [skewed_labels],
    "letter_imbalance": [skewed_letters],
    "option_order_bias": [telling_letters],
    "unlike_manifest": [sound(lambda path: write(path, noise())), change(7, question="Where is it?")],
    "clips_resampled": [sound(loud_between_samples)],
    "anti_phase": [sound(opposed_channels)],
    "gold_not_label": [change(7, **{"class": "bus"}, heard=None)],
    "unknown_class": [change(7, **{"class": "lake"}, heard=None)],
    "short_reference": [many_talks],
    "rate_tells_class": [telling_rates],
    "unfinished_build": [unfinished_build],
    "row_count": [lambda folder: save(folder, rows(folder)[:-1])],
}
#: What a plant brings with it: a row that is taken away is missing in the count, and so on.
ALSO = {
    "clips_resampled": {"wrong_rate", "clipped"},
    "anti_phase": {"multi_channel"},
    "rate_tells_class": {"wrong_rate"},
    "several_tracks": {"wrong_container"},
    "outside_root": {"row_count", "orphan_audio"},
    "truncated": {"wrong_container"},
    "duplicate_audio": {"orphan_audio"},
    "broken_metadata": {"row_count"},
    "bad_row": {"row_count", "orphan_audio"},
    "multi_channel": set(),
    "duplicate_option": {"gold_not_an_option", "gold_not_label", "true_distractor"},
    "duplicate_row": {"orphan_audio"},
    "row_count": {"orphan_audio"},
    "label_imbalance": {"option_order_bias"},
}


def as_other(path: Path) -> None:
    """Write the same sound as another row's, in another container."""
    samples, rate = soundfile.read(path.with_name("08.wav"), dtype="int16")
    write(path, samples, rate)
