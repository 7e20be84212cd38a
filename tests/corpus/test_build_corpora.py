"""Tests what each recipe makes of its corpus: grouping, labels, answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.built_recipe import Made, at_test_rate, contents, reader
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order

NAMES = [
    "tau",
    "had",
    "gtzan",
    "vox_gender",
    "vox_age",
    "slue",
    "desed",
    "race",
    "librispeech",
    "needle",
    "vesus",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    tts = reader(tmp_path_factory.mktemp("tts"))
    return {name: Made(at_test_rate(name), tmp_path_factory.mktemp(name), tts) for name in NAMES}


def test_tau_groups_by_scene_and_place(made: dict[str, Made]) -> None:
    """Files in order of name, closed before 3.5 min, a rest under 1.5 min thrown away; whole scene names as folders."""
    assert made["tau"].seconds() == {
        "metro/metro_lyon-1_segment_1.wav": 120,
        "metro_station/metro_station_lyon-2_segment_1.wav": 210,
        "park/park_milan-3_segment_1.wav": 100,
    }
    station = made["tau"].manifest["audio"][1]
    assert [span["source"] for span in station["spans"]] == [
        f"audio/metro_station-lyon-2-{number:03}-a.wav" for number in range(21)
    ]
    assert {(left["group"], left["clips"]) for left in made["tau"].manifest["left"]} == {
        ("metro_station/lyon-2", 2),
        ("park/milan-4", 5),
    }
    assert {row["path"].split("/")[0]: row["scene_label"] for row in made["tau"].rows()} == {
        scene: scene for scene in ("metro", "metro_station", "park")
    }


def test_had_pools_by_clip_and_loops_the_last_file(made: dict[str, Made]) -> None:
    """A genuine segment of a clip with a fake part is in the fake pool; each pool's last file is looped to 3 min."""
    lengths = made["had"].seconds()
    assert set(lengths) == {
        "concatenated_audio/fake/HAD_train_fake_1.wav",
        "concatenated_audio/real/HAD_train_real_1.wav",
        "concatenated_audio/real/HAD_train_real_2.wav",
    }
    assert lengths["concatenated_audio/fake/HAD_train_fake_1.wav"] == 180
    assert lengths["concatenated_audio/real/HAD_train_real_2.wav"] == 180
    assert 294 < lengths["concatenated_audio/real/HAD_train_real_1.wav"] <= 300
    fake, real, _ = (line["spans"] for line in made["had"].manifest["audio"])
    assert {span["genuine"] for span in fake} == {True, False}
    assert all("_fake_" in span["source"] for span in fake)
    assert {span["genuine"] for span in real} == {True}
    # 30 utterances in three parts are 150 s; what follows repeats them from the first
    pieces = [(span["source"], span["source_start"]) for span in fake]
    assert len(set(pieces)) == 90
    assert pieces[90:] == pieces[: len(pieces) - 90]
    assert len(pieces) > 90
    # shuffled, by the seed alone
    assert pieces[:90] != sorted(pieces[:90])


def test_had_can_pool_by_segment(made: dict[str, Made], tmp_path: Path) -> None:
    recipe = made["had"].recipe
    segments = recipe.source.segments
    assert segments is not None
    own = recipe.source.model_copy(update={"segments": segments.model_copy(update={"pool": "segment"})})
    done = build(recipe.model_copy(update={"source": own}), Order(made["had"].source, tmp_path))
    for line in json.loads(done.manifest.read_text())["audio"]:
        assert {span["genuine"] for span in line["spans"]} == {"_real_" in line["path"]}


def test_gtzan_is_eight_clips_of_one_genre_without_the_damaged_one(made: dict[str, Made]) -> None:
    assert [(line["path"], len(line["spans"])) for line in made["gtzan"].manifest["audio"]] == [
        ("wav/blues/blues_001.wav", 8),
        ("wav/blues/blues_002.wav", 8),
        ("wav/jazz/jazz_001.wav", 8),
    ]
    assert "genres_original/jazz/jazz.00054.wav" not in made["gtzan"].manifest["audio"][2]["sources"]


def test_voxceleb2_wins_over_voxceleb1(made: dict[str, Made]) -> None:
    genders = {row["speaker_id_original"]: row["answer_gt"] for row in made["vox_gender"].rows()}
    assert genders == {"id00012": "Female", "id00017": "Male", "id10003": "Female"}


def test_age_groups_split_a_speaker(made: dict[str, Made]) -> None:
    assert [(row["path"], row["answer_gt"], row["speaker_age"]) for row in made["vox_age"].rows()] == [
        ("id00012/id00012_from_29_segment_1.wav", "Young Adult (18-30)", 29),
        ("id00012/id00012_from_45_segment_1.wav", "Mid Career (41-50)", 45),
        ("id00017/id00017_from_62_segment_1.wav", "Senior (51-70)", 62),
    ]


def test_slue_counts_the_entities_of_all_its_sentences(made: dict[str, Made]) -> None:
    (row,) = made["slue"].rows()
    sources = made["slue"].manifest["audio"][0]["spans"]
    expected = sum(int(span["source"].split("-")[-2]) % 4 for span in sources)
    assert row["entity_count"] == expected
    assert row[f"choice_{row['answer_gt'].lower()}"] == f"{expected} entities"
    assert row["source_count"] == len(sources) == 30


def test_desed_distractors_are_not_heard(made: dict[str, Made]) -> None:
    assert len(made["desed"].rows()) == 2
    for row in made["desed"].rows():
        wrong = [text for letter, text in row["choices"].items() if letter != row["answer_gt"]]
        assert not {text.replace(" ", "_") for text in wrong} & set(row["all_events"])
    told = [left["why"] for left in made["desed"].manifest["left"]]
    assert told == ["too few options are false"]


def test_race_asks_every_question_of_a_passage(made: dict[str, Made]) -> None:
    rows = made["race"].rows()
    assert [(row["audio_path"], row["question_idx"], row["answer"]) for row in rows] == [
        ("test/high/1.wav", 0, "A"),
        ("test/high/1.wav", 1, "D"),
        ("test/middle/2.wav", 0, "A"),
        ("test/middle/2.wav", 1, "D"),
    ]
    assert rows[0]["options"] == ["word0", "word1", "word2", "word3"]


def test_librispeech_joins_texts_with_their_sounds(made: dict[str, Made]) -> None:
    folder = made["librispeech"].root / "1089" / "134686"
    lines = (folder / "1089-134686.trans.txt").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["1089-134686-0001", "1089-134686-0002"]
    assert lines[0].split(" ", 1)[1] == " ".join(f"SAID {number:04}" for number in range(16))
    assert lines[1].split(" ", 1)[1] == " ".join(f"SAID {number:04}" for number in range(16, 20))


def test_another_seed_is_another_draw(made: dict[str, Made], tmp_path: Path) -> None:
    other = made["tau"].recipe.model_copy(update={"seed": 43})
    build(other, Order(made["tau"].source, tmp_path))
    before, after = contents(made["tau"].output), contents(tmp_path)
    audio = [path for path in before if path.endswith(".wav")]
    assert all(before[path] == after[path] for path in audio)
    metadata = "TAU/concatenated_resampled/acoustic_scene_task_meta.json"
    assert before[metadata] != after[metadata]


def test_distractors_are_drawn_without_replacement_and_the_order_is_shuffled(made: dict[str, Made]) -> None:
    for name in ("tau", "gtzan", "vesus", "needle", "slue"):
        for row in made[name].rows():
            assert len({row[f"choice_{letter}"] for letter in "abcd"}) == 4
    letters = {row["answer_gt"] for name in ("tau", "gtzan", "vesus", "needle") for row in made[name].rows()}
    assert letters == set("ABCD")


@pytest.mark.parametrize(
    ("joint", "sounds_at_once", "seconds"),
    [
        ({"gap_seconds": 0.5}, 1, 12 * 10 + 11 * 0.5),
        ({"crossfade_seconds": 0.25}, 2, 12 * 10 - 11 * 0.25),
        ({"level_db": -25.0}, 1, 120),
        ({"crossfade_seconds": 0.25, "level_db": -6.0}, 2, 12 * 10 - 11 * 0.25),
    ],
)
def test_gap_cross_fade_and_level_are_accounted_for(
    joint: dict[str, float], sounds_at_once: int, seconds: float, tmp_path: Path
) -> None:
    recipe = at_test_rate("tau")
    assert recipe.concatenate is not None
    rule = recipe.concatenate.model_copy(update=joint)
    joined = Made(recipe.model_copy(update={"concatenate": rule}), tmp_path)
    joined.check_every_sample(sounds_at_once)
    line = joined.manifest["audio"][0]
    assert line["seconds"] == seconds
    if "level_db" in joint:
        samples, _ = soundfile.read(joined.root / line["path"])
        levels = [
            10 * np.log10(np.mean(samples[start : start + 8000] ** 2)) for start in range(2000, 400000, 40000)
        ]
        # noise at -6 dB RMS passes full scale: the whole file is turned down, and all of it alike
        assert np.ptp(levels) < 0.6
        assert (
            max(levels) == pytest.approx(-25.0, abs=0.5) if joint["level_db"] == -25.0 else max(levels) < -5.5
        )
        assert np.abs(samples).max() <= 1.0
