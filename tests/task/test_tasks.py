"""Tests properties of every shipped task, and the ten AudioMarathon tasks on data in the released layout."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import make_audiomarathon_data
from helpers.audiomarathon_prompts import GOLDEN, load_shipped, rendered
from helpers.minimal_task import load
from marathon_eval import simple_evaluate
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry
from marathon_eval.evaluator.scorer_check import gold_and_wrong_text
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.task.task import Doc, Group, Task, load_task

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [path for path in sorted((ROOT / "tasks").rglob("*.yaml")) if not path.name.startswith("_")]
TEN = tuple(make_audiomarathon_data.NOMINAL)
LETTERED = ("race", "slue", "tau", "gtzan", "desed", "vesus")
GROUPS = {
    "speech": ["librispeech", "race", "slue"],
    "audio": ["tau", "gtzan", "desed"],
    "voice": ["vesus", "had", "vox_age", "vox_gender"],
}


#: How the released Qwen scripts turn answers into their accuracy and their published F1.
PAPER: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "race": ({}, {"labels": "ABCD", "over": "labels"}),
    "slue": ({"gold": "strip_upper"}, {"labels": "ABCD", "over": "seen"}),
    "tau": ({"gold": "upper"}, {"labels": "gold", "over": "seen", "gold": "upper"}),
    "gtzan": ({"over": "parsed"}, {"labels": "ABCD", "over": "labels"}),
    "desed": ({}, {"labels": "ABCD", "over": "seen"}),
    "vesus": ({"gold": "upper"}, {"labels": "gold", "over": "seen", "gold": "upper"}),
    "had": ({"gold": "lower_strip"}, {"labels": ["real", "fake"], "over": "seen", "gold": "lower_strip"}),
    "vox_age": ({"gold": "strip"}, {"labels": "gold", "over": "labels", "gold": "strip"}),
    "vox_gender": (
        {"gold": "lower_strip"},
        {"labels": ["male", "female"], "over": "seen", "average": "weighted", "gold": "lower_strip"},
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiomarathon_data.build(tmp_path_factory.mktemp("released"), 12)


def all_docs(task: Task, data: Path) -> list[Doc]:
    docs = task.docs(str(data), subset="full").docs
    assert [doc.error for doc in docs if doc.error] == []
    return docs


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
class TestEveryShippedTask:
    def test_it_is_valid(self, path: Path) -> None:
        assert validate_task(path, Registry().task_path) == []

    def test_its_name_is_its_file(self, path: Path) -> None:
        values = yaml.safe_load(path.read_text())
        assert values.get("group", values.get("task", path.stem)) == path.stem
        assert path.stem in Registry().names("task")

    def test_its_headline_and_version_are_given(self, path: Path) -> None:
        task = load_task(path, Registry().task_path)
        assert task.config.metadata["version"] >= 1
        if isinstance(task, Task):
            assert task.config.headline is not None

    def test_it_names_no_place_of_this_machine(self, path: Path) -> None:
        text = path.read_text()
        assert not any(word in text for word in ("/home", "/root", "/tmp", "/work", "/data/"))


def test_prompts_are_those_of_the_golden_file(tmp_path: Path) -> None:
    assert rendered(tmp_path) == json.loads((GOLDEN / "prompts.json").read_text()), (
        "if this is meant: scripts/dev/golden/update_goldens.py prompts, and raise the task's metadata.version"
    )


def test_the_group_holds_the_ten_in_three_groups() -> None:
    registry = Registry()
    group = load_task(registry.task_path("audiomarathon"), registry.task_path)
    assert isinstance(group, Group)
    assert sorted(group.members) == sorted(TEN)
    assert {inner.group: inner.task for inner in group.config.task if not isinstance(inner, str)} == GROUPS


@pytest.mark.parametrize("name", TEN)
class TestTheTen:
    def test_data_readings_and_decoding(self, name: str) -> None:
        config = load_shipped(name).config
        kwargs = config.dataset_kwargs
        assert (config.dataset_path, kwargs.revision) == ("Hezep/AudioMarathon", "ef00ea0")
        assert (kwargs.data_files is None) != (kwargs.file_tree is None)
        assert {"strict", "paper"} <= {spec["name"] for spec in config.filter_list}
        assert config.filter_list[1]["filter"] == [{"function": f"audiomarathon.{name}"}]
        assert config.headline is not None
        assert (config.headline.reading, config.headline.scale) == ("strict", 100)
        assert set(config.subsets) == {"paper", "full"}
        tokens = {"librispeech": 1100, "vesus": 10}.get(name, 5)
        assert config.generation_kwargs == {"max_new_tokens": tokens, "do_sample": False}

    def test_the_prompt_shows_every_option_and_nothing_of_the_row_else(self, name: str, data: Path) -> None:
        task = load_shipped(name)
        for doc in all_docs(task, data):
            (request,) = task.requests(doc)
            assert request.audios == doc.audio
            assert len(request.audios) == 1
            assert "{{" not in request.prompt
            assert not any(str(audio) in request.prompt for audio in doc.audio_names)
            if name not in ("had", "vox_gender"):
                assert all(f"{choice}\n" in f"{request.prompt}\n" for choice in doc.choices)
            if not doc.choices:
                assert str(doc.target) not in request.prompt

    def test_a_models_own_wording_asks_the_same_and_is_read_the_same(self, name: str, data: Path) -> None:
        task = load_shipped(name)
        assert set(task.variants) == {"phi4_mm", "aero1", *([] if name == "librispeech" else ["voxtral"])}
        for doc in all_docs(task, data):
            (asked,) = task.requests(doc)
            for model in task.variants:
                (request,) = task.requests(doc, model)
                assert (request.prompt, request.system) != (asked.prompt, asked.system)
                # no role, neither in a system turn nor before the question
                assert not request.system
                assert "You are" not in request.prompt
                assert all(choice in request.prompt for choice in doc.choices if choice in asked.prompt)
                for choice, letter in zip(doc.choices, "abcde", strict=False):
                    # the way that this model was shown the option is a way to answer with it
                    lines = re.findall(rf"(?m)^(\(?[A-Ea-e][.:)]+) {re.escape(choice)}$", request.prompt)
                    shown = lines[0] if lines else letter
                    assert shown.strip("().:").lower() == letter
                    readings = task.score(doc, [Response(shown)]).readings
                    right = doc.target in (choice, letter.upper())
                    assert readings["strict"].scores["accuracy"] == float(right), (shown, doc.target)

    def test_gold_is_right_and_anything_else_is_not(self, name: str, data: Path) -> None:
        task = load_shipped(name)
        metric = "wer_accuracy" if name == "librispeech" else "accuracy"
        for doc in all_docs(task, data):
            right, wrong = gold_and_wrong_text(task, doc)
            for text, wanted in ((right, 1.0), (wrong or "quite another text", 0.0), ("", 0.0)):
                sample = task.score(doc, [Response(text)])
                assert sample.status == "ok"
                for reading in ("strict", "paper"):
                    score = sample.readings[reading].scores[metric]
                    assert score is not None
                    assert score == wanted if metric == "accuracy" or wanted else score <= 0.1
                assert (sample.readings["strict"].answer is None) == (text == "")

    def test_letters_or_texts_are_compared(self, name: str, data: Path) -> None:
        for doc in all_docs(load_shipped(name), data):
            if name in LETTERED:
                assert doc.target in tuple("ABCD")
            elif name != "librispeech":
                assert doc.target in doc.choices

    def test_results_over_all_rows(self, name: str, data: Path) -> None:
        task = load_shipped(name)
        docset = task.docs(str(data), subset="full")
        samples = [task.score(doc, [Response(gold_and_wrong_text(task, doc)[0])]) for doc in docset.docs]
        failed = task.score(docset.docs[0], [Response.failed("out of memory")])
        silent = task.score(docset.docs[1], [Response("")])
        result = task.aggregate([failed, silent, *samples[2:]], docset)
        assert (result.n_meta, result.n_loaded, result.n_scored, result.n_errors) == (12, 12, 11, 1)
        assert result.n_unanswered["strict"] == result.n_unanswered["paper"] == 1
        assert result.coverage == 11 / 12
        headline = task.aggregate(samples, docset).headline_value()
        assert headline is not None
        assert headline.value == 100
        assert failed.error == "out of memory"


@pytest.mark.parametrize("name", PAPER)
def test_paper_metrics_have_the_scripts_own_label_rules(name: str) -> None:
    specs = [spec for spec in load_shipped(name).config.metric_list if spec.get("filter_list") == "paper"]
    found = {
        spec["metric"]: {key: spec[key] for key in spec if key not in ("metric", "filter_list")}
        for spec in reversed(specs)
    }
    assert (found["audiomarathon.accuracy"], found["audiomarathon.f1"]) == PAPER[name]


def test_the_paper_selection_has_the_published_sizes(tmp_path: Path) -> None:
    sizes = {"had": (776, 630), "vox_gender": (1614, 976), "vesus": (185, 178)}
    make_audiomarathon_data.build(
        tmp_path, {name: make_audiomarathon_data.NOMINAL[name] for name in sizes}, seconds=0.01
    )
    for name, (n_meta, n_paper) in sizes.items():
        paper, full = (load_shipped(name).docs(str(tmp_path), subset=subset) for subset in (None, "full"))
        assert (paper.n_meta, paper.n_loaded, paper.n_filtered) == (n_meta, n_paper, n_meta - n_paper)
        assert (full.n_loaded, full.n_filtered) == (n_meta, 0)
        limited = load_shipped(name).docs(str(tmp_path), limit=10)
        assert [doc.doc_id for doc in limited.docs] == [doc.doc_id for doc in paper.docs[:10]]
        if name != "vesus":
            assert [doc.target for doc in limited.docs].count(limited.docs[0].target) == 5


def test_clips_that_the_release_lacks_are_dropped_and_counted_others_are_error_rows(tmp_path: Path) -> None:
    rows = [
        {
            "path": f"{speaker}/{speaker}_segment_{part}.wav",
            "answer_gt": gender,
            "speaker_id_original": speaker,
        }
        for speaker, part, gender in (
            ("id02577", 8, "Female"),
            ("id02577", 7, "Female"),
            ("id02685", 1, "Male"),
            ("id1", 1, "Male"),
        )
    ]
    folder = tmp_path / "VoxCeleb" / "concatenated_audio"
    for row in rows[:1] + rows[3:]:
        clip = folder / "wav" / row["path"]
        clip.parent.mkdir(parents=True)
        clip.touch()
    (folder / "gender_id_task_meta.json").write_text(json.dumps(rows))
    docset = load_shipped("vox_gender").docs(str(tmp_path), subset="full")
    assert (docset.n_meta, docset.n_missing, docset.n_loaded) == (4, 1, 3)
    assert [doc.error is None for doc in docset.docs] == [True, False, True]


def test_the_readmes_minimal_metadata_is_enough(tmp_path: Path) -> None:
    gtzan = tmp_path / "GTZAN" / "concatenated_audio"
    row = {"path": "audio/1.wav", "question": "Which genre?", "answer_gt": "A"}
    row |= {
        f"choice_{letter}": text for letter, text in zip("abcd", make_audiomarathon_data.GENRES, strict=False)
    }
    desed = tmp_path / "DESED" / "DESED_dataset" / "concatenated_audio"
    task = {"path": "1.wav", "task_type": "x", "question": "What?", "answer_gt": "C"}
    for clip in (gtzan / "audio" / "1.wav", desed / "1.wav"):
        clip.parent.mkdir(parents=True)
        clip.touch()
    (gtzan / "music_genre_classification_meta.json").write_text(json.dumps([row]))
    name = desed / "desed_sound_event_detection_task.json"
    for content in (
        {"tasks": [{**task, "choices": dict(zip("ABCD", make_audiomarathon_data.EVENTS, strict=False))}]},
        [task | {"choices": make_audiomarathon_data.EVENTS[:4]}],
    ):
        name.write_text(json.dumps(content))
        for shipped in ("gtzan", "desed"):
            (doc,) = load_shipped(shipped).docs(str(tmp_path)).docs
            assert doc.error is None


def test_a_copy_with_two_changed_lines_is_a_new_task(tmp_path: Path, data: Path) -> None:
    text = (ROOT / "tasks" / "vox_age.yaml").read_text()
    mine = text.replace("task: vox_age\n", "task: my_age\n").replace("Choose the right answer", "Choose well")
    (tmp_path / "my_age.yaml").write_text(mine)
    result = simple_evaluate(
        "dummy", ["my_age"], {"answer": "B"}, include_path=(str(tmp_path),), data_dir=str(data), no_cache=True
    )
    assert (result.tasks["my_age"].n_scored, result.whole) == (12, True)


def test_loading_every_task_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom marathon_eval.api.registry import Registry\nfrom marathon_eval.evaluator.validate_task import validate_task\n"
        "registry = Registry()\n"
        "for name in registry.names('task'): assert not validate_task(registry.task_path(name), registry.task_path)\n"
        "heavy = 'torch transformers numpy datasets huggingface_hub soundfile jiwer sklearn rich pyarrow'\n"
        "print([name for name in heavy.split() if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_whole_task_folder_can_be_copied_away(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks")
    assert load(tmp_path / "tasks" / "race.yaml").config == load_shipped("race").config
