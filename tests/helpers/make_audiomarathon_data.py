"""Makes AudioMarathon's ten tasks in their released layouts from a seed: same folders and keys, tiny distinct sounds.

For tests and benches of everything that is not listening. `build(root, rows)` writes `rows[task]` rows of each task;
`NOMINAL` are the released counts (6,567 in all).
"""

from __future__ import annotations

import json
import random
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

NOMINAL = {
    "librispeech": 204,
    "race": 820,
    "slue": 490,
    "tau": 1145,
    "gtzan": 120,
    "desed": 254,
    "vesus": 185,
    "had": 776,
    "vox_age": 959,
    "vox_gender": 1614,
}
SCENES = [
    "airport",
    "shopping_mall",
    "metro_station",
    "street_pedestrian",
    "public_square",
    "street_traffic",
    "tram",
    "bus",
    "metro",
    "park",
]
GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
EVENTS = ["Alarm bell ringing", "Blender", "Cat", "Dishes", "Dog", "Frying", "Running water", "Speech"]
EMOTIONS = {
    "Angry": "sounding cross",
    "Happy": "cheerful and pleased",
    "Sad": "low and downcast",
    "Fearful": "scared and tense",
    "Monotone": "flat, without feeling",
}
AGES = [
    "Young Adult (18-30)",
    "Early Career (31-40)",
    "Mid Career (41-50)",
    "Senior (51-70)",
    "Elderly (71+)",
]
WORDS = [
    "the",
    "river",
    "ran",
    "past",
    "an",
    "old",
    "mill",
    "where",
    "nobody",
    "had",
    "lived",
    "for",
    "years",
    "and",
    "children",
    "said",
    "it",
    "was",
    "haunted",
]


class Sounds:
    """Writes WAV files that all differ, without a library: each is a ramp with another step."""

    def __init__(self, seconds: float) -> None:
        self.frames = int(seconds * 16000)
        self.count = 0

    def __call__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.count += 1
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(self.count.to_bytes(4, "little") * (self.frames // 2))


def build(root: Path, rows: Mapping[str, int] | int = 6, seed: int = 0, seconds: float = 0.05) -> Path:
    """Write the layouts below `root` and return it; a whole number means that many rows of each task."""
    counts = dict.fromkeys(NOMINAL, rows) if isinstance(rows, int) else dict(rows)
    draw, sound = random.Random(seed), Sounds(seconds)
    for task, count in counts.items():
        BUILDERS[task](root, count, draw, sound)
    return root


def lettered(draw: random.Random, right: str, others: list[str], letters: str = "abcd") -> dict[str, str]:
    """Return choice_a… with `right` at a drawn place, and answer_gt."""
    texts = [right, *draw.sample([other for other in others if other != right], len(letters) - 1)]
    draw.shuffle(texts)
    row = {f"choice_{letter}": text for letter, text in zip(letters, texts, strict=True)}
    return {**row, "answer_gt": letters[texts.index(right)].upper()}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def librispeech(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    import soundfile

    for number in range(count):
        speaker, chapter = 1000 + number // 4, number // 2
        folder = root / "librispeech-long" / "test-clean" / str(speaker) / str(chapter)
        name = f"{speaker}-{chapter}-{number:04}"
        wav = folder / f"{name}.wav"
        sound(wav)
        soundfile.write(folder / f"{name}.flac", *soundfile.read(wav, dtype="int16"))
        wav.unlink()
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {' '.join(draw.choices(WORDS, k=40)).upper()}\n")


def race(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    rows = []
    for number in range(count):
        level = draw.choice(["high", "middle"])
        path = f"test/{level}/{number:04}.wav"
        sound(root / "race_audio" / path)
        options = [f"It was the {word} one" for word in draw.sample(WORDS, 4)]
        rows.append(
            {
                "audio_path": path,
                "question": f"Which {draw.choice(WORDS)} was it?",
                "options": options,
                "answer": draw.choice("ABCD"),
                "article_id": f"{level}{number // 4}.txt",
                "question_idx": number % 4,
            }
        )
    write_json(root / "race_audio" / "race_benchmark.json", rows)


def slue(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    rows = []
    for number in range(count):
        path = f"dev/mixed_concatenated_audio/mixed_concatenated_audio_{number:04}.wav"
        sound(root / "SLUE" / path)
        choices = lettered(draw, f"{number % 60 + 1} entities", [f"{n} entities" for n in range(61, 90)])
        question = "How many named entities are spoken of?"
        rows.append(
            {"path": path, "question": question, **choices, "task_name": "counting", "uniq_id": number}
        )
    write_json(root / "SLUE" / "merged_audio_data.json", rows)


def tau(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    folder, rows = root / "TAU" / "concatenated_resampled", []
    texts = {scene: f"{scene.replace('_', ' ').capitalize()} - {scene}" for scene in SCENES}
    for number in range(count):
        scene = SCENES[number % len(SCENES)]
        path = f"{scene}/{scene}_{number:04}_segment_1.wav"
        sound(folder / path)
        choices = lettered(draw, texts[scene], list(texts.values()))
        rows.append(
            {"path": path, "question": "Which scene?", **choices, "scene_label": scene, "uniq_id": number}
        )
    write_json(folder / "acoustic_scene_task_meta.json", rows)


def gtzan(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    folder, rows = root / "GTZAN" / "concatenated_audio", []
    texts = {genre: f"{genre.capitalize()} - {genre}" for genre in GENRES}
    for number in range(count):
        genre = GENRES[number % len(GENRES)]
        path = f"{genre}/{genre}_{number:04}.wav"
        sound(folder / "wav" / path)
        row = {
            "path": path,
            "question": "Which genre is heard?",
            **lettered(draw, texts[genre], list(texts.values())),
        }
        rows.append(
            {**row, "genre_label": genre, "task_name": "genre", "dataset_name": "GTZAN", "uniq_id": number}
        )
    write_json(folder / "music_genre_classification_meta.json", rows)


def desed(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    folder, rows = root / "DESED" / "DESED_dataset" / "concatenated_audio", []
    for number in range(count):
        path = f"clips/{number:04}.wav"
        sound(folder / path)
        event = draw.choice(EVENTS)
        row = lettered(draw, event, EVENTS)
        rows.append(
            {
                "path": path,
                "task_type": "presence",
                "question": "Which of these is heard?",
                "choices": {letter: row[f"choice_{letter.lower()}"] for letter in "ABCD"},
                "answer_gt": row["answer_gt"],
                "all_events": [event],
                "primary_event": event,
                "correct_event": event,
                "uniq_id": number,
            }
        )
    content = {"task_info": {"n": count}, "missing_files_info": {}, "tasks": rows}
    write_json(folder / "desed_sound_event_detection_task.json", content)


def vesus(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    rows = []
    texts = {name: f"{name} - {meaning}" for name, meaning in EMOTIONS.items()}
    for number in range(count):
        # seven rows of persons 2 and 10 are happy: those that the `paper` selection drops
        emotion = "Happy" if number < 7 else draw.choice([*EMOTIONS])
        person = (2, 10)[number % 2] if number < 7 else draw.choice([1, 3, 4, 5])
        path = f"{person}/person_{person}_{emotion}_sentences_{number:03}_2.0min.wav"
        sound(root / "VESUS" / path)
        choices = lettered(draw, texts[emotion], list(texts.values()))
        row = {"path": path, "question": "Which emotion does the voice carry?", **choices}
        rows.append({**row, "emotion_label": emotion, "person_id": person, "uniq_id": number})
    write_json(root / "VESUS" / "audio_emotion_dataset.json", rows)


def had(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    real = round(count * 315 / 776)
    for number in range(count):
        label = "real" if number < real else "fake"
        sound(root / "HAD" / "concatenated_audio" / label / f"HAD_train_{label}_{number}.wav")


def vox_age(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    rows = []
    for number in range(count):
        path = f"id{10000 + number // 2}/id{10000 + number // 2}_segment_{number % 2}.wav"
        sound(root / "VoxCeleb" / "concatenated_audio" / "wav" / path)
        choices = {f"choice_{letter}": text for letter, text in zip("abcde", AGES, strict=True)}
        row = {"path": path, "question": "Which age group fits the speaker?", **choices}
        speaker = f"id{10000 + number // 2}"
        rows.append(
            {**row, "answer_gt": draw.choice(AGES), "speaker_id_original": speaker, "uniq_id": number}
        )
    write_json(root / "VoxCeleb" / "concatenated_audio" / "age_classification_task_meta.json", rows)


def vox_gender(root: Path, count: int, draw: random.Random, sound: Sounds) -> None:
    rows = []
    female = round(count * 488 / 1614)
    for number in range(count):
        path = f"id{20000 + number // 2}/id{20000 + number // 2}_segment_{number % 2}.wav"
        sound(root / "VoxCeleb" / "concatenated_audio" / "wav" / path)
        row = {"path": path, "question": "Male or female?", "choice_a": "Male", "choice_b": "Female"}
        answer = "Female" if number < female else "Male"
        speaker = f"id{20000 + number // 2}"
        rows.append({**row, "answer_gt": answer, "speaker_id_original": speaker, "uniq_id": number})
    write_json(root / "VoxCeleb" / "concatenated_audio" / "gender_id_task_meta.json", rows)


BUILDERS: dict[str, Callable[[Path, int, random.Random, Sounds], None]] = {
    "librispeech": librispeech,
    "race": race,
    "slue": slue,
    "tau": tau,
    "gtzan": gtzan,
    "desed": desed,
    "vesus": vesus,
    "had": had,
    "vox_age": vox_age,
    "vox_gender": vox_gender,
}
