"""Makes miniatures of MMAU-Pro, VoiceBench, LAT-Bench and BLAB in their published layouts, with own words and synthetic sounds."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]  # ships no stubs
import pyarrow.parquet  # type: ignore[import-untyped]

from demo.miniature_sounds import sound


def mmau_pro(root: Path) -> None:
    """Write test.parquet and data.zip: two closed questions (the second on two clips), an open one, and two of form."""
    shared = {
        "length_type": "short",
        "perceptual_skills": ["pitch"],
        "reasoning_skills": [],
        "sub-cat": "tones",
    }
    shared |= {"transcription": None, "task_classification": None}
    kwargs = dict.fromkeys(("N", "N1", "N2", "keywords"))
    options = ["a low tone", "a high tone", "no tone"]
    kinds: list[dict[str, Any]] = [
        {"category": "sound", "question": "What is heard?", "choices": options, "answer": options[1]},
        {"category": "multi", "question": "Which differs?", "choices": options[:2], "answer": options[0]},
        {"category": "open", "question": "Describe it.", "choices": [], "answer": "A tone fades."},
        {
            "category": "instruction following",
            "question": "Name it in capitals.",
            "choices": [],
            "answer": None,
        }
        | {"task_identifier": "All Uppercase", "kwargs": kwargs},
        {"category": "instruction following", "question": "Two words.", "choices": [], "answer": None}
        | {"task_identifier": "Number Words (at least)", "kwargs": {**kwargs, "N": 2}},
    ]
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(root / "data.zip", "w") as archive:
        for number, kind in enumerate(kinds):
            names = [f"data/{number}_{clip}.wav" for clip in range(2 if kind["category"] == "multi" else 1)]
            for clip, name in enumerate(names):
                archive.writestr(name, sound(10 * number + clip))
            absent = {"task_identifier": None, "kwargs": None}
            rows.append({"id": str(number), "audio_path": names, **shared, **absent, **kind})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "test.parquet")


def voicebench(root: Path) -> None:
    """Write a folder for each configuration, named by README.md, with parquet that has the audio inside."""
    choice = {"reference": "B"}
    configurations: dict[str, list[dict[str, Any]]] = {
        "alpacaeval_full": [{"prompt": "Tell me of tea."}],
        "commoneval": [{"prompt": "Tell me of tea."}],
        "wildvoice": [{"prompt": "Tell me of tea."}],
        "sd-qa": [{"prompt": "Who made the tea?", "reference": "Ida Vale"}],
        "mmsu": [{"prompt": "Which drink? A. milk B. tea", **choice}] * 2,
        "openbookqa": [{"prompt": "Which drink? A. milk B. tea", **choice}] * 2,
        "ifeval": [
            {
                "key": 1,
                "prompt": "Speak of tea without commas in five words.",
                "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
                "kwargs": [
                    {"num_words": None, "relation": None},
                    {"num_words": 5.0, "relation": "at least"},
                ],
            },
            {
                "key": 2,
                "prompt": "Speak of tea without commas.",
                "instruction_id_list": ["punctuation:no_comma"],
                "kwargs": [{"num_words": None, "relation": None}],
            },
        ],
    }
    folder = root / "hlt-lab" / "voicebench"
    named = []
    for place, (name, rows) in enumerate(configurations.items()):
        split = "usa" if name == "sd-qa" else "test"
        (folder / name).mkdir(parents=True)
        heard = [
            {**row, "audio": {"bytes": sound(100 * place + number), "path": f"{number}.wav"}}
            for number, row in enumerate(rows)
        ]
        table = pyarrow.Table.from_pylist(heard)
        pyarrow.parquet.write_table(table, folder / name / f"{split}-00000-of-00001.parquet")
        named.append(
            f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {name}/{split}-*\n"
        )
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(named) + "---\n")


def lat_bench(root: Path) -> None:
    """Write a JSON line for each question of both languages, and the sounds that a user has fetched."""
    (root / "task" / "wav").mkdir(parents=True)
    for language, asked in (("EN", "Find the tone."), ("CN", "找出声音。")):
        rows = []
        for number, answer in enumerate(("[00:01 - 00:02]", "[10:00 - 10:30]")):
            name = f"Bench_{language}_{number}"
            (root / "task" / "wav" / f"{name}.wav").write_bytes(sound(number))
            question = {"role": "user", "content": f"<audio>{asked}"}
            rows.append({"messages": [question, {"role": "assistant", "content": answer}], "audios": [name]})
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (root / "task" / f"bench-{language}-TAG.jsonl").write_text(lines, encoding="utf-8")


def blab(root: Path) -> None:
    """Write a JSON list for each of six tasks, and the sounds that a user has fetched."""
    words = [{"word": "tea", "start": 0.1, "end": 0.3}, {"word": "Cup", "start": 0.5, "end": 0.9}]
    marked = [{**words[0], "word": ""}, {**words[1], "word": "#Ida"}]
    files: dict[str, list[Any]] = {
        "speaker_number_estimation": ["3", "[2, 4]"],
        "entire_duration": [2, 3],
        "word_localization": [words, words[:1]],
        "named_entity_localization": [
            {"entities": [{"entity": "Ida", "start": 0.5, "end": 0.9}], "word_timestamp": marked}
        ],
        "advertisement_localization": [
            {"ads_segment": [{"text": "Buy tea", "start": 0.5, "end": 0.9}], "word_timestamp": marked}
        ],
        "event_duration": ["12", "2"],
    }
    for name, targets in files.items():
        rows = [
            {"video_url": "https://example.org/v", "audio": f"{name}_{n}.wav", "question": "How much?"}
            | {"answer_type": ["seconds", "minutes"][n], "groundtruth": target}
            for n, target in enumerate(targets)
        ]
        for number, row in enumerate(rows):
            (root / str(row["audio"])).write_bytes(sound(number))
        (root / f"{name}.json").write_text(json.dumps(rows))
