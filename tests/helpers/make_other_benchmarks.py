"""Makes small data sets in the layouts of further benchmarks, with own words and synthetic sounds.

AudioMarathon, AIR-Bench, MMAR and MMAU as released, MMAU as the hub has it (parquet with the audio inside, fields as JSON text, options with letters), MMSU (JSON lines with
four option columns and an audio folder), and BLAB (stretches of long recordings).
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow  # type: ignore[import-untyped]  # ships no stubs
import pyarrow.parquet  # type: ignore[import-untyped]
import soundfile

from helpers import make_air_bench_mmar_data, make_audiomarathon_data

RATE = 8000
METRICS = """\
generation_kwargs: {max_new_tokens: 8}
filter_list:
  - {name: strict, filter: [{function: choice}]}
metric_list:
  - {metric: accuracy}
"""
MMAU_HUB = """\
dataset_path: parquet
dataset_kwargs: {data_files: "data/test_mini-*.parquet"}
process_docs:
  - {json_fields: other_attributes}
  - {strip_prefix: {columns: [choices, answer], prefix: "({letter}) "}}
doc_to_audio: context
doc_to_text: "{{ instruction }}\\n{{ options }}"
doc_to_choice: choices
doc_to_target: answer
gold_is: text
choice_layout: "(A)"
breakdown: [task, difficulty]
"""
MMSU = """\
dataset_path: jsonl
dataset_kwargs: {data_files: question/mmsu.jsonl}
doc_to_audio: audio_path
doc_to_text: "{{ question }}\\n{{ options }}"
choice_columns: [choice_a, choice_b, choice_c, choice_d]
choice_layout: "A."
doc_to_target: answer_gt
gold_is: text
breakdown: category
"""
BLAB = """\
dataset_path: json
dataset_kwargs: {data_files: ads.json, field: data}
doc_to_audio: {path: "{{ video_id }}.flac", start: begin, stop: end}
doc_to_text: question
doc_to_target: count
generation_kwargs: {max_new_tokens: 8}
metric_list:
  - {metric: exact_match}
"""


def noise(seed: int, seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.4, 0.4, round(RATE * seconds)).astype(np.float32)


def sounding(root: Path) -> None:
    """Replace every audio file below a folder by noise of its own."""
    for seed, path in enumerate(sorted(root.rglob("*"))):
        if path.suffix in (".wav", ".mp3", ".flac"):
            soundfile.write(path, noise(seed), RATE, format=path.suffix[1:].upper())


def air_bench(root: Path) -> None:
    """Write AIR-Bench's foundation rows: one file of rows for 19 tasks."""
    make_air_bench_mmar_data.foundation(root)
    sounding(root)


def air_bench_chat(root: Path) -> None:
    """Write AIR-Bench's chat rows: open questions in ten folders."""
    make_air_bench_mmar_data.chat(root)
    sounding(root)


def audiomarathon(root: Path) -> None:
    """Write three rows of each of AudioMarathon's ten tasks."""
    make_audiomarathon_data.build(root, rows=3)
    sounding(root)


def mmar(root: Path) -> None:
    """Write MMAR as its repository has it."""
    make_air_bench_mmar_data.mmar(root)
    sounding(root)


def mmau(root: Path) -> None:
    """Write MMAU test-mini as its repository has it."""
    make_air_bench_mmar_data.mmau(root)
    sounding(root)


def mmau_hub(root: Path, changes: Mapping[int, Mapping[str, Any]] = {}, rows: int = 9) -> None:
    """Write MMAU as the hub has it, in two shards; `changes` replaces columns of rows."""
    (root / "data").mkdir(parents=True)
    made = []
    for number in range(rows):
        sound = io.BytesIO()
        soundfile.write(sound, noise(number), RATE, format="WAV")
        options = [f"({letter}) thing {number}{letter}" for letter in "ABCD"[: 2 + number % 3]]
        more = {"id": f"id-{number}", "task": "sound", "difficulty": "easy", "sub-category": "Counting"}
        row = {
            "context": {"bytes": sound.getvalue(), "path": f"{number}.wav"},
            "instruction": f"What is heard in number {number}?",
            "choices": options,
            "answer": options[number % len(options)],
            "other_attributes": json.dumps(more),
        }
        made.append({**row, **changes.get(number, {})})
    for shard, part in enumerate((made[: rows // 2], made[rows // 2 :])):
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(part), root / "data" / f"test_mini-0000{shard}-of-00002.parquet"
        )
    (root / "mmau_hub.yaml").write_text(MMAU_HUB + METRICS)


def mmau_parquet(root: Path) -> None:
    """Write MMAU as its own hub repository has it: the same rows in one file."""
    with tempfile.TemporaryDirectory() as folder:
        mmau_hub(Path(folder))
        shards = [pyarrow.parquet.read_table(path) for path in sorted(Path(folder, "data").iterdir())]
    root.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.concat_tables(shards), root / "test_mini.parquet")


def mmsu(root: Path, rows: int = 12) -> None:
    """Write MMSU's layout."""
    (root / "question").mkdir(parents=True)
    lines = []
    for number in range(rows):
        path = root / "question" / "audio" / f"task_{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise(100 + number), RATE)
        texts = {f"choice_{letter}": f"sense {number}{letter}" for letter in "abcd"}
        row = {"id": f"q{number}", "category": "Perception", "audio_path": f"audio/task_{number}.wav"}
        lines.append(
            {**row, "question": f"What is meant in {number}?", **texts, "answer_gt": texts["choice_b"]}
        )
    (root / "question" / "mmsu.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "mmsu.yaml").write_text(MMSU + METRICS)


def blab(root: Path, rows: int = 6) -> None:
    """Write BLAB's layout: several questions on stretches of two recordings, as text."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        soundfile.write(root / f"talk{number}.flac", noise(200 + number, 30), RATE)
    made = [
        {
            "video_id": f"talk{number % 2}",
            "question": f"How many advertisements are there in part {number}?",
            "begin": f"{number * 2}",
            "end": f"{number * 2 + 10.5}",
            "count": str(number),
        }
        for number in range(rows)
    ]
    (root / "ads.json").write_text(json.dumps({"data": made}))
    (root / "blab.yaml").write_text(BLAB)
