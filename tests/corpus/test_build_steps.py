"""Tests each pure step of a build alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marathon_eval.api.sound import Laid, below_ceiling, faded, gain_to, mixed_on_silence, resampled, to_pcm16
from marathon_eval.corpus.build.balance import at_most, balanced_files
from marathon_eval.corpus.build.fields import fill_value, filled
from marathon_eval.corpus.build.grouping import FileBounds, Take, grouped, pack, total_frames
from marathon_eval.corpus.build.item import Item
from marathon_eval.corpus.build.question import question_for
from marathon_eval.corpus.build.recipe import (
    Bins,
    RecipeGroup,
    RecipeNumbers,
    RecipeQuestion,
    Select,
    load_recipe,
)
from marathon_eval.corpus.build.render import spans_of
from marathon_eval.corpus.build.select import binned, selected_clips
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.corpus.build.tables import had_labels, parsed_cell, table_lines
from marathon_eval.errors import MarathonError

LENGTHS = st.lists(st.integers(1, 60), max_size=40)


def clip(path: str, seconds: int = 10, **fields: Any) -> SourceClip:
    return SourceClip(path, 0, seconds * 100, 100, 1, {"path": path, **fields})


@given(
    LENGTHS,
    st.integers(10, 50),
    st.integers(0, 40),
    st.integers(-3, 5),
    st.booleans(),
    st.sampled_from(["discard", "loop", "keep"]),
)
@settings(deadline=None, max_examples=300)
def test_packing_keeps_its_bounds_and_loses_no_clip(
    lengths: list[int], least: int, more: int, joint: int, truncate: bool, rest: str
) -> None:
    filling = FileBounds(least, least + more, joint, truncate=truncate, rest=rest)
    usable = [frames for frames in lengths if frames > max(0, -2 * joint)]
    packed = pack(usable, filling)
    for number, takes in enumerate(packed.files):
        frames = total_frames(takes, joint)
        assert frames <= least + more or (rest == "loop" and frames <= least + max(0, joint))
        assert frames >= least or (rest == "keep" and number + 1 == len(packed.files))
        assert all(0 < take.frames <= usable[take.number] for take in takes)
        if not truncate and rest != "loop":
            assert all(take.frames == usable[take.number] for take in takes)
    used = [take.number for takes in packed.files for take in takes]
    assert sorted({*used, *(number for number, _ in packed.left)}) == list(range(len(usable)))
    if rest != "loop":
        assert used == sorted(set(used)), "in order, none twice"


def test_tau_closes_a_file_before_the_maximum_and_throws_a_short_rest_away() -> None:
    packed = pack([10] * 25, FileBounds(90, 210))
    assert [total_frames(takes, 0) for takes in packed.files] == [210]
    assert packed.left == [(number, "too little for a file") for number in range(21, 25)]
    assert [total_frames(takes, 0) for takes in pack([80, 80, 80, 80], FileBounds(90, 210)).files] == [
        160,
        160,
    ]


def test_had_goes_on_to_the_minimum_truncates_at_the_maximum_and_loops_the_last() -> None:
    rule = FileBounds(180, 300, truncate=True, rest="loop")
    # 170 is under the minimum, so that the next segment is taken although it passes the maximum, and is cut
    assert pack([170, 200, 181], rule).files == [[Take(0, 170), Take(1, 130)], [Take(2, 181)]]
    # 200 is over the minimum: the next one would pass the maximum, so the file is closed
    assert pack([200, 150, 40], rule).files == [[Take(0, 200)], [Take(1, 150), Take(2, 40)]]
    assert pack([50, 30], rule).files == [[Take(0, 50), Take(1, 30), Take(0, 50), Take(1, 30), Take(0, 20)]]


def test_gaps_and_cross_fades_count() -> None:
    assert [total_frames(takes, 5) for takes in pack([40, 40, 40], FileBounds(80, 100, joint=5)).files] == [
        85
    ]
    assert [total_frames(takes, -5) for takes in pack([40, 40, 40], FileBounds(80, 110, joint=-5)).files] == [
        110
    ]


def test_groups_are_sorted_and_shuffled_by_the_seed_alone() -> None:
    clips = [clip(f"{scene}{number}", scene=scene, number=number) for scene in "ba" for number in (10, 9, 2)]
    expected = grouped(clips, RecipeGroup(by=["scene"], order=["number"]), 1)
    assert list(expected) == [("a",), ("b",)]
    assert [c.fields["number"] for c in expected["a",]] == [2, 9, 10]
    mixed = clips.copy()
    random.Random(5).shuffle(mixed)
    shuffled = RecipeGroup(by=["scene"], shuffle=True)
    assert grouped(mixed, shuffled, 1) == grouped(clips, shuffled, 1)
    many = [clip(f"{number:02}") for number in range(20)]
    assert grouped(many, RecipeGroup(shuffle=True), 1) != grouped(many, RecipeGroup(shuffle=True), 2)
    with pytest.raises(MarathonError, match=r"no field 'sceen'; known: number, path, scene"):
        grouped(clips, RecipeGroup(by=["sceen"]), 1)


def test_selection_and_bins() -> None:
    clips = [
        clip("a", 5, age=30),
        clip("b", 20, age=31),
        clip("c", 20, age=None),
        clip("d", 90, age=17),
        clip("e", 20, age=40),
    ]
    ages = binned(clips, {"group": Bins(field="age", ranges={"young": (18, 30), "old": (31, 99)})})
    assert [(c.path, c.fields["group"]) for c in ages] == [("a", "young"), ("b", "old"), ("e", "old")]
    rule = Select(min_seconds=10, max_seconds=60, drop=[{"path": ["e"]}])
    assert [c.path for c in selected_clips(clips, rule)] == ["b", "c"]
    assert [c.path for c in selected_clips(clips, Select(where={"age": ["30", 31]}))] == ["a", "b"]


def items(labels: str) -> list[Item]:
    return [Item(f"{number:02}", 1, 1, (), {"label": label}) for number, label in enumerate(labels)]


def test_balance_keeps_as_many_of_each_class() -> None:
    kept = balanced_files(items("aaaaabbbc" * 3), "label", 42)
    assert [item.fields["label"] for item in kept].count("a") == 3
    assert len(kept) == 9
    assert kept == balanced_files(items("aaaaabbbc" * 3)[::-1], "label", 42)
    assert kept != balanced_files(items("aaaaabbbc" * 3), "label", 43)
    assert [item.audio for item in at_most(items("aabab"), {"label": 2})] == ["00", "01", "02", "04"]


def question(**changes: Any) -> RecipeQuestion:
    choices = {name: name.upper() for name in "abcdef"}
    return RecipeQuestion(**{"text": "Which?", "answer": "label", "choices": choices, "shown": 4, **changes})


def test_options_are_different_and_hold_the_answer() -> None:
    orders = set()
    for seed in range(200):
        asked = question_for(question(), {"label": "c"}, random.Random(seed), "here")
        assert asked is not None
        assert asked.options[asked.answer] == "C"
        assert len(set(asked.options)) == 4
        orders.add(asked.options)
    assert len(orders) > 100
    assert {order.index("C") for order in orders} == {0, 1, 2, 3}


def test_what_is_also_true_is_no_distractor() -> None:
    rule = question(not_in="heard")
    asked = question_for(rule, {"label": "c", "heard": ["c", "d", "a"]}, random.Random(1), "here")
    assert asked is not None
    assert set(asked.options) == {"B", "C", "E", "F"}
    assert question_for(rule, {"label": "c", "heard": list("cdab")}, random.Random(1), "here") is None
    with pytest.raises(
        MarathonError, match=r"here: 'g' is none of the choices\..*They are: a, b, c, d, e, f"
    ):
        question_for(rule, {"label": "g", "heard": []}, random.Random(1), "here")


@given(st.integers(0, 200), st.integers(0, 10**6))
def test_number_options_are_near_and_different(number: int, seed: int) -> None:
    rule = RecipeQuestion(
        text="How many?", answer="n", numbers=RecipeNumbers(template="{number} words"), shown=4
    )
    asked = question_for(rule, {"n": number}, random.Random(seed), "here")
    assert asked is not None
    shown = [int(option.split()[0]) for option in asked.options]
    assert shown[asked.answer] == number
    assert len(set(shown)) == 4
    assert all(other >= 0 and abs(other - number) <= max(4, number / 2 + 1) for other in shown)


def test_only_names_in_braces_are_filled() -> None:
    fields = {"a": "{b}", "b": 7, "c": [1, 2]}
    assert filled("{a}-{b:03}-{}-{b.__class__}", fields, "x") == "{b}-007-{}-{b.__class__}"
    assert fill_value({"list": "{c}", "text": "{b} of {c}", "n": 3}, fields, "x") == {
        "list": [1, 2],
        "text": "7 of [1, 2]",
        "n": 3,
    }
    with pytest.raises(MarathonError, match=r"x: no field 'bb'\. Did you mean b\?"):
        filled("{bb}", fields, "x")


def test_sounds_come_through_bit_by_bit() -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    as_float = every.astype(np.float32) / np.float32(32768)
    np.testing.assert_array_equal(to_pcm16(mixed_on_silence(65536, [Laid(0, as_float)])), every)


def test_a_cross_fade_of_one_sound_with_itself_is_that_sound() -> None:
    tone = np.sin(np.arange(1000) / 10).astype(np.float32)
    joined = mixed_on_silence(
        1000, [Laid(0, faded(tone[:600], 0, 200)), Laid(400, faded(tone[400:], 200, 0))]
    )
    np.testing.assert_allclose(joined, tone, atol=1e-6)


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (22050, 16000), (8000, 16000), (48000, 22050)])
def test_resampling_gives_the_planned_number_of_samples(rate: int, wanted: int) -> None:
    for frames in (1, 7, 999, 44100, 44101):
        changed = resampled(np.zeros(frames, dtype=np.float32), rate, wanted)
        assert len(changed) == (frames * wanted + rate // 2) // rate
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    again = np.sin(2 * np.pi * 440 * np.arange(wanted) / wanted)
    np.testing.assert_allclose(resampled(tone, rate, wanted)[500:-500], again[500:-500], atol=1e-3)


def test_levels_and_ceiling() -> None:
    speech = np.concatenate([np.full(1000, 0.1, np.float32), np.zeros(9000, np.float32)])
    assert gain_to(speech, 1000, -20, "x") == pytest.approx(0, abs=1e-3)  # pauses do not count
    with pytest.raises(MarathonError, match=r"x: can't be brought to -20 dB: .*silent"):
        gain_to(np.zeros(1000, np.float32), 1000, -20, "x")
    loud, turned = below_ceiling(np.array([0.5, -2.0], np.float32))
    assert abs(loud).max() == pytest.approx(32767 / 32768)
    assert turned == pytest.approx(-6.02, abs=0.01)
    quiet = np.array([0.5, -1.0], np.float32)
    assert below_ceiling(quiet)[0] is quiet


def test_silence_between_pieces_is_accounted_for() -> None:
    from marathon_eval.corpus.build.item import Piece

    item = Item("x.wav", 100, 100, (Piece("a", 0, 20, 100, 10, 20), Piece("b", 0, 20, 100, 50, 20)), {})
    spans = [(span["start"], span["stop"], span["source"]) for span in spans_of(item, [0, 0])]
    assert spans == [(0, 10, None), (10, 30, "a"), (30, 50, None), (50, 70, "b"), (70, 100, None)]


def test_tables_of_real_corpora(tmp_path: Path) -> None:
    table = tmp_path / "vox2_meta.csv"
    table.write_text("\ufeffVoxCeleb2 ID ,Gender \nid1 ,f \n\nid2 ,m \n", encoding="utf-8")
    assert [line.values for line in table_lines(table)] == [
        {"VoxCeleb2 ID": "id1", "Gender": "f"},
        {"VoxCeleb2 ID": "id2", "Gender": "m"},
    ]
    table.write_text('id\ttext\na\tsaid "so, what"\n')
    assert [line.values["text"] for line in table_lines(table)] == ['said "so, what"']
    table.write_text("id,text\na,b\nc\n")
    with pytest.raises(MarathonError, match=r"vox2_meta\.csv:3: 1 columns, the header has 2"):
        list(table_lines(table))
    table.write_text("name 0-1-T 1\n")
    assert not had_labels(table)["name"].has_fake


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("36.0", "int", 36),
        ("None", "entities", []),
        ("[['LAW', 28, 21], ['DATE', 0, 4]]", "entities", ["LAW", "DATE"]),
    ],
)
def test_cells(text: str, kind: str, expected: Any) -> None:
    assert parsed_cell(text, kind, "t:1") == expected


@pytest.mark.parametrize("text", ["__import__('os')", "[[1, 2]]", "{", "[" * 5000])
def test_a_cell_is_never_run(text: str) -> None:
    with pytest.raises(MarathonError, match=r"t:1: .* cannot be read as entities"):
        parsed_cell(text, "entities", "t:1")


RECIPE = """\
recipe: mine
version: 1
source: {audio: ["*.wav"]}
concatenate: {min_seconds: 90, max_seconds: 300}
layout: {root: mine, audio: "{part}.wav"}
"""


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("version: 1", "versoin: 1", r"mine\.yaml:2: unknown key 'versoin'\. Did you mean version\?"),
        (
            "version: 1",
            "version: 1\nversion: 2",
            r"mine\.yaml:3: duplicate key 'version', first given in line 2",
        ),
        (
            "min_seconds: 90",
            "min_second: 90",
            r"mine\.yaml:4: unknown key 'min_second'\. Did you mean min_seconds\?",
        ),
        ("max_seconds: 300", "max_seconds: many", r"mine\.yaml:4: concatenate\.max_seconds: .*got 'many'"),
        (
            "max_seconds: 300",
            "max_seconds: 30",
            r"mine\.yaml:4: concatenate: .*min_seconds 90\.0 is greater than max_seconds 30\.0",
        ),
        (
            "max_seconds: 300",
            "max_seconds: 300, gap_seconds: 1, crossfade_seconds: 1",
            r"mine\.yaml:4: .*cannot be combined",
        ),
        ("concatenate:", "# concatenate:", r"mine\.yaml:1: give either concatenate or needle"),
        ('["*.wav"]', '["*.wav"], pattern: "("', r"mine\.yaml:3: pattern: not a regular expression"),
        (
            "recipe: mine",
            "recipe: !!python/name:os.system x",
            r"mine\.yaml:1: the tag .* is not supported here",
        ),
        ("recipe: mine", "recipe: [", r"mine\.yaml:\d+: broken YAML"),
    ],
)
def test_mistakes_in_a_recipe_are_told_with_file_and_line(
    tmp_path: Path, old: str, new: str, error: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(MarathonError, match=error):
        load_recipe(str(path))


def test_recipes_are_found_by_name_and_dropped_in(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(RECIPE)
    (tmp_path / "recipes" / "tau.yaml").write_text(RECIPE)
    assert load_recipe("mine", [str(tmp_path)]).recipe == "mine"
    assert load_recipe("tau", [str(tmp_path)]).recipe == "mine"
    assert load_recipe("tau").recipe == "tau"
    with pytest.raises(
        MarathonError, match=r"build: no recipe 'gtzam'\. Did you mean gtzan\? Known: desed, gtzan"
    ):
        load_recipe("gtzam")
