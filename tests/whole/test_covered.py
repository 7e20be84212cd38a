"""Tests scripts/dev/covered.py: it fails for a coverage report that lacks a file or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

from dev import covered


def entry(run: int, of: int) -> dict[str, Any]:
    return {"summary": {"num_statements": of, "covered_lines": run, "missing_lines": of - run}}


@pytest.fixture
def report() -> dict[str, Any]:
    return {name: entry(95, 100) for name in covered.tracked()}


def test_a_whole_report_is_a_pass(report: dict[str, Any]) -> None:
    assert covered.problems(report, covered.tracked()) == []
    assert covered.percents(report) == dict.fromkeys(covered.FOLDERS, 95.0)


@pytest.mark.parametrize("folder", covered.FOLDERS)
def test_each_folder_is_held_to_the_limit_by_itself(report: dict[str, Any], folder: str) -> None:
    for name in report:
        if name.startswith(f"{folder}/"):
            report[name] = entry(89, 100)
    (problem,) = covered.problems(report, covered.tracked())
    assert problem.startswith(f"{folder}/: 89.0 %")


def test_a_tracked_file_that_no_test_touched_is_told(report: dict[str, Any]) -> None:
    del report["models/dummy.py"]
    assert covered.problems(report, covered.tracked()) == ["models/dummy.py: is not in the report"]


def test_linked_folders_left_out_are_told(report: dict[str, Any]) -> None:
    left = {name: one for name, one in report.items() if name.startswith("marathon_eval/")}
    found = covered.problems(left, covered.tracked())
    assert "presses/: 0.0 % of its lines were run, the limit is 90 %" in found
    assert "presses/dart.py: is not in the report" in found


def test_every_file_of_the_three_folders_is_looked_for() -> None:
    names = covered.tracked()
    for folder in covered.FOLDERS:
        here = {str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.py") if path.stat().st_size}
        assert here <= set(names), "not committed yet?"
    assert "marathon_eval/backends/hf/engine/runner.py" in names


def test_files_without_tests_come_first(report: dict[str, Any]) -> None:
    report["presses/dart.py"] = entry(1, 100)
    assert "presses/dart.py" in covered.lowest(report)[0]
