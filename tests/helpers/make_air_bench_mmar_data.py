"""Makes AIR-Bench, MMAR and MMAU in their released layouts from a seed, with tiny distinct sounds."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from helpers.make_audiomarathon_data import Sounds

#: task_name, dataset_name, extension on disk, options
FOUNDATION = (
    ("Speech_Grounding", "librispeech", "wav", 4),
    ("Spoken_Language_Identification", "covost2", "mp3", 4),
    ("Speaker_Gender_Recognition", "common_voice_13_en", "mp3", 2),
    ("Speaker_Gender_Recognition", "meld", "wav", 2),
    ("Speaker_Emotion_Recontion", "iemocap", "wav", 4),
    ("Speaker_Emotion_Recontion", "meld", "wav", 4),
    ("Speaker_Age_Prediction", "common_voice_13.0_en", "mp3", 4),
    ("Speech_Entity_Reconition", "slurp", "wav", 4),
    ("Speaker_Intent_Classification", "slurp", "wav", 4),
    ("Speaker_Number_Verification", "voxceleb1", "wav", 4),
    ("Synthesized_Voice_Detection", "fake_or_real", "wav", 2),
    ("Audio_Grounding", "AudioGrounding", "flac", 4),
    ("vocal_sound_classification", "VocalSound", "wav", 4),
    ("Acoustic_Scene_Classification", "CochlScene", "wav", 4),
    ("Acoustic_Scene_Classification", "TUT2017", "wav", 4),
    ("Sound_AQA", "avqa", "wav", 4),
    ("Sound_AQA", "clothoaqa", "wav", 4),
    ("Music_Instruments_Classfication", "nsynth", "wav", 4),
    ("Music_Instruments_Classfication", "MTJ-Jamendo", "mp3", 4),
    ("Music_Genre_Recognition", "fma", "mp3", 4),
    ("Music_Genre_Recognition", "MTJ-Jamendo", "mp3", 4),
    ("Music_Midi_Pitch_Analysis", "nsynth", "wav", 4),
    ("Music_Midi_Velocity_Analysis", "nsynth", "wav", 4),
    ("Music_AQA", "music_avqa", "wav", 4),
    ("Music_Mood_Recognition", "MTJ-Jamendo", "mp3", 4),
)
CHAT = (
    ("speech_QA", "common_voice_en"),
    ("speech_QA", "iemocap"),
    ("speech_dialogue_QA", "fisher"),
    ("speech_dialogue_QA", "spokenwoz"),
    ("sound_QA", "clotho"),
    ("sound_generation_QA", "clotho"),
    ("music_QA", "musiccaps"),
    ("music_generation_analysis_QA", "musiccaps"),
    ("speech_and_sound_QA", "audiocaps_cv"),
    ("speech_and_music_QA", "musiccaps_cv"),
)
THINGS = ["kettle", "tractor", "pigeon", "lawn mower", "door bell", "zip", "Rain on a roof", "C", "D"]
MODALITIES = ["sound", "music", "speech", "mix-sound-speech"]
LAYERS = ["Signal Layer", "Perception Layer", "Semantic Layer", "Cultural Layer"]


class Clips(Sounds):
    """Writes sounds as `Sounds` does, in the container of the path's suffix."""

    def __call__(self, path: Path) -> None:
        if path.suffix == ".wav":
            super().__call__(path)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self.count += 1
        tone = 0.2 * np.sin(np.arange(self.frames) * 0.01 * self.count)
        soundfile.write(path, tone, 16000, format=path.suffix[1:].upper())


def foundation(root: Path, rows: int = 2, seed: int = 0, seconds: float = 0.1) -> list[dict[str, Any]]:
    """Write `rows` rows of each of the 25 subsets, shuffled into one file; return them."""
    draw, clip = random.Random(seed), Clips(seconds)
    meta = []
    for task, dataset, suffix, options in FOUNDATION:
        for number in range(rows):
            clip(root / "Foundation" / f"{task}_{dataset}" / f"clip_{number}.{suffix}")
            texts = draw.sample(THINGS, options) if options == 4 else ["male", "female"]
            row = dict(zip(("choice_a", "choice_b", "choice_c", "choice_d"), texts, strict=False))
            named = "wav" if suffix == "flac" else suffix
            row |= {
                "path": f"clip_{number}.{named}",
                "question": "Which is heard?",
                "answer_gt": draw.choice(texts),
            }
            meta.append({**row, "task_name": task, "dataset_name": dataset})
    draw.shuffle(meta)
    for number, row in enumerate(meta):
        row["uniq_id"] = number
    write(root / "Foundation" / "Foundation_meta.json", meta)
    return meta


def chat(root: Path, rows: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    """Write `rows` rows of each of the ten folders; return them."""
    draw, clip = random.Random(seed), Clips(0.1)
    meta = []
    for task, dataset in CHAT:
        for number in range(rows):
            clip(root / "Chat" / f"{task}_{dataset}" / f"{number}.wav")
            thing = draw.choice(THINGS)
            meta.append(
                {
                    "path": f"{number}.wav",
                    "question": f"What is heard in {task} {dataset} {number}?",
                    "answer_gt": f"A {thing} is heard.",
                    "meta_info": f"{{'event': '{thing}'}}",
                    "task_name": task,
                    "dataset_name": dataset,
                    "uniq_id": len(meta),
                }
            )
    write(root / "Chat" / "Chat_meta.json", meta)
    return meta


def mmar(root: Path, rows: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    """Write `MMAR-meta.jsonl` of 2026 without a newline at its end, and `audio/`; return the rows."""
    draw, clip = random.Random(seed), Clips(0.1)
    meta = []
    for number in range(rows):
        name = f"vid{number:03}_00-00-10_00-00-20"
        clip(root / "audio" / f"{name}.wav")
        choices = draw.sample(THINGS, draw.choice([2, 3, 4, 4, 4, 5, 6]))
        meta.append(
            {
                "id": name,
                "audio_path": f"./audio/{name}.wav",
                "question": f"Which is heard\nin clip {number}?",
                "choices": choices,
                "answer": draw.choice(choices),
                "modality": MODALITIES[number % len(MODALITIES)],
                "category": LAYERS[number % len(LAYERS)],
                "sub-category": draw.choice(["Content Analysis", "Temporal Analysis"]),
                "language": draw.choice([None, "en", "zh|en"]),
                "source": "youtube",
                "url": "",
                "timestamp": "00:00:10,00:00:20",
                "thinking": "It rattles, so it must be that.",
                "cue": [],
                "rubric": [
                    {"name": f"point {n}", "scoring_point": f"names {n}", "note": "", "choices": [0, 1]}
                    for n in range(5)
                ],
            }
        )
    root.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in meta)
    (root / "MMAR-meta.jsonl").write_text(text, encoding="utf-8")
    return meta


def mmau(root: Path, rows: int = 9, seed: int = 0) -> list[dict[str, Any]]:
    """Write `mmau-test-mini.json` and `test-mini-audios/`; one category is a list, as released. Return the rows."""
    draw, clip = random.Random(seed), Clips(0.1)
    meta = []
    for number in range(rows):
        clip(root / "test-mini-audios" / f"{number}.wav")
        choices = draw.sample(THINGS, draw.choice([2, 4, 4, 5, 8]))
        meta.append(
            {
                "id": f"id-{number}",
                "audio_id": f"./test-mini-audios/{number}.wav",
                "question": f"Which is heard in clip {number}?",
                "choices": choices,
                "answer": draw.choice(choices),
                "dataset": "synthetic",
                "task": ["sound", "music", "speech"][number % 3],
                "split": "test-mini",
                "category": ["Reasoning", "Perception"] if number == 1 else "Reasoning",
                "sub-category": draw.choice(["Temporal Reasoning", "Acoustic Source"]),
                "difficulty": draw.choice(["easy", "medium", "hard"]),
            }
        )
    write(root / "mmau-test-mini.json", meta)
    return meta


def write(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
