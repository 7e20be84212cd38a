"""Every recipe on a small fake of its source corpus, in the corpus's own layout."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import soundfile

from marathon_eval.build.construct import Built, build
from marathon_eval.build.recipe import Recipe, load_recipe, shipped
from marathon_eval.build.stages import Order
from marathon_eval.registry import Registry
from marathon_eval.task import Task, load_task

NAMES = sorted(corpora.CORPORA)
READER = """
import sys
import numpy as np, soundfile
words = open(sys.argv[1], encoding="utf-8").read().split()
sound = [np.random.default_rng(list(word.encode())).uniform(-0.2, 0.2, 2000) for word in words]
soundfile.write(sys.argv[2], np.concatenate(sound), 4000)
"""


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that reads every word as half a second of its own noise."""
    script = tmp_path_factory.mktemp("tts") / "reader.py"
    script.write_text(READER)
    return f"{sys.executable} {script} {{text}} {{wav}}"


def at_test_rate(name: str) -> Recipe:
    """The shipped recipe at the fakes' sample rate: the same plan with a quarter of the samples."""
    return load_recipe(name).model_copy(update={"rate": corpora.RATE})


class Made:
    """A corpus and what a recipe made of it."""

    def __init__(self, name: str, folder: Path, tts: str) -> None:
        self.recipe = at_test_rate(name)
        self.source = corpora.CORPORA[name](folder / "source")
        self.output = folder / "out"
        self.built = build(self.recipe, Order(self.source, self.output, jobs=2, tts=tts))
        self.manifest: dict[str, Any] = json.loads(self.built.manifest.read_text())
        self.root = self.output / self.recipe.layout.root

    def source_of(self, path: str) -> Path:
        spoken = self.output / "speech" / self.recipe.recipe / path
        return spoken if spoken.is_file() else self.source / path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tts: str) -> dict[str, Made]:
    return {name: Made(name, tmp_path_factory.mktemp(name), tts) for name in NAMES}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_recipe_for_every_source() -> None:
    assert sorted(path.stem for path in shipped().glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_lengths_are_inside_the_bounds(name: str, made: dict[str, Made]) -> None:
    rule = made[name].recipe.concatenate
    for line in made[name].manifest["audio"]:
        info = soundfile.info(str(made[name].root / line["path"]))
        assert (info.frames, info.samplerate, info.channels) == (line["frames"], line["rate"], 1)
        if rule is not None:
            assert rule.min_seconds <= info.frames / info.samplerate <= rule.max_seconds


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_accounts_for_every_sample(name: str, made: dict[str, Made]) -> None:
    """Every file made again from the manifest and the sources alone, by other arithmetic than the builder's."""
    for line in made[name].manifest["audio"]:
        data, _ = soundfile.read(made[name].root / line["path"], dtype="int16")
        again = np.zeros(line["frames"])
        heard = np.zeros(line["frames"], dtype=int)
        for span in line["spans"]:
            heard[span["start"] : span["stop"]] += 1
            if span["source"] is not None:
                again[span["start"] : span["stop"]] += stretch_of(made[name], span)
        assert heard.min() == 1, "a sample of nowhere"
        assert heard.max() == (2 if name == "needle" else 1)
        exact = not any("gain_db" in span for span in line["spans"])
        np.testing.assert_allclose(data, again, atol=0 if exact else 3)


def stretch_of(made: Made, span: dict[str, Any]) -> Any:
    """A span's samples on the 16-bit scale, gain and fades applied."""
    path = made.source_of(span["source"])
    # what OGG decodes to has no 16-bit samples of its own: rounded as the builder says it rounds
    samples, rate = soundfile.read(
        path, dtype="float64", start=span["source_start"], stop=span["source_stop"]
    )
    assert rate == span["source_rate"] == corpora.RATE
    samples = samples * 32768 * 10 ** (span.get("gain_db", 0.0) / 20)
    for ends, turned in (("fade_in", 1), ("fade_out", -1)):
        width = span.get(ends, 0)
        ramp = np.ones(len(samples))
        ramp[:width] = np.sin(np.pi * (np.arange(width) + 0.5) / (2 * max(1, width))) ** 2
        samples = samples * ramp[::turned]
    return np.rint(samples) if "gain_db" not in span else samples


@pytest.mark.parametrize("name", NAMES)
def test_hashes_are_those_of_the_files(name: str, made: dict[str, Made]) -> None:
    manifest = made[name].manifest
    for line in manifest["audio"]:
        assert hashlib.sha256((made[name].root / line["path"]).read_bytes()).hexdigest() == line["sha256"]
        assert set(line["sources"]) == {span["source"] for span in line["spans"]} - {None}
        for source, sha in line["sources"].items():
            assert hashlib.sha256(made[name].source_of(source).read_bytes()).hexdigest() == sha
    for file, sha in manifest["metadata"].items():
        assert hashlib.sha256((made[name].root / file).read_bytes()).hexdigest() == sha
    assert manifest["recipe"]["recipe"] == name
    assert {"numpy", "soundfile", "soxr", "libsndfile", "marathon-eval"} <= manifest["versions"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_elsewhere_and_in_another_directory_order(
    name: str, made: dict[str, Made], tmp_path: Path, tts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = corpora.copied(made[name].source, tmp_path / "elsewhere", order=7)
    listing = os.scandir

    class Backwards:
        """What a file system with another order of its own gives."""

        def __init__(self, path: Any) -> None:
            with listing(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name[::-1], reverse=True)

        def __enter__(self) -> Iterator[Any]:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            self.entries = []

        def __iter__(self) -> Iterator[Any]:
            return iter(self.entries)

    monkeypatch.setattr(os, "scandir", Backwards)
    build(made[name].recipe, Order(source, tmp_path / "out", jobs=1, tts=tts))
    monkeypatch.undo()
    assert contents(tmp_path / "out") == contents(made[name].output)


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_read_what_was_built(name: str, made: dict[str, Made]) -> None:
    """The released layout: the shipped task finds every row, its audio and its target."""
    registry = Registry()
    task = load_task(registry.task_path(name), registry.task_path)
    assert isinstance(task, Task)
    docs = task.docs(
        str(made[name].output), subset="full" if name != "needle" else None, limit=None, samples=None
    )
    assert docs.n_meta == docs.n_loaded == made[name].built.rows
    assert docs.n_missing == 0
    for doc in docs.docs:
        assert doc.error is None
        assert doc.target
        assert task.requests(doc, None)


def rows_of(made: Made) -> list[dict[str, Any]]:
    content = json.loads((made.root / str(made.recipe.layout.metadata)).read_text())
    key = made.recipe.layout.rows_key
    rows: list[dict[str, Any]] = content if key is None else content[key]
    return rows


def seconds_by_file(built: Built) -> dict[str, float]:
    return {line["path"]: line["seconds"] for line in json.loads(built.manifest.read_text())["audio"]}


def test_tau_groups_by_scene_and_place(made: dict[str, Made]) -> None:
    """Files in order of name, closed before 3.5 min, a rest under 1.5 min thrown away; whole scene names as folders."""
    assert seconds_by_file(made["tau"].built) == {
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
    assert {row["path"].split("/")[0]: row["scene_label"] for row in rows_of(made["tau"])} == {
        scene: scene for scene in ("metro", "metro_station", "park")
    }


def test_had_pools_by_clip_and_loops_the_last_file(made: dict[str, Made]) -> None:
    """A genuine segment of a clip with a fake part is in the fake pool; each pool's last file is looped to 3 min."""
    lengths = seconds_by_file(made["had"].built)
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
    genders = {row["speaker_id_original"]: row["answer_gt"] for row in rows_of(made["vox_gender"])}
    assert genders == {"id00012": "Female", "id00017": "Male", "id10003": "Female"}


def test_age_groups_split_a_speaker(made: dict[str, Made]) -> None:
    assert [(row["path"], row["answer_gt"], row["speaker_age"]) for row in rows_of(made["vox_age"])] == [
        ("id00012/id00012_from_29_segment_1.wav", "Young Adult (18-30)", 29),
        ("id00012/id00012_from_45_segment_1.wav", "Mid Career (41-50)", 45),
        ("id00017/id00017_from_62_segment_1.wav", "Senior (51-70)", 62),
    ]


def test_slue_counts_the_entities_of_all_its_sentences(made: dict[str, Made]) -> None:
    (row,) = rows_of(made["slue"])
    sources = made["slue"].manifest["audio"][0]["spans"]
    expected = sum(int(span["source"].split("-")[-2]) % 4 for span in sources)
    assert row["entity_count"] == expected
    assert row[f"choice_{row['answer_gt'].lower()}"] == f"{expected} entities"
    assert row["source_count"] == len(sources) == 30


def test_desed_distractors_are_not_heard(made: dict[str, Made]) -> None:
    assert len(rows_of(made["desed"])) == 2
    for row in rows_of(made["desed"]):
        wrong = [text for letter, text in row["choices"].items() if letter != row["answer_gt"]]
        assert not {text.replace(" ", "_") for text in wrong} & set(row["all_events"])
    told = [left["why"] for left in made["desed"].manifest["left"]]
    assert told == ["too few options are false"]


def test_race_asks_every_question_of_a_passage(made: dict[str, Made]) -> None:
    rows = rows_of(made["race"])
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


def test_needles_lie_where_the_rows_say(made: dict[str, Made]) -> None:
    """Events x lengths x positions; bed, option order and level are the same at every position."""
    rows = rows_of(made["needle"])
    assert len(rows) == 3 * 3 * 3
    by_event: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_event.setdefault((row["event"], row["length"]), []).append(row)
        samples, rate = soundfile.read(made["needle"].root / row["path"])
        inside = samples[int(row["event_start"] * rate) : int(row["event_stop"] * rate)]
        before = samples[: int(row["event_start"] * rate)][-rate:]
        difference = 10 * np.log10(np.mean(inside**2) / np.mean(before**2))
        # 10 dB over the bed, to which the bed itself adds 0.4 dB and the fades take a little
        assert difference == pytest.approx(10.3, abs=0.5)
    for (_, length), group in by_event.items():
        assert len({tuple(row[f"choice_{letter}"] for letter in "abcd") for row in group}) == 1
        starts = {row["position"]: row["event_start"] for row in group}
        assert starts == pytest.approx(
            {p: f * (float(length) - 1.5) for p, f in (("start", 0.02), ("middle", 0.5), ("end", 0.98))},
            abs=0.01,
        )


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
        for row in rows_of(made[name]):
            assert len({row[f"choice_{letter}"] for letter in "abcd"}) == 4
    letters = {
        row["answer_gt"] for name in ("tau", "gtzan", "vesus", "needle") for row in rows_of(made[name])
    }
    assert letters == set("ABCD")
