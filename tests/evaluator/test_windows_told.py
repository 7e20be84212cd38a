"""Tests what is told of clips that are longer than a model takes, before they are asked and while they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.listening_ground import KEYS, VOTE, Ground
from helpers.minimal_task import HEARD


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_a_run_tells_rows_and_requests_apart(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--long_audio", VOTE, "--dry_run")
    assert ground.run("AABBBC BB", *flags) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["own", "2", "0", "4", "2", "0.00"]
    assert shown[2].split() == ["total", "2", "0", "4", "2", "0.00"]
    ground.run("AABBBC BB", "--long_audio", VOTE)
    shown, told = capsys.readouterr()
    assert "running 4 requests (1 rows are asked in windows) on 8 s of audio" in told
    assert "0 answers from the cache, 2 asked window by window" in shown


def test_the_requests_that_combine_notes_are_counted(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two rows of two and three windows, each answered from notes; a third row is short and asked as it is."""
    flags = ("--long_audio", "window:seconds=2,combine=map_reduce,notes_tokens=77", "--prices", "in=1,out=4")
    keys = KEYS.replace("doc_to_text: q", "doc_to_text: 'note {{q[-1]}}'")

    def plan(clips: str) -> dict[str, Any]:
        capsys.readouterr()
        assert ground.run(clips, *flags, "--dry_run", "--json", keys=keys) == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    whole = plan("AABB AABBCC BB")
    (cost,) = whole["costs"]
    assert (cost["misses"], cost["hits"], cost["combining"]) == (5 + 1 + 2, 0, 2)
    assert whole["tasks"]["own"]["requests"] == whole["estimate"]["requests"] == 8
    assert cost["most_output_tokens"] == 5 * 77 + 3 * 256
    assert 5 * 77 < cost["combining_tokens"] < 5 * 77 + 200
    assert ground.run("AABB AABBCC BB", *flags, "--dry_run", keys=keys) == 0
    shown = capsys.readouterr().out
    told = f"  2 of them combine the notes on the windows of a row, without audio: at most {cost['combining_tokens']} tokens of text"
    assert told in shown.splitlines()

    # a run whose budget ends before all notes are there, and one whose budget ends after them
    assert ground.run("AABB AABBCC BB", *flags, "--max_requests", "4", keys=keys) == 3
    (cost,) = plan("AABB AABBCC BB")["costs"]
    assert (cost["misses"], cost["hits"], cost["combining"]) == (4, 4, 2)
    assert ground.run("AABB AABBCC BB", *flags, "--max_requests", "2", keys=keys) == 3
    assert len(ground.calls()) == 6
    (cost,) = plan("AABB AABBCC BB")["costs"]
    assert (cost["misses"], cost["hits"], cost["combining"]) == (2, 6, 2), "all notes are there"
    known = cost["combining_tokens"]
    assert known < 150, "the notes themselves, and none to come"
    assert ground.run("AABB AABBCC BB", *flags, keys=keys) == 0
    assert [call[0] for call in ground.calls()] == ["", ""]
    spent = ground.results["spent"]
    assert spent["requests"] == 2
    (cost,) = plan("AABB AABBCC BB")["costs"]
    assert (cost["misses"], cost["hits"], cost["combining"], cost["combining_tokens"]) == (0, 8, 0, 0)


def test_no_notes_are_combined_where_no_window_is_cut(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--long_audio", "window:seconds=2,combine=map_reduce", "--dry_run")
    assert ground.run("BB", *flags) == 0
    assert "combine the notes" not in capsys.readouterr().out


def test_transcripts_do_not_vote(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    keys = HEARD + "language: en\nfilter_list: [{name: strict, filter: [{function: transcript}]}]\n"
    keys += "metric_list: [{metric: wer}]\nheadline: {reading: strict, metric: wer}\n"
    assert ground.run("AABBBB", "--long_audio", VOTE, keys=keys) == 2
    assert "an error rate scores own: take combine=join" in capsys.readouterr().err
    assert ground.calls() == []
    assert ground.run("AABBBB", "--long_audio", VOTE.replace("vote", "join"), keys=keys) == 0
    assert ground.run("AA", "--long_audio", VOTE, keys=keys) == 0, "a short clip has no windows"


@pytest.mark.parametrize("combine", ["vote", "last"])
def test_no_window_is_chosen_by_an_answer_that_only_a_judge_reads(
    ground: Ground, capsys: pytest.CaptureFixture[str], combine: str
) -> None:
    graded = "  - {name: graded, filter: [{function: judge_grade}]}\n"
    measured = "metric_list:\n  - {metric: grade, filter_list: graded}\n"
    judge = "headline: {reading: graded, metric: grade}\njudge: {grade: {readings: graded, scale: [1, 5]}}\n"
    flags = ("--long_audio", f"window:seconds=2,combine={combine}", "--judge_model", "dummy")
    flags = (*flags, "--judge_args", "answer=4")
    assert ground.run("BBAADD", *flags, keys=HEARD + "filter_list:\n" + graded + measured + judge) == 2
    assert f"long_audio: combine: {combine} chooses a window by its answer" in capsys.readouterr().err
    assert ground.calls() == []
    both = KEYS.partition("headline")[0].replace("metric_list:\n", graded + measured) + judge
    assert ground.run("BBAADD", *flags, keys=both) == 0
    details = ground.samples[0]["usage"]["details"]
    assert details["window_answers"] == ["B", "A", None], "the reading without a judge reads them"


class TestToldBefore:
    """The listener takes 5 s, as it says before it is asked anything."""

    def test_clips_that_do_not_fit_are_named_before_the_model_is_asked(
        self, ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ground.run("BB BBBBBBB BBBBBB", "--dry_run") == 0
        shown = capsys.readouterr().out
        assert shown.endswith("\n\n2 of 3 rows would fail\n")
        said = " ".join(shown.split())
        assert (
            "audio length warns 2 of 3 requests have more audio than the model takes and become error rows"
            in said
        )
        assert "1.wav: 7 s are over 5 s (--max_seconds leaves such rows out, --long_audio window:" in said
        assert ground.calls() == []
        ground.run("BB BBBBBBB BBBBBB")
        assert "warning: 2 of 3 requests have more audio" in capsys.readouterr().err

    def test_a_row_fails_with_one_of_its_windows(
        self, ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flags = ("--long_audio", "window:seconds=6,combine=vote", "--dry_run")
        assert ground.run("BB BBBBBBBBBBBB", *flags) == 0
        assert capsys.readouterr().out.endswith("\n1 of 2 rows would fail\n")
        assert ground.run("BB BBBB", *flags) == 0
        assert "would fail" not in capsys.readouterr().out

    def test_a_run_of_nothing_else_is_refused(
        self, ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ground.run("BBBBBBB BBBBBB") == 2
        assert "2 of 2 requests have more audio than the model takes" in capsys.readouterr().err
        assert ground.calls() == []

    @pytest.mark.parametrize(
        "flags", [("--max_seconds", "5"), ("--long_audio", "window:seconds=4,combine=vote")]
    )
    def test_the_ways_that_it_names_work(
        self, ground: Ground, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
    ) -> None:
        assert ground.run("BB BBBBBBB", *flags) == 0
        assert "more audio than" not in capsys.readouterr().err


def test_a_row_of_which_no_window_was_sent_was_not_asked(ground: Ground) -> None:
    """The budget ends after the first window of the first row."""
    assert ground.run("AABBCC DDCCAA", "--long_audio", VOTE, "--max_requests", "1") == 3
    (folder,) = {path.parent for path in (ground.folder / "out").rglob("results.json")}
    assert json.loads((folder / "results.json").read_text())["cache"] == {"hits": 0, "misses": 1}
    rows = [json.loads(line) for line in (folder / "samples_own.jsonl").read_text().splitlines()]
    reasons = sorted(row["error"] for row in rows)
    assert reasons[0] == "not asked: --max_requests 1 is reached"
    assert reasons[1].startswith("window ")
