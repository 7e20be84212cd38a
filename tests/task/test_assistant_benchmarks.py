"""Tests MMAU-Pro, VoiceBench and BLAB on miniatures in their layouts: prompts, whole runs, and their released rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.assistant_prompts import ASSISTANT_TASKS, data_folder, make_miniatures, rendered_assistants
from helpers.audiomarathon_prompts import GOLDEN, load_shipped
from marathon_eval import simple_evaluate
from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import ScoredRow
from marathon_eval.api.model import Response
from marathon_eval.errors import RowError
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.released.blab_times import blab_duration_right, frame_hits, word_hits
from marathon_eval.scoring.released.form_tasks import MMAU_PRO_CHECKS, blab_hit, mmau_pro_kept
from marathon_eval.scoring.released.lat_bench import lat_bench_iou
from marathon_eval.task.task import Task

BLAB = json.loads(
    (Path(__file__).resolve().parents[1] / "data" / "blab_verdicts.json").read_text(encoding="utf-8")
)
SPAN_KEYS = {"entity": ("entities", "entity"), "advertisement": ("ads_segment", "text")}
VERDICTS = json.loads(
    (Path(__file__).resolve().parents[1] / "data" / "form_tasks_verdicts.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("assistants")
    make_miniatures(root)
    return root


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "datasets"))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(folder / "cache"))


def run(name: str, answer: str, **options: Any) -> Any:
    done = simple_evaluate(
        "dummy", [name], {"answer": answer}, data_dir=data_folder(name), no_cache=True, **options
    )
    return done.tasks[name]


def test_prompts_are_those_of_the_golden_file(folder: Path) -> None:
    golden = json.loads((GOLDEN / "assistant_prompts.json").read_text(encoding="utf-8"))
    assert rendered_assistants(folder) == golden, (
        "if this is meant: scripts/dev/golden/update_goldens.py assistant_prompts, and raise the task's metadata.version"
    )


@pytest.mark.parametrize(
    "case", VERDICTS["mmau_pro"], ids=lambda case: f"{case['task_identifier']} {case['text']!r:.20}"
)
def test_mmau_pro_s_instructions_are_checked_as_its_script_does(case: dict[str, Any]) -> None:
    assert mmau_pro_kept(case["text"], case) == case["followed"]


def test_every_instruction_has_verdicts_of_both_kinds() -> None:
    kinds = {(case["task_identifier"], case["followed"]) for case in VERDICTS["mmau_pro"]}
    missing = {name for name in MMAU_PRO_CHECKS if {(name, True), (name, False)} - kinds}
    assert missing == {f"Number Sentences ({kind})" for kind in ("at least", "at most", "range")}


@pytest.mark.parametrize(("text", "kept"), [("One. Two.", True), ("One.", False)])
def test_sentences_are_counted_by_a_pattern(text: str, kept: bool) -> None:
    fields = {"task_identifier": "Number Sentences (at least)", "kwargs": {"N": 2}}
    assert mmau_pro_kept(text, fields) == kept


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task_identifier": "Titel", "kwargs": {}}, "no instruction 'Titel'. Did you mean Title"),
        ({"task_identifier": "Number Bullets", "kwargs": {"N": None}}, "N must be a number"),
        ({"task_identifier": "Include Keywords", "kwargs": None}, "keywords must be a text"),
    ],
)
def test_an_instruction_that_cannot_be_read_is_an_error(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RowError, match=said):
        mmau_pro_kept("text", fields)


def test_blab_s_numbers_are_read_as_its_script_reads_them() -> None:
    assert len(VERDICTS["blab"]) > 60
    for case in VERDICTS["blab"]:
        assert blab_hit(case["text"], case["target"], case["offset"]) == case["right"], case
    row = ScoredRow(Answer("3", "test"), "three", FilterContext(), "clip")
    with pytest.raises(RowError, match="must be a number or"):
        build_metric({"metric": "blab.integer"}, "x.yaml:1").score(row)


def test_mmau_pro_runs() -> None:
    closed = run("mmau_pro_closed", "B")
    assert (closed.n_scored, closed.n_filtered) == (2, 3)
    assert closed.readings["strict"]["accuracy"].value == 1 / 2
    task = load_shipped("mmau_pro_closed")
    second = task.docs("mmau_pro").docs[1]
    assert len(task.requests(second)[0].audios) == 2
    form = run("mmau_pro_instruction_following", "A TONE")
    assert (form.n_scored, form.readings["paper"]["followed"].value) == (2, 1)
    assert run("mmau_pro_instruction_following", "a tone").readings["paper"]["followed"].value == 1 / 2


def test_the_whole_of_mmau_pro_weighs_its_rows() -> None:
    judge = {"judge_model": "dummy", "judge_args": {"answer": json.dumps(MARKS)}}
    done = simple_evaluate(
        "dummy", ["mmau_pro"], {"answer": "B"}, data_dir="mmau_pro", no_cache=True, **judge
    )
    assert done.groups["mmau_pro"]["score"] == pytest.approx((50 * 2 + 20 * 3.25 + 50 * 2) / 5)


MARKS = {"reason": "so", "correctness": 4, "relevance": 3, "completeness": 2, "clarity": 4}


def test_voicebench_runs() -> None:
    judge = {"judge_model": "dummy", "judge_args": {"answer": '{"reason": "so", "quality": 4}'}}
    for name in ("alpacaeval", "commoneval", "wildvoice"):
        (grade,) = run(f"voicebench_{name}", "Tea is hot.", **judge).readings["judged"].values()
        assert grade.value == 4
    judge["judge_args"] = {"answer": '{"reason": "so", "grade": "yes"}'}
    (grade,) = run("voicebench_sdqa", "Ida Vale.", **judge).readings["judged"].values()
    assert grade.value == 1
    for name in ("mmsu", "openbookqa"):
        for answer, value in (
            ("B", 1),
            ("The answer is B.", 1),
            ("**B**", 1),
            ("A", 0),
            ("tea", 0),
            ("A or B", 0),
        ):
            assert run(f"voicebench_{name}", answer).readings["strict"]["accuracy"].value == value, answer


def test_voicebench_s_ifeval_is_the_mean_of_four_shares() -> None:
    read = run("voicebench_ifeval", "Tea is hot").readings["form"]
    shares = [read[f"{of}_{how}"].value for of in ("rows", "rules") for how in ("strict", "loose")]
    assert shares == [1 / 2, 1 / 2, 2 / 3, 2 / 3]
    assert read["rules_followed"].value == pytest.approx(sum(shares) / 4)


def test_blab_s_places_and_durations_are_scored_as_its_scripts_score_them() -> None:
    assert min(len(BLAB[kind]) for kind in ("words", "frames", "durations")) > 30
    for case in BLAB["words"]:
        right, added, missed = word_hits(case["text"], BLAB["groundtruth"])
        assert 2 * right / (2 * right + added + missed) == pytest.approx(case["f1"]), case
    for case in BLAB["frames"]:
        hits = frame_hits(case["text"], BLAB["spans"][case["kind"]], case["kind"], *SPAN_KEYS[case["kind"]])
        assert 2 * hits[0] / (2 * hits[0] + hits[1] + hits[2]) == pytest.approx(case["f1"]), case
    for case in BLAB["durations"]:
        for verdict, offset in (("right", 0), ("within_2_s", 2)):
            gold = case["groundtruth"], case["answer_type"]
            # where the released script stops with an error, it names that
            assert blab_duration_right(case["text"], *gold, offset) == (case[verdict] is True), case


def test_an_answer_that_breaks_off_keeps_its_complete_words() -> None:
    said = '[{"word": "tea", "start": 1.0, "end": 1.4}, {"word": "It\'s", "sta'
    assert word_hits(said, BLAB["groundtruth"]) == (1, 0, 2)


def test_blab_s_gold_of_another_form_is_an_error_row() -> None:
    for metric, fields, message in (
        ({"metric": "blab.words"}, {"groundtruth": "tea"}, "must hold a list of objects"),
        ({"metric": "blab.frames", "kind": "entity"}, {"groundtruth": []}, "must be an object"),
        ({"metric": "blab.seconds"}, {"groundtruth": "3", "answer_type": "hours"}, "seconds or minutes"),
        ({"metric": "blab.seconds"}, {"groundtruth": "x", "answer_type": "minutes"}, "a number of minutes"),
    ):
        row = ScoredRow(Answer("3", "test"), "", FilterContext(doc=fields), "clip")
        with pytest.raises(RowError, match=message):
            build_metric(metric, "x.yaml:1").score(row)


def test_blab_runs() -> None:
    words = '[{"word": "tea", "start": 0.1, "end": 0.3}]'
    assert run("blab_word_localization", words).readings["paper"]["f1"].value == pytest.approx(4 / 5)
    spans = '[{"entity": "Ida", "start": 0.5, "end": 0.9}]'
    assert run("blab_named_entity_localization", spans).readings["paper"]["f1"].value == 1
    assert run("blab_event_duration", "12").readings["paper"]["accuracy"].value == 1 / 2
    assert run("blab_speaker_number", "3 people").readings["paper"]["accuracy"].value == 1
    duration = run("blab_entire_duration", "It lasts 4 seconds.").readings["paper"]
    assert (duration["accuracy"].value, duration["within_2_s"].value) == (0, 1)


def test_lat_bench_is_scored_as_its_script_scores() -> None:
    cases = VERDICTS["lat_bench"]
    assert len(cases) > 30
    for case in cases:
        iou = lat_bench_iou(case["response"], case["labels"])
        assert iou == (None if case["iou"] is None else pytest.approx(case["iou"])), case


def test_lat_bench_runs() -> None:
    for language in ("en", "cn"):
        done = run(f"lat_bench_tag_{language}", "[00:01 - 00:03]").readings
        assert done["paper"]["iou"].value == 1 / 4
        assert [done["paper"][f"recall_{limit}"].value for limit in (0.3, 0.5, 0.7)] == [1 / 2, 1 / 2, 0]
        assert done["strict"]["interval_iou"].value == 1 / 4
    unread = run("lat_bench_tag_en", "from 1 s to 2 s")
    assert unread.readings["paper"]["iou"].value is None, "the released scorer leaves it out"
    assert unread.readings["strict"]["interval_iou"].value == 1 / 2


def test_scorers_tell_right_from_wrong() -> None:
    for name in ASSISTANT_TASKS:
        task = load_shipped(name)
        assert isinstance(task, Task)
        for doc in task.docs(data_folder(name)).docs:
            assert task.score(doc, [Response("B")], predict_only=True).error is None, name
