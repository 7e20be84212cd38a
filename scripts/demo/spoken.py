"""Builds the three tasks on the content of speech: librispeech (ASR), race (comprehension), slue (named entities)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from demo.kit import Kit, lettered
from demo.origin import Recording, joined
from demo.sources import asterisk_prompts, librivox_sentences
from demo.voices import Voice
from demo.waves import join, seconds, silence

TEXTS = Path(__file__).resolve().parent / "texts"
FEMALE, MALE = Voice(voice="en-us+f4", pitch=60, flite="slt"), Voice(voice="en-us+m3", pitch=40, flite="rms")
ASR_CLIPS, ASR_SECONDS, ASR_GAP = 8, 95.0, 0.6
#: Prompts of fewer words are single menu words that no recogniser is meant for; HAD takes them.
ASR_WORDS = 5


def texts(name: str) -> Any:
    return json.loads((TEXTS / f"{name}.json").read_text(encoding="utf-8"))


# -- librispeech ----------------------------------------------------------------------------------------------


def librispeech(kit: Kit) -> None:
    """Join real announcements and sentences to clips of 95 s; without recordings, use synthetic passages."""
    prompts = [prompt for prompt in asterisk_prompts(kit.shelf) if len(prompt.text.split()) >= ASR_WORDS]
    order = kit.random.permutation(len(prompts))
    pool = librivox_sentences(kit.shelf) + [prompts[i] for i in order] if prompts else passages_read(kit)
    folder = "librispeech-long/test-clean/9001/1"
    lines: list[str] = []
    for number in range(ASR_CLIPS):
        said = take(pool, ASR_SECONDS)
        wave = join([recording.wave for recording in said], silence(ASR_GAP))
        name = f"9001-1-{number:04d}"
        origin = joined([recording.origin for recording in said])
        kit.clip(f"{folder}/{name}.flac", Recording(wave, origin))
        lines.append(f"{name} {' '.join(transcript(recording.text) for recording in said)}\n")
    (kit.out / folder / "9001-1.trans.txt").write_text("".join(lines), encoding="utf-8")


def passages_read(kit: Kit) -> list[Recording]:
    """Return what is transcribed if there are no recordings: race's passages, each read by two synthetic voices."""
    passages = texts("passages")
    return [kit.speaker.say(passage["text"], voice) for voice in (FEMALE, MALE) for passage in passages]


def take(pool: list[Recording], length: float) -> list[Recording]:
    """Take recordings off the front of the pool until they last `length` seconds with their gaps."""
    taken: list[Recording] = []
    total = 0.0
    while total < length:
        taken.append(pool.pop(0))
        total += seconds(taken[-1].wave) + ASR_GAP
    return taken


def transcript(text: str) -> str:
    """Return the text in LibriSpeech's form: upper case, no punctuation, digits as they are."""
    return re.sub(r"\s+", " ", re.sub(r"[^A-Z0-9' ]", " ", text.upper().replace("...", " "))).strip()


# -- race -----------------------------------------------------------------------------------------------------


def race(kit: Kit) -> None:
    """Write five passages with four questions each, and the same questions with the recordings exchanged."""
    rows: list[dict[str, Any]] = []
    for article, passage in enumerate(texts("passages"), start=1):
        path = f"{passage['level']}/{article}.wav"
        spoken = kit.speaker.say(passage["text"], (FEMALE, MALE)[article % 2])
        origin = kit.clip(f"race_audio/{path}", spoken)
        for index, asked in enumerate(passage["questions"]):
            right, *wrong = asked["options"]
            options, place = kit.shuffled(right, wrong)
            rows.append(
                {
                    "audio_path": path,
                    "question": asked["question"],
                    "options": options,
                    "answer": "ABCD"[place],
                    "article_id": article,
                    "question_idx": index,
                    **origin,
                }
            )
    kit.metadata("race_audio/race_benchmark.json", rows)
    # a control: who answers these as well as the real ones does not listen
    paths = list(dict.fromkeys(row["audio_path"] for row in rows))
    following = dict(zip(paths, paths[1:] + paths[:1], strict=True))
    swapped = [{**row, "audio_path": following[row["audio_path"]]} for row in rows]
    kit.metadata("race_audio/race_benchmark_swapped.json", swapped)


# -- slue -----------------------------------------------------------------------------------------------------


def slue(kit: Kit) -> None:
    """Write reports full of names, with two questions each: how many names there are, and which place is named."""
    words = texts("sentences")
    rows: list[dict[str, Any]] = []
    for number in range(1, 7):
        said, entities = report(kit, words, sentences=20)
        folder = "dev/mixed_concatenated_audio"
        path = f"{folder}/mixed_concatenated_audio_{number:04d}.wav"
        spoken = kit.speaker.say(said, (FEMALE, MALE)[number % 2])
        origin = kit.clip(f"SLUE/{path}", spoken)
        for kind in ("count", "place"):
            question, options, place = entity_question(kit, words, entities, kind)
            rows.append(
                {
                    "path": path,
                    "question": question,
                    **lettered(options),
                    "answer_gt": "ABCD"[place],
                    "task_name": f"named_entity_{kind}",
                    "dataset_name": "mini",
                    "entity_count": len(entities),
                    "entity_types": sorted({kind for kind, _ in entities}),
                    "source_count": 1,
                    "audio_duration_info": round(seconds(spoken.wave), 3),
                    "source_folder": folder,
                    "source_file": path.rpartition("/")[2],
                    "uniq_id": len(rows),
                    **origin,
                }
            )
    kit.metadata("SLUE/merged_audio_data.json", rows)


def report(kit: Kit, words: dict[str, list[str]], sentences: int) -> tuple[str, list[tuple[str, str]]]:
    """Return random sentences, and the (type, name) of each entity in spoken order."""
    # half of the places stay out of a report: a question offers them as wrong options
    places = [words["place"][i] for i in kit.random.permutation(len(words["place"]))[:6]]
    names = {**words, "place": places}
    entities: list[tuple[str, str]] = []

    def named(match: re.Match[str]) -> str:
        kind = match[1]
        entities.append((kind, names[kind][int(kit.random.integers(len(names[kind])))]))
        return entities[-1][1]

    templates = words["report_templates"]
    chosen = [templates[int(i)] for i in kit.random.integers(len(templates), size=sentences)]
    said = " ".join(re.sub(r"\{(\w+)\}", named, template) for template in chosen)
    return re.sub(r"(^|[.] )(\w)", lambda match: match[1] + match[2].upper(), said), entities


def entity_question(
    kit: Kit, words: dict[str, list[str]], entities: list[tuple[str, str]], kind: str
) -> tuple[str, list[str], int]:
    """Return question, options and the position of the right option."""
    if kind == "count":
        count = len(entities)
        wrong = [count + offset for offset in kit.random.choice([-9, -6, -3, 3, 6, 9], 3, replace=False)]
        options, place = kit.shuffled(f"{count} entities", [f"{n} entities" for n in wrong])
        return "How many named entities are spoken in this recording, repeated ones included?", options, place
    said = [name for type_, name in entities if type_ == "place"]
    unsaid = [name for name in words["place"] if name not in said]
    options, place = kit.shuffled(said[0], unsaid[:3])
    return "Which of these places is named in this recording?", options, place
