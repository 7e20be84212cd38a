"""Tests that doctor finds every kind of fault, planted one at a time in a faultless data set, and none without it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data, make_source_corpora
from helpers.built_recipe import at_test_rate, reader
from helpers.dataset_with_faults import ALSO, PLANTS, TOY, clean_data, half_silent, sound, tone
from marathon_eval.api.audio import Audio
from marathon_eval.corpus.audit.checks import chi_square_p, task_faults
from marathon_eval.corpus.audit.doctor import examine
from marathon_eval.corpus.audit.examined import Examined
from marathon_eval.corpus.audit.expected import Dataset, Expected, load_known
from marathon_eval.corpus.audit.fault import FAULT_KINDS, Fault
from marathon_eval.corpus.audit.fingerprint import pin
from marathon_eval.corpus.audit.survey import SurveyRow
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.errors import MarathonError


@pytest.fixture
def toy(tmp_path: Path) -> Dataset:
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return load_known([path])


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return clean_data(tmp_path / "data")


def kinds(found: Examined) -> set[str]:
    return {item.fault.kind for item in found.findings}


def test_a_sound_data_set_has_no_fault(clean: Path, toy: Dataset) -> None:
    found = examine(clean, toy, jobs=2)
    assert [item.fault for item in found.findings] == []
    assert found.sound
    assert {task: len(of) for task, of in found.survey.tasks().items()} == {"quiz": 40, "talk": 2}


def test_every_kind_has_a_plant() -> None:
    # stretches and rows of several clips are a task's: tests/corpus/test_doctor_tasks.py
    assert PLANTS.keys() | {"stretch_outside", "repeated_clip"} == FAULT_KINDS.keys()
    assert len(FAULT_KINDS) >= 20


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, n) for kind, plants in PLANTS.items() for n in range(len(plants))]
)
def test_a_planted_fault_is_found_and_no_other(kind: str, number: int, clean: Path, toy: Dataset) -> None:
    pinned = pin(examine(clean, toy)) if kind == "unlike_manifest" else None
    PLANTS[kind][number](clean)
    found = examine(clean, toy, pinned=pinned)
    assert kind in kinds(found)
    assert kinds(found) <= {kind} | ALSO.get(kind, set())
    assert found.sound == (FAULT_KINDS[kind].weight != "error")


def test_headers_alone_find_less_but_decode_nothing(clean: Path, toy: Dataset) -> None:
    sound(half_silent)(clean)
    sound(lambda path: tone(path.with_name("09.wav"), rate=8000))(clean)
    found = examine(clean, toy, headers_only=True)
    assert kinds(found) == {"wrong_rate"}


def test_everything_that_was_built_is_sound(tmp_path: Path) -> None:
    """The shipped recipes' output against the shipped descriptions: nothing but what the release promises too much."""
    tts = reader(tmp_path)
    for name, corpus in make_source_corpora.CORPORA.items():
        build(at_test_rate(name), Order(corpus(tmp_path / "source" / name), tmp_path / "out", tts=tts))
    found = examine(tmp_path / "out", load_known())
    assert found.survey.tasks().keys() == make_source_corpora.CORPORA.keys()
    assert {item.known.name if item.known else item.fault for item in found.findings} == {"librispeech_floor"}
    for task, told in pin(found)["tasks"].items():
        manifest = json.loads((tmp_path / "out" / "manifests" / f"{task}.json").read_text())
        assert told["rows"] == manifest["counts"]["rows"]
        assert told["metadata_sha256"] in (None, *manifest["metadata"].values())


def test_the_release_s_faults_are_known_by_name(tmp_path: Path) -> None:
    counts = {"slue": 62, "vesus": 8, "vox_age": 6, "vox_gender": 90, "had": 40, "desed": 6, "librispeech": 2}
    root = make_audiomarathon_data.build(tmp_path / "data", counts)

    def added(file: str, path: str) -> None:
        content = json.loads((root / file).read_text())
        content.append({**content[-1], "path": path, "uniq_id": 9999})
        (root / file).write_text(json.dumps(content))

    (root / "SLUE/dev/mixed_concatenated_audio/mixed_concatenated_audio_0061.wav").unlink()
    added("VESUS/audio_emotion_dataset.json", "3/person_3_Angry_sentences_004_2.0min.wav")
    added("VoxCeleb/concatenated_audio/age_classification_task_meta.json", "id02577/id02577_segment_8.wav")
    added("VoxCeleb/concatenated_audio/gender_id_task_meta.json", "id02685/id02685_segment_1.wav")
    for number in range(40, 80):
        make_audiomarathon_data.Sounds(0.05)(
            root / f"HAD/concatenated_audio/fake/HAD_train_fake_{number}.wav"
        )
    file = root / "DESED/DESED_dataset/concatenated_audio/desed_sound_event_detection_task.json"
    content = json.loads(file.read_text())
    content["tasks"][0]["all_events"] = [*content["tasks"][0]["choices"].values()]
    file.write_text(json.dumps(content))
    found = examine(root, load_known(), headers_only=True)
    names = {item.known.name for item in found.findings if item.known}
    assert {
        "slue_0061",
        "vesus_removed",
        "vox_segments",
        "had_balance",
        "vox_gender_balance",
        "vox_gender_letters",
        "desed_distractors",
    } <= names
    missing = [item for item in found.findings if item.fault.kind == "missing"]
    assert len(missing) == 4
    assert all(item.known for item in missing)
    assert found.sound, "known faults do not make a copy unsound"
    (root / "SLUE/dev/mixed_concatenated_audio/mixed_concatenated_audio_0060.wav").unlink()
    assert not examine(root, load_known(), headers_only=True).sound


def test_the_pin_is_the_same_for_every_copy_and_hashes_as_results_do(
    clean: Path, toy: Dataset, tmp_path: Path
) -> None:
    first = pin(examine(clean, toy))
    second = pin(examine(make_source_corpora.copied(clean, tmp_path / "copy" / "data", 3), toy))
    assert first == second
    audio = first["tasks"]["quiz"]["audio"]["quiz/07.wav"]
    assert audio == {"seconds": 20.0, "sha256": Audio(str(clean / "quiz" / "07.wav")).facts().sha256}
    assert kinds(examine(tmp_path / "copy" / "data", toy, pinned=first)) == set()
    (clean / "quiz" / "07.wav").unlink()
    found = examine(clean, toy, pinned=first)
    assert [item.fault for item in found.findings if item.fault.kind == "unlike_manifest"] == [
        Fault("unlike_manifest", "quiz", "quiz/07.wav", "is not in this copy")
    ]


def test_chance_is_rarely_blamed() -> None:
    """Random classes and letters of data sets of all sizes: a threshold of 0.001 leaves about one in a thousand."""
    draw, blamed = random.Random(7), 0
    for trial in range(400):
        size, classes = draw.choice([20, 60, 150, 400]), draw.choice([2, 4, 10])
        made = [
            SurveyRow(
                "t",
                f"#{n}",
                n,
                f"{n}.wav",
                None,
                "?",
                tuple("wxyz"),
                "A",
                draw.randrange(4),
                f"c{draw.randrange(classes)}",
            )
            for n in range(size)
        ]
        blamed += len([*task_faults("t", made, Expected(), f"trial {trial}")])
    assert blamed <= 4


@pytest.mark.parametrize(
    ("statistic", "freedom", "p"), [(16.27, 3, 0.001), (3.841, 1, 0.05), (27.88, 9, 0.001), (7.815, 3, 0.05)]
)
def test_chi_square_against_the_printed_tables(statistic: float, freedom: int, p: float) -> None:
    assert chi_square_p(statistic, freedom) == pytest.approx(p, rel=0.15)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marathon_eval", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line(clean: Path, tmp_path: Path) -> None:
    known = str(tmp_path / "toy.yaml")
    Path(known).write_text(TOY)
    manifest = tmp_path / "pin.json"
    whole = run(str(clean), "--known", known, "--manifest", str(manifest))
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "no fault found")
    assert json.loads(manifest.read_text())["tasks"]["talk"]["rows"] == 2
    assert run(str(clean), "--known", known, "--against", str(manifest)).returncode == 0
    sound(Path.unlink)(clean)
    broken = run(str(clean), "--known", known)
    assert broken.returncode == 3
    assert "error    missing: quiz/quiz.json#7: 07.wav" in broken.stdout
    report = json.loads(run(str(clean), "--known", known, "--json").stdout)
    assert [fault["kind"] for fault in report["faults"]] == ["missing"]
    listed = run("--kinds")
    assert len(listed.stdout.splitlines()) == len(FAULT_KINDS)
    for words, error in (
        ((), "doctor: give the folder of a data set, --tasks or --kinds"),
        ((str(tmp_path / "none"),), "no such folder"),
        ((str(clean), "--headers_only", "--manifest", "x"), "--headers_only: cannot be combined"),
        ((str(clean), "--against", known), "not a manifest of doctor"),
        ((str(clean), "--known", str(clean / "quiz/quiz.json")), "must be a mapping"),
    ):
        wrong = run(*words)
        assert wrong.returncode == 2
        assert error in wrong.stderr


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"holds neither audio nor metadata"):
        examine(tmp_path, load_known())
