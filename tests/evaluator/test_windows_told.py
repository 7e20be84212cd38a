"""Tests what is told of clips that are longer than a model takes, before they are asked and while they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.listening_ground import VOTE, Ground
from helpers.minimal_task import HEARD


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_a_run_tells_rows_and_requests_apart(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--long_audio", VOTE, "--dry_run")
    assert ground.run("AABBBB BB", *flags) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["own", "2", "0", "4", "2", "0.00"]
    assert shown[2].split() == ["total", "2", "0", "4", "2", "0.00"]
    ground.run("AABBBB BB", "--long_audio", VOTE)
    shown, told = capsys.readouterr()
    assert "running 4 requests (1 rows are asked in windows) on 8 s of audio" in told
    assert "0 answers from the cache, 2 asked window by window" in shown


def test_transcripts_do_not_vote(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    keys = HEARD + "language: en\nfilter_list: [{name: strict, filter: [{function: transcript}]}]\n"
    keys += "metric_list: [{metric: wer}]\nheadline: {reading: strict, metric: wer}\n"
    assert ground.run("AABBBB", "--long_audio", VOTE, keys=keys) == 2
    assert "an error rate scores own: take combine=join" in capsys.readouterr().err
    assert ground.calls() == []
    assert ground.run("AABBBB", "--long_audio", VOTE.replace("vote", "join"), keys=keys) == 0
    assert ground.run("AA", "--long_audio", VOTE, keys=keys) == 0, "a short clip has no windows"


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
