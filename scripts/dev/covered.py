"""Which lines the tests ran, folder by folder: reads coverage's JSON report, and fails below the limit or with a file missing.

Source folders that are linked into the package (models/, presses/) are left out of a report without a word when they are not
named, so every file that git tracks there must be in it. https://coverage.readthedocs.io/
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
    """The Python files of the three folders that hold at least one line of code."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *(f"{folder}/*.py" for folder in FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [name for name in listed if (ROOT / name).is_file() and (ROOT / name).stat().st_size]


def percents(files: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Lines run of all lines, per folder and in percent; 0 for a folder of which the report has nothing."""
    found = {}
    for folder in FOLDERS:
        parts = [entry["summary"] for name, entry in files.items() if name.startswith(f"{folder}/")]
        lines = sum(part["num_statements"] for part in parts)
        found[folder] = 100 * sum(part["covered_lines"] for part in parts) / lines if lines else 0.0
    return found


def problems(files: Mapping[str, Mapping[str, Any]], wanted: Iterable[str]) -> list[str]:
    """What is wrong with a report, a line each: a folder below the limit, a tracked file that is not in it."""
    below = [
        f"{folder}/: {percent:.1f} % of its lines were run, and {LIMIT:g} % are wanted"
        for folder, percent in percents(files).items()
        if percent < LIMIT
    ]
    return [*below, *(f"{name}: is not in the report" for name in wanted if name not in files)]


def lowest(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The files with the most lines that no test ran."""
    order = sorted(files.items(), key=lambda item: -item[1]["summary"]["missing_lines"])
    return [
        f"  {name:<44}{entry['summary']['missing_lines']:>5} lines not run"
        for name, entry in order[:LOWEST_SHOWN]
        if entry["summary"]["missing_lines"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="what `coverage json` wrote")
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
