"""Tests the `paper` reading, and its F1s, against every case that AudioMarathon's released scripts were run on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.scoring.filters.build import build_pipeline
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.released.audiomarathon_words import normalised

TASKS = json.loads(
    (Path(__file__).resolve().parents[1] / "parity" / "audiomarathon.json").read_text(encoding="utf-8")
)["tasks"]
CHOICE_CASES = [
    (task, case) for task, entry in TASKS.items() if task != "librispeech" for case in entry["cases"]
]
ASR_CASES = TASKS["librispeech"]["cases"]
#: How each script treats gold before it compares.
GOLD = {
    "slue": "strip_upper",
    "tau": "upper",
    "vesus": "upper",
    "had": "lower_strip",
    "vox_age": "strip",
    "vox_gender": "lower_strip",
}
F1: dict[str, dict[str, Any]] = {
    "race": {"labels": "ABCD", "over": "labels"},
    "slue": {"labels": "ABCD", "over": "seen"},
    "tau": {"labels": "gold", "over": "seen", "gold": "upper"},
    "gtzan": {"labels": "ABCD", "over": "labels"},
    "desed": {"labels": "ABCD", "over": "seen"},
    "vesus": {"labels": "gold", "over": "seen", "gold": "upper"},
    "had": {"labels": ["real", "fake"], "over": "seen", "gold": "lower_strip"},
    "vox_age": {"labels": "gold", "over": "labels", "gold": "strip"},
    "vox_gender": {
        "labels": ["male", "female"],
        "over": "seen",
        "average": "weighted",
        "gold": "lower_strip",
    },
}


def metric(called: str, /, **options: Any) -> Metric:
    return build_metric({"metric": f"audiomarathon.{called}", **options}, "x")


def context(case: dict[str, Any]) -> FilterContext:
    choices = tuple(case["options"] if "options" in case else case["choices"].values())
    return FilterContext(choices, tuple("ABCDE"[: len(choices)]), case["row_fields"])


def answer(task: str, text: str, row: FilterContext) -> Answer:
    pipeline = build_pipeline({"name": "paper", "filter": [{"function": f"audiomarathon.{task}"}]}, "x")
    return pipeline.apply([text], row)


def scored(task: str, case: dict[str, Any]) -> ScoredRow:
    row = context(case)
    return ScoredRow(answer(task, case["response"], row), case["gold"], row, case["id"])


@pytest.mark.parametrize(("task", "case"), CHOICE_CASES, ids=[case["id"] for _, case in CHOICE_CASES])
def test_choice_case(task: str, case: dict[str, Any]) -> None:
    row = scored(task, case)
    assert (row.answer.value or "") == case["parsed"]
    assert metric("accuracy", gold=GOLD.get(task, "as_is")).score(row) == float(case["correct"])


@pytest.mark.parametrize("case", ASR_CASES, ids=[case["id"] for case in ASR_CASES])
def test_asr_case(case: dict[str, Any]) -> None:
    row = ScoredRow(
        answer("librispeech", case["response"], FilterContext()), case["reference"], FilterContext(), ""
    )
    assert (row.answer.value or "") == case["hypothesis"]
    assert normalised(case["hypothesis"]) == case["hypothesis_normalised"]
    assert normalised(case["reference"]) == case["reference_normalised"]
    wer = metric("wer")
    assert (wer.score(row) or 0) * 100 == pytest.approx(case["wer"])
    assert bool(wer.counts([row])[0, 1]) == case["in_dataset_wer"]


def test_every_task_has_its_cases() -> None:
    assert {task: len(entry["cases"]) > 20 for task, entry in TASKS.items()} == dict.fromkeys(TASKS, True)
    assert len(TASKS) == 10


@pytest.mark.parametrize(
    ("task", "text", "parsed"),
    [
        # each of these is named in the notes on how the scripts score, and none is in the cases
        ("race", "Vitamin c", "A"),
        ("race", "assistant", "A"),
        ("gtzan", "choice a or choice b", "B"),
        ("gtzan", "grandma)", "A"),
        ("gtzan", "opera (aria)", "A"),
        ("had", "really", "real"),
        ("had", "unreal", "real"),
        ("had", "plan b", "fake"),
        ("vox_gender", "femalee", None),
        ("vox_gender", "The answer is b", None),
        ("slue", "A total of ...", "A"),
    ],
)
def test_quirks(task: str, text: str, parsed: str | None) -> None:
    case = next(case for other, case in CHOICE_CASES if other == task)
    assert answer(task, text, context(case)).value == parsed


def test_words_that_are_letters_in_vox_age() -> None:
    ages = (
        "Young Adult (18-30)",
        "Early Career (31-40)",
        "Mid Career (41-50)",
        "Senior (51-70)",
        "Elderly (71+)",
    )
    row = FilterContext(ages, tuple("ABCDE"))
    assert answer("vox_age", "I'd guess mid career (41-50)", row).value == ages[3]
    assert answer("vox_age", "a man in his forties", row).value == ages[0]


@pytest.mark.parametrize("task", sorted(GOLD))
def test_a_blank_answer_is_unanswered(task: str) -> None:
    case = next(case for other, case in CHOICE_CASES if other == task)
    assert answer(task, " \n", context(case)) == Answer(None, "empty")


def test_the_literal_prompt_format_costs_two_words() -> None:
    said = answer("librispeech", "Spoken Content: <the bell rang>", FilterContext())
    row = ScoredRow(said, "the bell rang", FilterContext(), "")
    assert said.value == "<the bell rang>"
    assert metric("wer").score(row) == pytest.approx(2 / 3)


def test_a_marker_cuts_and_so_does_its_second_occurrence() -> None:
    said = answer("librispeech", "he was content: the meal. Content: was over", FilterContext())
    assert said.value == "the meal."


def known_f1(task: str, gold: list[str], said: list[str]) -> float:
    """The scripts' own way: drop unreadable pairs, then scikit-learn with each script's labels."""
    options = F1[task]
    known = sorted(set(gold)) if options["labels"] == "gold" else list(options["labels"])
    pairs = [(g, s) for g, s in zip(gold, said, strict=True) if g in known and s in known]
    if not pairs:
        return 0.0
    labels = known if options["over"] == "labels" else None
    average = str(options.get("average", "macro"))
    return float(f1_score(*zip(*pairs, strict=True), labels=labels, average=average, zero_division=0))


@pytest.mark.parametrize("task", F1)
def test_f1_over_the_cases(task: str) -> None:
    rows = [scored(task, case) for case in TASKS[task]["cases"]]
    fold = str.lower if GOLD.get(task) == "lower_strip" else str
    gold = [fold(row.label) for row in rows]
    said = [row.answer.value or "" for row in rows]
    assert metric("f1", **F1[task]).aggregate(rows) == pytest.approx(known_f1(task, gold, said))


PAIRS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from(["A", "B", "C", "D", "X", ""])), min_size=1, max_size=30
)


@settings(max_examples=100, deadline=None)
@given(pairs=PAIRS, task=st.sampled_from(["race", "desed", "tau", "vox_age"]), weighted=st.booleans())
def test_f1_rules_over_any_answers(pairs: list[tuple[str, str]], task: str, weighted: bool) -> None:
    rows = [ScoredRow(Answer(said or None, "x"), gold, FilterContext(), "") for gold, said in pairs]
    options = {**F1[task], "average": "weighted" if weighted else "macro", "gold": "as_is"}
    gold, said = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    known = sorted(set(gold)) if options["labels"] == "gold" else list("ABCD")
    kept = [(g, s) for g, s in zip(gold, said, strict=True) if g in known and s in known]
    labels = known if options["over"] == "labels" else None
    average = options["average"]
    expected = (
        f1_score(*zip(*kept, strict=True), labels=labels, average=average, zero_division=0) if kept else 0.0
    )
    assert metric("f1", **options).aggregate(rows) == pytest.approx(expected)


def rows_of(*table: tuple[str, str | None, str]) -> list[ScoredRow]:
    return [
        ScoredRow(
            Answer(said, "x"), gold, FilterContext(("y",) * 4, tuple("ABCD"), {"audio_path": path}), path
        )
        for gold, said, path in table
    ]


def test_gold_that_no_pair_answers_lowers_only_the_means_that_hold_it() -> None:
    rows = rows_of(("A", "A", ""), ("B", None, ""))
    assert metric("f1", labels="ABCD", over="seen").aggregate(rows) == 1.0
    assert metric("f1", labels="ABCD", over="labels").aggregate(rows) == 0.25
    assert metric("f1", labels="gold", over="seen").aggregate(rows) == 1.0
    assert metric("f1", labels="gold", over="labels").aggregate(rows) == 0.5


def test_no_parsed_pair_is_zero() -> None:
    rows = rows_of(("A", None, ""), ("B", "NINE,", ""))
    assert metric("f1", labels="ABCD").aggregate(rows) == 0.0
    assert metric("accuracy").aggregate(rows) == 0.0
    assert metric("accuracy", over="parsed").aggregate(rows_of(("A", None, ""))) == 0.0


def test_gtzan_counts_parsed_rows_only_and_others_count_all() -> None:
    rows = rows_of(("A", "A", ""), ("B", None, ""), ("C", "D", ""))
    assert metric("accuracy").aggregate(rows) == pytest.approx(1 / 3)
    assert metric("accuracy", over="parsed").aggregate(rows) == pytest.approx(1 / 2)
    # the row's own verdict is wrong either way
    assert metric("accuracy", over="parsed").score(rows[1]) == 0.0


def test_stray_gold_counts_in_slues_accuracy_and_leaves_its_f1() -> None:
    rows = rows_of((" b", "B", ""), ("A", "A", ""))
    assert metric("accuracy", gold="strip_upper").aggregate(rows) == 1.0
    assert metric("f1", labels="ABCD").counts(rows).sum() == 1


def test_race_subsets_follow_the_path() -> None:
    rows = rows_of(
        ("A", "A", "test/high/1"), ("B", "C", "middle/highway/2"), ("C", "C", "middle/3"), ("D", "D", "x/4")
    )
    assert metric("accuracy", subset="high").aggregate(rows) == 0.5
    assert metric("accuracy", subset="middle").aggregate(rows) == 1.0
    assert metric("accuracy", subset="middle").score(rows[3]) is None
    # a path with neither word is in no total, but its F1 is counted with middle
    assert metric("f1", labels="ABCD", over="seen", subset="middle").counts(rows).sum() == 2


def test_hads_binary_f1_counts_unparsed_rows_as_errors() -> None:
    rows = rows_of(("fake", "fake", ""), ("fake", None, ""), ("real", None, ""), ("real", "real", ""))
    # one fake found, one missed, one real clip counted as an alarm
    assert metric("f1", average="binary", positive="fake").aggregate(rows) == pytest.approx(0.5)
    assert metric("f1", average="binary").name == "binary_f1"


def test_mean_wer_leaves_out_empty_hypotheses() -> None:
    said = [("the bell rang", "the bell rang"), ("the bell rang", None), ("the bell rang", "...")]
    rows = [ScoredRow(Answer(heard, "x"), gold, FilterContext(), "") for gold, heard in said]
    assert metric("wer").aggregate(rows) == pytest.approx(0.5)
    assert metric("wer_accuracy").aggregate(rows) == pytest.approx(0.5)
    assert metric("wer").aggregate(rows[1:2]) == 1.0


def test_names_are_those_of_the_strict_reading() -> None:
    assert metric("accuracy").name == "accuracy"
    assert metric("f1").name == "macro_f1"
    assert metric("f1", average="weighted").name == "weighted_f1"
    assert not metric("wer").higher_is_better
