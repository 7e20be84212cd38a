"""Tests damaged source corpora: a build fails with one line that says what and where, and leaves no partial file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import make_source_corpora
from marathon_eval.corpus.audit.source_checks import refuse_bad_sources
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.corpus.build.recipe import Recipe, load_recipe
from marathon_eval.errors import MarathonError


def tau() -> Recipe:
    return load_recipe("tau").model_copy(update={"rate": make_source_corpora.RATE})


def spoiled(folder: Path, name: str) -> Path:
    """The corpora with one fault each."""
    root = make_source_corpora.CORPORA[name.split("-")[0]](folder)
    clip = root / "audio" / "metro-lyon-1-003-a.wav"
    if name == "tau-text":
        clip.write_text("this is no sound")
    elif name == "tau-empty":
        clip.write_bytes(b"")
    elif name == "tau-no_samples":
        soundfile.write(clip, np.zeros(0), make_source_corpora.RATE)
    elif name == "tau-no_numbers":
        soundfile.write(clip, np.full(40000, np.nan), make_source_corpora.RATE, subtype="FLOAT")
    elif name == "tau-unlisted":
        shutil.copyfile(clip, clip.with_name("metro-lyon-1-999-a.wav"))
    elif name == "tau-no_table":
        (root / "meta.csv").unlink()
    elif name == "tau-other_columns":
        (root / "meta.csv").write_text((root / "meta.csv").read_text().replace("scene_label", "scene", 1))
    elif name == "tau-contradiction":
        with (root / "meta.csv").open("a") as file:
            file.write("audio/metro-lyon-1-003-a.wav\tpark\tlyon-1\ta\n")
    elif name == "tau-unknown_scene":
        (root / "meta.csv").write_text((root / "meta.csv").read_text().replace("\tpark\t", "\tparc\t"))
    elif name == "tau-too_little":
        for path in (root / "audio").glob("*-00[4-9]-a.wav"):
            path.unlink()
        for path in (root / "audio").glob("*-0[12]?-a.wav"):
            path.unlink()
    elif name == "tau-nothing":
        shutil.rmtree(root / "audio")
    return root


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("tau-text", r"metro-lyon-1-003-a\.wav: not readable as audio \("),
        ("tau-empty", r"metro-lyon-1-003-a\.wav: not readable as audio \("),
        ("tau-no_samples", r"metro-lyon-1-003-a\.wav: holds no audio"),
        ("tau-no_numbers", r"metro-lyon-1-003-a\.wav: damaged \(it holds samples that are not numbers\)"),
        ("tau-unlisted", r"meta\.csv: has no row for audio/metro-lyon-1-999-a\.wav \(1 of 51 clips\)"),
        ("tau-no_table", r"meta\.csv: no such file; --source must be the corpus's own folder"),
        (
            "tau-other_columns",
            r"meta\.csv:1: no column 'scene_label', it has filename, scene, identifier, source_label",
        ),
        (
            "tau-contradiction",
            r"meta\.csv:52: gives other values for audio/metro-lyon-1-003-a\.wav than .*meta\.csv:5",
        ),
        (
            "tau-unknown_scene",
            r"park_milan-3|parc_milan-3.*'parc' is none of the choices\. Did you mean park\?",
        ),
        (
            "tau-too_little",
            r"tau: too little material: 16 of 16 clips \(160 s\) are usable, a file needs 90 s of one group",
        ),
        ("tau-nothing", r"tau: no file below .* matches audio/\*\.wav"),
    ],
)
def test_bad_corpora_are_one_clear_line(tmp_path: Path, name: str, error: str) -> None:
    source = spoiled(tmp_path / "source", name)
    with pytest.raises(MarathonError, match=error) as caught:
        build(tau(), Order(source, tmp_path / "out", jobs=2))
    assert "\n" not in str(caught.value)
    assert [*(tmp_path / "out").rglob("*.part")] == []
    assert not (tmp_path / "out/manifests/tau.json").exists()


def test_a_truncated_source_is_not_padded(tmp_path: Path) -> None:
    source = make_source_corpora.librispeech(tmp_path / "source")
    clip = source / "LibriSpeech/test-clean/1089/134686/1089-134686-0003.flac"
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(MarathonError, match=r"1089-134686-0003\.flac: (damaged|ends)"):
        build(load_recipe("librispeech"), Order(source, tmp_path / "out"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{name} 0-1.2-T/1.2-9.9-F 0", r"label\.txt:1: segment 1\.2-9\.9 s is not inside .* of 4\.000 s"),
        ("{name} 0-1.2-X 0", r"label\.txt:1: segment '0-1\.2-X' is not start-end-T or start-end-F"),
        ("{name} 2-1-T 0", r"label\.txt:1: segment '2-1-T' is not .* with start < end"),
        ("{name} 0-1-T", r"label\.txt:1: expected `name start-end-T/\.\.\. 0\|1`"),
        ("other 0-1-T 1", r"HAD_train_real_00000000\.wav: has no line in HAD_train/HAD_train_label\.txt"),
        (
            "{name} 0-1-T 1\n{name} 0-1-T 1",
            r"label\.txt:2: HAD_train_real_00000000 was already labelled in .*:1",
        ),
    ],
)
def test_bad_labels(tmp_path: Path, line: str, error: str) -> None:
    source = make_source_corpora.had(tmp_path / "source")
    labels = source / "HAD_train" / "HAD_train_label.txt"
    lines = labels.read_text().splitlines()
    name = lines[0].split()[0]
    labels.write_text("\n".join([line.format(name=name), *lines[1:]]))
    with pytest.raises(MarathonError, match=error):
        build(load_recipe("had"), Order(source, tmp_path / "out"))


def test_labels_may_pass_the_end_by_a_rounding(tmp_path: Path) -> None:
    source = make_source_corpora.had(tmp_path / "source")
    labels = source / "HAD_train" / "HAD_train_label.txt"
    labels.write_text(labels.read_text().replace("0-4.00-T", "0-4.04-T"))
    build(load_recipe("had"), Order(source, tmp_path / "out"))


def test_events_outside_their_file(tmp_path: Path) -> None:
    source = make_source_corpora.desed(tmp_path / "source")
    table = source / "dataset/metadata/validation/validation.tsv"
    table.write_text(table.read_text().replace("\t0.5\t3.0\tCat", "\t0.5\t12.0\tCat", 1))
    with pytest.raises(
        MarathonError, match=r"validation\.tsv:2: event 0\.5-12\.0 s is not inside Y1_000\.wav of 10\.000 s"
    ):
        build(load_recipe("desed"), Order(source, tmp_path / "out"))


def test_mixed_rates_are_resampled_only_when_the_recipe_says_so(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    clip = source / "audio" / "metro-lyon-1-003-a.wav"
    soundfile.write(clip, np.sin(np.arange(80000) / 9) / 4, 8000)
    unsaid = tau().model_copy(update={"rate": None})
    with pytest.raises(MarathonError, match=r"tau: 11 clips at 4000 Hz, 1 clips at 8000 Hz; set `rate:`"):
        build(unsaid, Order(source, tmp_path / "out"))
    done = build(tau(), Order(source, tmp_path / "out"))
    line = json.loads(done.manifest.read_text())["audio"][0]
    span = line["spans"][3]
    assert (span["source_rate"], span["source_stop"], span["stop"] - span["start"]) == (8000, 80000, 40000)


@pytest.mark.parametrize(
    ("tts", "error"),
    [
        (None, r"--tts: this recipe has texts to be read aloud; give a program"),
        ("espeak-ng -f x", r"--tts: the command must name \{text\} .* and \{wav\}"),
        ("no-such-program {text} {wav}", r"--tts: no-such-program: .*No such file"),
        ("false {text} {wav}", r"--tts: false: exit 1: it wrote no audio file"),
        ("cp {text} {wav}", r"\.wav: not readable as audio"),
    ],
)
def test_reading_aloud_can_fail(tmp_path: Path, tts: str | None, error: str) -> None:
    source = make_source_corpora.race(tmp_path / "source")
    with pytest.raises(MarathonError, match=error):
        build(load_recipe("race"), Order(source, tmp_path / "out", tts=tts))


def test_a_passage_that_is_none(tmp_path: Path) -> None:
    source = make_source_corpora.race(tmp_path / "source")
    passage = source / "test/high/1.txt"
    content = json.loads(passage.read_text())
    passage.write_text(json.dumps({**content, "answers": ["A", "E"]}))
    with pytest.raises(MarathonError, match=r"test/high/1\.txt: not a passage in RACE's format"):
        build(load_recipe("race"), Order(source, tmp_path / "out", tts="cp {text} {wav}"))


def test_a_file_name_of_no_encoding(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    shutil.copyfile(source / "audio/metro-lyon-1-000-a.wav", bytes(source / "audio") + b"/caf\xe9.wav")
    with pytest.raises(
        MarathonError, match=r"caf\\udce9\.wav': the file name is not valid in any encoding; rename it"
    ):
        build(tau(), Order(source, tmp_path / "out"))


@pytest.mark.parametrize("audio", ["../{part}.wav", "/x/{part}.wav", "{scene}.wav", "{part}.mp3"])
def test_names_stay_below_the_root_and_apart(tmp_path: Path, audio: str) -> None:
    recipe = tau()
    layout = recipe.layout.model_copy(update={"audio": audio})
    select = recipe.select.model_copy(update={"max_seconds": 20})
    wide = recipe.model_copy(
        update={
            "layout": layout,
            "select": select,
            "group": recipe.group.model_copy(update={"by": ["scene"]}),
        }
    )
    source = make_source_corpora.tau(tmp_path / "source")
    for number in range(18):  # enough for a second file of one scene
        shutil.copyfile(
            source / "audio/metro-lyon-1-000-a.wav", source / f"audio/metro-lyon-1-{number + 50:03}-a.wav"
        )
        with (source / "meta.csv").open("a") as file:
            file.write(f"audio/metro-lyon-1-{number + 50:03}-a.wav\tmetro\tlyon-1\ta\n")
    with pytest.raises(MarathonError, match=r"layout\.audio (gives|names two files)"):
        build(wide, Order(source, tmp_path / "out"))
    assert [*(tmp_path / "out").rglob("*.wav")] == []


def test_sources_are_examined_before_a_file_is_made(tmp_path: Path) -> None:
    source, output = make_source_corpora.tau(tmp_path / "source"), tmp_path / "out"
    clips = sorted((source / "audio").glob("metro-lyon-1-*.wav"))
    frames, rate = 10 * make_source_corpora.RATE, make_source_corpora.RATE
    soundfile.write(clips[0], np.zeros(frames), rate)
    soundfile.write(clips[1], np.full(frames, np.nan), rate, subtype="FLOAT")
    soundfile.write(clips[2], np.sign(np.sin(np.arange(frames) * 0.3)), rate)
    shutil.copyfile(clips[3], clips[4])
    told: list[str] = []

    def examine(root: Path, names: Sequence[str]) -> None:
        refuse_bad_sources(root, names, 1, told.append)

    with pytest.raises(MarathonError) as caught:
        build(tau(), Order(source, output), examine=examine)
    head, *lines = str(caught.value).splitlines()
    assert f"{source}: 2 of " in head
    assert "source.known_bad" in head
    assert lines == [
        f"source error: non_finite: audio/{clips[1].name}: contains samples that are not finite numbers",
        f"source error: silent: audio/{clips[0].name}: peak 0.0e+00 of full scale",
    ]
    assert told[0].startswith("examining ")
    assert [line.split(": ")[:3] for line in told[1:]] == [
        ["source warning", "clipped", f"audio/{clips[2].name}"],
        ["source warning", "duplicate_audio", f"audio/{clips[4].name}"],
    ]
    assert [path for path in output.rglob("*") if path.suffix in (".wav", ".flac", ".json")] == []
    bad = [f"audio/{path.name}" for path in clips[:2]]
    recipe = tau()
    recipe = recipe.model_copy(update={"source": recipe.source.model_copy(update={"known_bad": bad})})
    assert build(recipe, Order(source, output), examine=examine).made > 0
    told.clear()
    assert build(recipe, Order(source, output), examine=examine).made == 0
    assert told == [], "what was built is not examined again"
