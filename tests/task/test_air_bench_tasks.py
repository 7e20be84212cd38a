"""Tests the AIR-Bench, MMAR and MMAU tasks on data in the released layout: rows, audio, prompts and averages."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data
from marathon_eval import simple_evaluate
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import MetricValue, TaskResult
from marathon_eval.scoring.released import air_bench, mmar, mmau
from marathon_eval.task.group import aggregate_group
from marathon_eval.task.task import Group, Task, load_task

PUBLISHED = Path(__file__).resolve().parents[1] / "published"
REGISTRY = Registry()
#: the paper's Table 3: speech, sound, music, average
TABLE_3 = {
    "SALMONN": (37.8, 33.0, 37.1, 36.0),
    "Qwen-Audio": (58.7, 60.2, 44.8, 54.5),
    "Qwen-Audio-Turbo": (63.4, 61.0, 48.9, 57.8),
    "BLSP": (36.6, 31.4, 26.1, 31.4),
    "Pandagpt": (39.0, 43.6, 38.1, 40.2),
    "SpeechGPT": (34.3, 27.5, 28.1, 30.0),
    "Next-gpt": (33.6, 32.2, 28.9, 31.5),
}


#: published chat averages (4.13 and 1.01) that are not the mean of their own row's columns; this is
NOT_THE_MEAN = {"Next-gpt": 3.93, "Macaw-LLM": 0.97}


def loaded(name: str) -> Task | Group:
    return load_task(REGISTRY.task_path(name), REGISTRY.task_path)


def task(name: str) -> Task:
    found = loaded(name)
    assert isinstance(found, Task)
    return found


def group(name: str) -> Group:
    found = loaded(name)
    assert isinstance(found, Group)
    return found


@pytest.fixture(scope="module")
def air(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("air")
    make_air_bench_mmar_data.foundation(root, rows=2)
    make_air_bench_mmar_data.chat(root, rows=1)
    return root


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def test_foundation_is_19_tasks_in_three_groups() -> None:
    assert len(group("air_bench_foundation").members) == 19
    sizes = [len(group(f"air_bench_{name}").members) for name in ("speech", "sound", "music")]
    assert sizes == [9, 4, 6]
    together = [name for part in ("speech", "sound", "music") for name in group(f"air_bench_{part}").members]
    assert together == group("air_bench_foundation").members


def test_every_row_is_in_exactly_one_task(air: Path) -> None:
    found: list[int] = []
    for name in group("air_bench_foundation").members:
        docs = task(name).docs(str(air))
        assert docs.n_meta == docs.n_loaded == len(docs.docs)
        assert [doc.error for doc in docs.docs] == [None] * len(docs.docs)
        found += [doc.doc_id for doc in docs.docs]
    assert sorted(found) == list(range(len(rows_of(air / "Foundation" / "Foundation_meta.json"))))


def test_two_datasets_of_a_task_are_pooled(air: Path) -> None:
    docs = task("air_bench_emotion_recognition").docs(str(air)).docs
    assert {doc.fields["dataset_name"] for doc in docs} == {"iemocap", "meld"}
    folders = {Path(doc.audio_names[0]).parent.name for doc in docs}
    assert folders == {"Speaker_Emotion_Recontion_iemocap", "Speaker_Emotion_Recontion_meld"}


def test_audio_grounding_is_flac_on_disk_and_wav_in_the_metadata(air: Path) -> None:
    doc = task("air_bench_audio_grounding").docs(str(air)).docs[0]
    assert doc.fields["path"].endswith(".wav")
    assert doc.audio[0].path.endswith(".flac")
    assert doc.audio[0].seconds == pytest.approx(0.1, abs=0.01)


def test_missing_audio_is_an_error_row_and_counted(tmp_path: Path) -> None:
    make_air_bench_mmar_data.foundation(tmp_path)
    (tmp_path / "Foundation" / "Sound_AQA_avqa" / "clip_0.wav").unlink()
    result = simple_evaluate(
        "dummy", ["air_bench_sound_aqa"], {"answer": "A"}, data_dir=str(tmp_path), no_cache=True
    ).tasks["air_bench_sound_aqa"]
    assert (result.n_meta, result.n_loaded, result.n_scored, result.n_errors) == (4, 4, 3, 1)


def test_two_options_are_asked_in_the_official_layout_and_clean(air: Path) -> None:
    official, clean = (task(f"air_bench_speaker_gender{suffix}") for suffix in ("", "_clean"))
    doc = official.docs(str(air)).docs[0]
    lines = official.requests(doc)[0].prompt.splitlines()
    a, b = doc.choices
    assert lines[1:] == [doc.fields["question"], f"A. {a}", f"B. {b}", "C. None", "D. None"]
    plain = clean.requests(clean.docs(str(air)).docs[0])[0].prompt
    assert "None" not in plain
    assert plain.splitlines()[0].endswith("Reply with A or B only.")
    assert plain.splitlines()[1:] == [doc.fields["question"], f"A. {a}", f"B. {b}"]


def test_null_options_are_as_absent_ones(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.foundation(tmp_path, rows=1)
    for row in rows:
        row.setdefault("choice_c", None)
        row.setdefault("choice_d", None)
    make_air_bench_mmar_data.write(tmp_path / "Foundation" / "Foundation_meta.json", rows)
    doc = task("air_bench_speaker_gender").docs(str(tmp_path)).docs[0]
    assert len(doc.choices) == 2


def test_text_in_the_data_is_never_a_template(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.foundation(tmp_path, rows=1)
    rows[0] |= {"question": "{{ answer_gt }} {% raw %}", "task_name": "Sound_AQA", "dataset_name": "avqa"}
    make_air_bench_mmar_data.write(tmp_path / "Foundation" / "Foundation_meta.json", rows)
    sound = task("air_bench_sound_aqa")
    asked = sound.requests(sound.docs(str(tmp_path)).docs[0])[0].prompt
    assert "{{ answer_gt }} {% raw %}" in asked


@pytest.mark.parametrize(
    "answer", ["A", "the answer is C.", "Certainly! B", "d", "**B**", "male", "None", "BBC"]
)
def test_paper_gives_the_scripts_verdict_row_by_row(air: Path, answer: str) -> None:
    result = simple_evaluate(
        "dummy", ["air_bench_foundation"], {"answer": answer}, data_dir=str(air), no_cache=True
    )
    wanted = {"correct": 1.0, "wrong": 0.0, "dropped": None}
    meta = rows_of(air / "Foundation" / "Foundation_meta.json")
    for samples in result.samples.values():
        for sample in samples:
            verdict = air_bench.air_bench_verdict({**meta[sample.doc_id], "response": answer})
            assert sample.readings["paper"].scores["accuracy"] == wanted[verdict]


def test_strict_counts_unread_rows_and_paper_leaves_them_out(air: Path) -> None:
    found = simple_evaluate(
        "dummy", ["air_bench_vocal_sound"], {"answer": "I cannot tell"}, data_dir=str(air), no_cache=True
    ).tasks["air_bench_vocal_sound"]
    assert found.readings["paper"]["accuracy"].value is None
    assert found.readings["strict"]["accuracy"].value == 0.0
    assert found.n_unanswered == {"paper": 2, "strict": 2}
    assert "aligned" not in found.readings


@pytest.mark.parametrize(
    ("name", "make", "verdict_of", "key"),
    [
        ("mmar", make_air_bench_mmar_data.mmar, mmar.mmar_verdict, mmar.MMAR_PREDICTION_KEYS[0]),
        ("mmau", make_air_bench_mmar_data.mmau, mmau.mmau_verdict, mmau.MMAU_PREDICTION_KEYS[0]),
    ],
)
def test_word_inclusion_tasks(tmp_path: Path, name: str, make: Any, verdict_of: Any, key: str) -> None:
    rows = make(tmp_path)
    answer = "It is not the pigeon, C"
    result = simple_evaluate("dummy", [name], {"answer": answer}, data_dir=str(tmp_path), no_cache=True)
    verdicts = [verdict_of({**row, key: answer}) for row in rows]
    assert [s.readings["paper"].scores["accuracy"] for s in result.samples[name]] == [
        float(verdict == "right") for verdict in verdicts
    ]
    found = result.tasks[name]
    assert found.coverage == 1.0
    assert found.readings["paper"]["accuracy"].value == verdicts.count("right") / len(rows)
    assert set(found.breakdown) == set(task(name).config.breakdown or ())
    assert result.manifests[name]["metadata_version"] == "unknown"


def test_options_without_letters_are_read_as_texts(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path, rows=1)
    rows[0] |= {"choices": ["D", "C", "C#", "Db"], "answer": "D"}
    (tmp_path / "MMAR-meta.jsonl").write_text(json.dumps(rows[0]))
    found = simple_evaluate("dummy", ["mmar"], {"answer": "D"}, data_dir=str(tmp_path), no_cache=True)
    assert found.samples["mmar"][0].readings["strict"].answer == "D"
    assert found.samples["mmar"][0].target == "D"
    assert found.tasks["mmar"].readings["strict"]["accuracy"].value == 1.0


def test_a_gold_text_that_is_no_option_leaves_strict_and_keeps_the_papers_verdict(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path, rows=2)
    rows[0] |= {"choices": ["Piano", "Guitar"], "answer": "Violin"}
    (tmp_path / "MMAR-meta.json").write_text(json.dumps(rows))
    found = simple_evaluate(
        "dummy", ["mmar_2025"], {"answer": "a violin"}, data_dir=str(tmp_path), no_cache=True
    )
    scores = found.samples["mmar_2025"][0].readings
    assert scores["paper"].scores["accuracy"] == 1.0
    assert scores["strict"].scores["accuracy"] is None


def test_a_copied_task_finds_its_base(tmp_path: Path) -> None:
    make_air_bench_mmar_data.foundation(tmp_path / "data")
    (tmp_path / "tasks").mkdir()
    text = REGISTRY.task_path("air_bench_sound_aqa").read_text()
    (tmp_path / "tasks" / "mine.yaml").write_text(text.replace("task: air_bench_sound_aqa", "task: mine"))
    found = simple_evaluate(
        "dummy",
        ["mine"],
        data_dir=str(tmp_path / "data"),
        include_path=(str(tmp_path / "tasks"),),
        no_cache=True,
    )
    assert found.tasks["mine"].n_scored == 4


def test_the_version_of_a_known_metadata_file_is_reported(tmp_path: Path) -> None:
    import hashlib

    make_air_bench_mmar_data.mmar(tmp_path, rows=1)
    digest = hashlib.sha256((tmp_path / "MMAR-meta.jsonl").read_bytes()).hexdigest()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(
        f"include: mmar.yaml\nexpected_sha256: {{today: {digest}}}\n"
    )
    found = simple_evaluate(
        "dummy", ["mine"], data_dir=str(tmp_path), include_path=(str(tmp_path / "tasks"),), no_cache=True
    )
    assert found.manifests["mine"]["metadata_version"] == "today"


def result_of(name: str, value: float) -> TaskResult:
    """A task whose headline is `value`."""
    return TaskResult(
        task=name,
        readings={"r": {"m": MetricValue(value)}},
        n_meta=1,
        n_loaded=1,
        n_missing=0,
        n_filtered=0,
        n_scored=1,
        n_unanswered={},
        n_errors=0,
        headline={"reading": "r", "metric": "m", "scale": 1.0, "offset": 0.0},
    )


def published(name: str) -> list[dict[str, str]]:
    with (PUBLISHED / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def aliases() -> dict[str, str]:
    """The paper's name of each task, as our YAMLs have it."""
    return {task(name).alias: name for name in group("air_bench_foundation").members}


@pytest.mark.parametrize("model", TABLE_3)
def test_the_papers_table_3_follows_from_its_table_5(model: str) -> None:
    spelled = {
        "Music genre classfication": "Music genre classification",
        "Music note analysis-pitch": "Music note analysis, pitch",
        "Music note analysis-velocity": "Music note analysis, velocity",
    }
    names = aliases()
    rows = {
        spelled.get(row["task"], row["task"]): row[model] for row in published("air_bench_foundation.csv")
    }
    results = {names[alias]: result_of(names[alias], float(rows[alias])) for alias in names}
    found = aggregate_group(group("air_bench_foundation").config, results)
    means = [found["groups"][name]["score"] for name in ("speech", "sound", "music")]
    for mine, theirs in zip([*means, found["score"]], TABLE_3[model], strict=True):
        assert mine == pytest.approx(theirs, abs=0.0501)
    assert found["score"] == pytest.approx(float(rows["Average"]), abs=0.0501)


def test_chat_averages_follow_from_the_columns() -> None:
    rows = [row for row in published("air_bench_chat.csv") if row["average"]]
    assert len(rows) == 10
    for row in rows:
        values = {name: float(row[name]) for name in ("speech", "sound", "music")}
        # the two mixed lines were not published: both get the column's number
        values |= {"speech_and_sound": float(row["mixed"]), "speech_and_music": float(row["mixed"])}
        results = {f"air_bench_chat_{name}": result_of(name, value) for name, value in values.items()}
        found = aggregate_group(group("air_bench_chat").config, results)
        assert found["groups"]["mixed"]["score"] == pytest.approx(float(row["mixed"]))
        # columns and average were each rounded to two digits, the average from unrounded columns
        wanted = NOT_THE_MEAN.get(row["model"], float(row["average"]))
        assert found["score"] == pytest.approx(wanted, abs=0.01)


def test_a_group_with_a_task_missing_has_no_score() -> None:
    results = {"air_bench_chat_speech": result_of("air_bench_chat_speech", 5.0)}
    assert aggregate_group(group("air_bench_chat").config, results)["score"] is None


#: questions per modality of MMAR, in the order of the published table
MODALITIES = {
    "sound": 165,
    "music": 206,
    "speech": 294,
    "sound_music": 11,
    "sound_speech": 218,
    "music_speech": 82,
    "sound_music_speech": 24,
}


@pytest.mark.parametrize("row", published("mmar.csv"), ids=lambda row: row["model"])
def test_mmar_averages_are_means_over_rows(row: dict[str, str], tmp_path: Path) -> None:
    """As many right rows per modality as the table says, through our own scoring, give the published average."""
    from marathon_eval.api.model import Response

    rows, right = [], []
    for modality, n in MODALITIES.items():
        hits = round(float(row[modality]) / 100 * n)
        base = {
            "audio_path": "./a.wav",
            "question": "?",
            "choices": ["x", "y"],
            "answer": "x",
            "modality": modality,
        }
        rows += [{**base, "category": "c", "sub-category": "s", "rubric": [], "thinking": ""}] * n
        right += [True] * hits + [False] * (n - hits)
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "MMAR-meta.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mine = task("mmar")
    docs = mine.docs(str(tmp_path))
    samples = [
        mine.score(doc, [Response("x" if hit else "y")]) for doc, hit in zip(docs.docs, right, strict=True)
    ]
    found = mine.aggregate(samples, docs)
    value = found.readings["paper"]["accuracy"].value
    assert value is not None
    # random guessing is an expectation, not a count of rows: its columns do not round to whole rows
    assert value * 100 == pytest.approx(
        float(row["avg"]), abs=0.3 if row["size"] == "-" and not row["category"] else 0.051
    )
    for modality, n in MODALITIES.items():
        cell = found.breakdown["modality"][modality]["paper"]["accuracy"]
        assert cell * 100 == pytest.approx(float(row[modality]), abs=50 / n + 0.051)
