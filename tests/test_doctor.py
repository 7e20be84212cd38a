"""Every kind of fault that doctor lists, planted one at a time in a sound data set; and nothing found without it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import released
import soundfile

from marathon_eval.audio import Audio
from marathon_eval.build.checks import chi_square_p, task_faults
from marathon_eval.build.construct import build
from marathon_eval.build.doctor import Examined, examine, pin
from marathon_eval.build.fault import KINDS
from marathon_eval.build.known import Dataset, Expected, load_known
from marathon_eval.build.recipe import load_recipe
from marathon_eval.build.stages import Order
from marathon_eval.build.survey import Row
from marathon_eval.errors import MarathonError

RATE = 4000
CLASSES = ["bus", "park", "train", "river"]
TOY = """\
dataset: toy
tasks:
  quiz: {metadata: quiz.json, rows: 40, rate: 4000, seconds: [20, 60], promised_seconds: 10, label: class, also_true: heard}
  talk: {tree: "talk/(?P<speaker>\\\\w+)/[^/]+\\\\.wav$", transcripts: true, rate: 4000, promised_seconds: 10}
"""


@pytest.fixture
def toy(tmp_path: Path) -> Dataset:
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return load_known([path])


def tone(path: Path, seconds: float = 20.0, rate: int = RATE, channels: int = 1) -> None:
    """Noise that only this path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(list(path.name.encode()))
    soundfile.write(path, draw.uniform(-0.4, 0.4, (round(seconds * rate), channels)), rate, subtype="PCM_16")


def rows(folder: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((folder / "quiz" / "quiz.json").read_text())
    return content


def save(folder: Path, content: Any) -> None:
    (folder / "quiz" / "quiz.json").write_text(json.dumps(content))


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """40 questions on 40 sounds, classes and letters even, and two transcribed sounds."""
    folder, draw, content = tmp_path / "data", random.Random(0), []
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
    """A plant that changes one row's keys; None takes a key away."""

    def plant(folder: Path) -> None:
        content = rows(folder)
        content[number] = {
            key: value for key, value in {**content[number], **values}.items() if value is not None
        }
        save(folder, content)

    return plant


def sound(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A plant that changes one sound."""
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
    """Truncated where libsndfile says so itself: FLAC carries the number of samples."""
    write(path, noise(), format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_flac(path: Path) -> None:
    write(path, noise(), format="FLAC")


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
    """Every answer moved to the first place."""
    content = rows(folder)
    for row in content:
        right = f"choice_{row['answer_gt'].lower()}"
        row["choice_a"], row[right], row["answer_gt"] = row[right], row["choice_a"], "A"
    save(folder, content)


def telling_letters(folder: Path) -> None:
    """Each class always at its own place: letters even, but they give the class away."""
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
    """A build of ours of which one file was changed afterwards."""
    build(
        load_recipe("tau").model_copy(update={"rate": RATE}),
        Order(corpora.tau(folder.parent / "source"), folder),
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
    "row_count": [lambda folder: save(folder, rows(folder)[:-1])],
}
#: What a plant brings with it: a row that is taken away is missing in the count, and so on.
ALSO = {
    "outside_root": {"row_count", "orphan_audio"},
    "truncated": {"wrong_container"},
    "duplicate_audio": {"orphan_audio"},
    "broken_metadata": {"row_count"},
    "bad_row": {"row_count", "orphan_audio"},
    "multi_channel": set(),
    "duplicate_option": {"gold_not_an_option", "true_distractor"},
    "duplicate_row": {"orphan_audio"},
    "row_count": {"orphan_audio"},
    "label_imbalance": {"option_order_bias"},
}


def as_other(path: Path) -> None:
    """The same sound as another row's, in another container."""
    samples, rate = soundfile.read(path.with_name("08.wav"), dtype="int16")
    write(path, samples, rate)


def kinds(found: Examined) -> set[str]:
    return {item.fault.kind for item in found.findings}


def test_a_sound_data_set_has_no_fault(clean: Path, toy: Dataset) -> None:
    found = examine(clean, toy, jobs=2)
    assert [item.fault for item in found.findings] == []
    assert found.sound
    assert {task: len(of) for task, of in found.survey.tasks().items()} == {"quiz": 40, "talk": 2}


def test_every_kind_has_a_plant() -> None:
    assert PLANTS.keys() == KINDS.keys()
    assert len(KINDS) >= 20


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, n) for kind, plants in PLANTS.items() for n in range(len(plants))]
)
def test_a_planted_fault_is_found_and_no_other(kind: str, number: int, clean: Path, toy: Dataset) -> None:
    PLANTS[kind][number](clean)
    found = examine(clean, toy)
    assert kind in kinds(found)
    assert kinds(found) <= {kind} | ALSO.get(kind, set())
    assert found.sound == (KINDS[kind].weight != "error")


def test_headers_alone_find_less_but_decode_nothing(clean: Path, toy: Dataset) -> None:
    sound(half_silent)(clean)
    sound(lambda path: tone(path.with_name("09.wav"), rate=8000))(clean)
    found = examine(clean, toy, headers_only=True)
    assert kinds(found) == {"wrong_rate"}


def test_everything_that_was_built_is_sound(tmp_path: Path) -> None:
    """The shipped recipes' output against the shipped descriptions: nothing but what the release promises too much."""
    script = tmp_path / "reader.py"
    script.write_text(
        "import sys, numpy as np, soundfile\n"
        "words = open(sys.argv[1]).read().split()\n"
        "draw = np.random.default_rng(len(words))\n"
        "soundfile.write(sys.argv[2], draw.uniform(-0.2, 0.2, 2000 * len(words)), 4000)\n"
    )
    tts = f"{sys.executable} {script} {{text}} {{wav}}"
    for name, corpus in corpora.CORPORA.items():
        recipe = load_recipe(name).model_copy(update={"rate": RATE})
        build(recipe, Order(corpus(tmp_path / "source" / name), tmp_path / "out", tts=tts))
    found = examine(tmp_path / "out", load_known())
    assert found.survey.tasks().keys() == corpora.CORPORA.keys()
    assert {item.known.name if item.known else item.fault for item in found.findings} == {"librispeech_floor"}
    for task, told in pin(found)["tasks"].items():
        manifest = json.loads((tmp_path / "out" / "manifests" / f"{task}.json").read_text())
        assert told["rows"] == manifest["counts"]["rows"]
        assert told["metadata_sha256"] in (None, *manifest["metadata"].values())


def test_the_release_s_faults_are_known_by_name(tmp_path: Path) -> None:
    counts = {"slue": 62, "vesus": 8, "vox_age": 6, "vox_gender": 90, "had": 40, "desed": 6, "librispeech": 2}
    root = released.build(tmp_path / "data", counts)

    def added(file: str, path: str) -> None:
        content = json.loads((root / file).read_text())
        content.append({**content[-1], "path": path, "uniq_id": 9999})
        (root / file).write_text(json.dumps(content))

    (root / "SLUE/dev/mixed_concatenated_audio/mixed_concatenated_audio_0061.wav").unlink()
    added("VESUS/audio_emotion_dataset.json", "3/person_3_Angry_sentences_004_2.0min.wav")
    added("VoxCeleb/concatenated_audio/age_classification_task_meta.json", "id02577/id02577_segment_8.wav")
    added("VoxCeleb/concatenated_audio/gender_id_task_meta.json", "id02685/id02685_segment_1.wav")
    for number in range(40, 80):
        released.Sounds(0.05)(root / f"HAD/concatenated_audio/fake/HAD_train_fake_{number}.wav")
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
    second = pin(examine(corpora.copied(clean, tmp_path / "copy" / "data", 3), toy))
    assert first == second
    audio = first["tasks"]["quiz"]["audio"]["quiz/07.wav"]
    assert audio == {"seconds": 20.0, "sha256": Audio(str(clean / "quiz" / "07.wav")).facts().sha256}
    sound(as_other)(clean)
    assert pin(examine(clean, toy)) != first


def test_chance_is_rarely_blamed() -> None:
    """Random classes and letters of data sets of all sizes: a threshold of 0.001 leaves about one in a thousand."""
    draw, blamed = random.Random(7), 0
    for trial in range(400):
        size, classes = draw.choice([20, 60, 150, 400]), draw.choice([2, 4, 10])
        made = [
            Row(
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
    sound(Path.unlink)(clean)
    broken = run(str(clean), "--known", known)
    assert broken.returncode == 3
    assert "error    missing: quiz/quiz.json#7: 07.wav" in broken.stdout
    report = json.loads(run(str(clean), "--known", known, "--json").stdout)
    assert [fault["kind"] for fault in report["faults"]] == ["missing"]
    listed = run("--kinds")
    assert len(listed.stdout.splitlines()) == len(KINDS)
    for words, error in (
        ((), "doctor: give a data set's folder, or --kinds"),
        ((str(tmp_path / "none"),), "no such folder"),
        ((str(clean), "--headers_only", "--manifest", "x"), "not with --headers_only"),
        ((str(clean), "--known", str(clean / "quiz/quiz.json")), "must be a mapping"),
    ):
        wrong = run(*words)
        assert wrong.returncode == 2
        assert error in wrong.stderr


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"holds neither audio nor metadata"):
        examine(tmp_path, load_known())
