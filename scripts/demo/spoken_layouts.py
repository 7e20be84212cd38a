"""Makes miniatures of spoken benchmarks in their published layouts, with own words and synthetic sounds.

Each is written to a folder named as the data set on the hub, below the folder in which runs are started.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]  # ships no stubs
import pyarrow.parquet  # type: ignore[import-untyped]

from demo.miniature_sounds import sound

#: Three questions of each kind of Big Bench Audio: the official answers.
ANSWERS = {
    "formal_fallacies": ["valid", "invalid", "valid"],
    "navigate": ["Yes", "No", "No"],
    "object_counting": ["7", "12", "3"],
    "web_of_lies": ["No", "Yes", "Yes"],
}


def mmsu(root: Path) -> None:
    """Write MMSU: parquet of one split with the audio inside; the last of three rows has two options."""
    rows: list[dict[str, Any]] = []
    for number, gold in enumerate("BDA"):
        audio = {"bytes": sound(number), "path": f"tone_{number}.wav"}
        texts = {f"choice_{letter}": f"tone {number}{letter}" for letter in "abcd"[: 4 if number < 2 else 2]}
        rows.append(
            {
                "id": f"tone_{number}",
                "task_name": "tone_identification",
                "question": f"Which tone is number {number}?",
                **dict.fromkeys(("choice_c", "choice_d")),
                **texts,
                "answer_gt": texts[f"choice_{gold.lower()}"],
                "category": "Perception",
                "sub-category": "Linguistics",
                "sub-sub-category": "Phonology",
                "linguistics_sub_discipline": "Phonetics",
                "audio": audio,
            }
        )
    folder = root / "ddwang2000" / "MMSU" / "data"
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")


def big_bench_audio(root: Path) -> None:
    """Write Big Bench Audio: a folder of MP3 files and one JSON line for each."""
    folder = root / "ArtificialAnalysis" / "big_bench_audio"
    (folder / "data").mkdir(parents=True)
    lines = []
    for number, (kind, answer) in enumerate(
        (kind, one) for kind, all_of in ANSWERS.items() for one in all_of
    ):
        name = f"data/question_{number}.mp3"
        (folder / name).write_bytes(sound(50 + number, "MP3"))
        lines.append({"category": kind, "official_answer": answer, "file_name": name, "id": number})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def voicegiraffe(root: Path) -> None:
    """Write VoiceGiraffe: JSON lines whose questions hold their options, in two languages, and a recording for each."""
    rows = [
        ("How often does the bell ring before the speaker stops?\n{}", "twice", "B", "State", "T2", "英文"),
        ("Which voice says good night?\n{}", "the low voice", "A", "Pitch", "T1", "英文"),
        ("铃声之后说话的人的语调怎样？\n{}", "一直很低", "D", "Pitch", "T1", "中文"),
    ]
    (root / "audios").mkdir()
    lines = []
    for number, (question, right, gold, kind, level, language) in enumerate(rows):
        others = iter(f"{right} ({n})" for n in range(1, 4))
        texts = [right if letter == gold else next(others) for letter in "ABCD"]
        options = "  \n".join(f"{letter}: {text}" for letter, text in zip("ABCD", texts, strict=True))
        (root / "audios" / f"id{number}.wav").write_bytes(sound(number))
        kinds = {"qa_type": kind, "qa_level": level, "language_type": language}
        row = {"question": question.format(options), "answer": gold, "audio": f"id{number}.wav", **kinds}
        lines.append(json.dumps(row, ensure_ascii=False))
    text = "\n".join(lines) + "\n"
    (root / "benchmark_1500.jsonl").write_text(text, encoding="utf-8")
