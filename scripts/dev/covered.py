"""Prints which lines the tests ran, by folder, from coverage's JSON report.

It fails if a folder is below the limit or a file is missing. Coverage silently leaves out source folders that are
linked into the package (models/, presses/) if they are not named, so every file that git tracks there must be in the
report. https://coverage.readthedocs.io/
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("marathon_eval", "models", "presses")
LIMIT = 90.0
LOWEST_SHOWN = 8


def tracked() -> list[str]:
    """Return the Python files of the three folders that contain at least one line of code."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *(f"{folder}/*.py" for folder in FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [name for name in listed if (ROOT / name).is_file() and (ROOT / name).stat().st_size]


def percents(files: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the percentage of lines run, per folder; 0 for a folder that the report does not contain."""
    found = {}
    for folder in FOLDERS:
        parts = [entry["summary"] for name, entry in files.items() if name.startswith(f"{folder}/")]
        lines = sum(part["num_statements"] for part in parts)
        found[folder] = 100 * sum(part["covered_lines"] for part in parts) / lines if lines else 0.0
    return found


def problems(files: Mapping[str, Mapping[str, Any]], wanted: Iterable[str]) -> list[str]:
    """Return the report's problems, one line each: folders below the limit, tracked files that are not in it."""
    below = [
        f"{folder}/: {percent:.1f} % of its lines were run, the limit is {LIMIT:g} %"
        for folder, percent in percents(files).items()
        if percent < LIMIT
    ]
    return [*below, *(f"{name}: is not in the report" for name in wanted if name not in files)]


def lowest(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the files with the most lines that no test ran."""
    order = sorted(files.items(), key=lambda item: -item[1]["summary"]["missing_lines"])
    return [
        f"  {name:<44}{entry['summary']['missing_lines']:>5} lines not run"
        for name, entry in order[:LOWEST_SHOWN]
        if entry["summary"]["missing_lines"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="the file that `coverage json` wrote")
    files = json.loads(parser.parse_args().report.read_text())["files"]
    for folder, percent in percents(files).items():
        print(f"{folder + '/':<16}{percent:6.1f} % of lines")
    print(*lowest(files), sep="\n")
    found = problems(files, tracked())
    for problem in found:
        print(f"scripts/dev/covered: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
