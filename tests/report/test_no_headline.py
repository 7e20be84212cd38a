"""Tests what is printed of a task whose file names no headline."""

from __future__ import annotations

from pathlib import Path

from helpers.called_command import called
from helpers.minimal_task import KEYS, write_task

HEADLINE = "headline: {reading: none, metric: exact_match, scale: 100}\n"


def printed(folder: Path, *arguments: str) -> str:
    done = called(arguments, folder, {"MARATHON_EVAL_CACHE": str(folder / "cache")})
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(folder: Path, keys: str) -> str:
    write_task(folder, keys, [{"q": "?", "a": "x"}])
    return printed(folder, "--model", "dummy", "--tasks", "own.yaml", "-o", "runs")


def test_a_table_without_a_star_has_no_legend_of_it(tmp_path: Path) -> None:
    assert "*" not in run(tmp_path, KEYS)
    assert "exact_match *" in (starred := run(tmp_path, KEYS + HEADLINE))
    assert "* headline. 1 answers from the cache" in starred


def test_lists_and_leaderboards_say_why_there_is_no_score(tmp_path: Path) -> None:
    run(tmp_path, KEYS)
    assert printed(tmp_path, "ls", "runs", "runs").splitlines()[1] == "  own  n=1  the task names no headline"
    board = printed(tmp_path, "leaderboard", "runs")
    assert board.endswith(
        "| – |\n\nNo score in own: the task names no headline (the key headline of its file).\n"
    )


def test_a_task_with_a_headline_has_no_note(tmp_path: Path) -> None:
    run(tmp_path, KEYS + HEADLINE)
    assert "names no headline" not in printed(tmp_path, "leaderboard", "runs")
    assert "none exact_match 0.0" in printed(tmp_path, "ls", "runs", "runs")
