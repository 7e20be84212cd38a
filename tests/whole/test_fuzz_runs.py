"""Tests runs that other people wrote: whatever stands in their files, a verb ends with an exit code of its own.

Each mutant of results.json, of a sample, of a packed run and of an exported answer differs from a real one at one place.
No verb may raise, open a connection or write outside the folders that the user named.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers.closed_desk import closed_desk
from helpers.filled_cache import fill
from helpers.make_result_folders import Made, write
from helpers.mutated_json import mutants
from marathon_eval.cli.main import main
from marathon_eval.errors import DamagedRunError
from marathon_eval.results.files import read_samples

ROWS = {"gtzan": 3, "librispeech": 2}
#: Exit codes of a complete table, of a mistake, and of a table without a damaged run.
CODES = (0, 2, 3)
#: Every how many mutants a verb of that cost is tried; `--full` tries all but reports on all.
CHEAP, MIDDLING, COSTLY = 1, 6, 400


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the only folder that a test may change."""
    with closed_desk(tmp_path, monkeypatch) as folder:
        yield folder


def code_of(*arguments: object) -> int:
    """Run a verb, and return its exit code. Control characters on the terminal fail the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    assert "\x1b" not in out.getvalue() + err.getvalue()
    assert code == 0 or err.getvalue().strip()
    return code


def hold(
    documents: Sequence[Any], put: Callable[[Any], None], verbs: Sequence[tuple[int, Callable[[], int]]]
) -> int:
    """Try verbs on documents, each verb on every n-th, and return how many documents were tried."""
    for number, document in enumerate(documents):
        put(document)
        for every, verb in verbs:
            if number % every == 0:
                assert verb() in CODES, document
    return len(documents)


def test_results(desk: Path) -> None:
    good, bad = (
        write(Made(rows=ROWS), desk / "good"),
        write(Made(rows=ROWS, press="dart", ratio=0.5), desk / "bad"),
    )
    file = bad / "results.json"
    real = json.loads(file.read_text())
    tried = hold(
        list(mutants(real)),
        lambda document: void(file.write_text(json.dumps(document))),
        [
            (CHEAP, lambda: code_of("ls", "runs", "bad")),
            (MIDDLING, lambda: code_of("leaderboard", "good", "bad")),
            (MIDDLING, lambda: code_of("compare", good, bad)),
            (COSTLY, lambda: code_of("report", "good", "bad", "--output_path", "page.html")),
            (COSTLY, lambda: code_of("score", bad, "--include_path", "bad")),
            (COSTLY, lambda: code_of("pack", bad, "--output", "run.tar.gz")),
        ],
    )
    assert tried > 3500


def test_samples(desk: Path) -> None:
    good, bad = (
        write(Made(rows=ROWS), desk / "good"),
        write(Made(rows=ROWS, press="dart", ratio=0.5), desk / "bad"),
    )
    file = bad / "samples_gtzan.jsonl"
    first, *others = file.read_text().splitlines(keepends=True)
    # a run is not compared with itself, and this one has the same files
    (again := desk / "again").mkdir()
    for each in bad.iterdir():
        (again / each.name).symlink_to(each)
    tried = hold(
        list(mutants(json.loads(first))),
        lambda document: void(file.write_text(json.dumps(document) + "\n" + "".join(others))),
        [
            (CHEAP, lambda: read(bad)),
            (2, lambda: code_of("compare", good, bad)),
            (COSTLY, lambda: code_of("report", "good", "bad", "--output_path", "page.html")),
            (COSTLY, lambda: code_of("judge_agreement", bad, again)),
        ],
    )
    assert tried > 900


def test_exported_answers(desk: Path) -> None:
    fill(desk / "from")
    assert code_of("cache", "export", "all.jsonl", "--use_cache", "from") == 0
    lines = sorted((desk / "all.jsonl").read_text().splitlines(keepends=True), key=len)
    others, longest = lines[:-1], lines[-1]

    def merged() -> int:
        shutil.rmtree("into", ignore_errors=True)
        return code_of("cache", "merge", "changed.jsonl", "--use_cache", "into")

    tried = hold(
        list(mutants(json.loads(longest)))[::2],
        lambda document: void(
            (desk / "changed.jsonl").write_text(json.dumps(document) + "\n" + "".join(others))
        ),
        [(CHEAP, merged)],
    )
    assert tried > 300


def read(run: Path) -> int:
    """Read the samples of a run as all verbs do, and return an exit code."""
    try:
        list(read_samples(run, "gtzan"))
    except DamagedRunError:
        return 2
    return 0


def void(_: object) -> None:
    """Drop a value."""
