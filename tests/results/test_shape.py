"""Tests that every verb reports malformed files of a run in one line."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import KEYS, write_task
from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cli.main import main
from marathon_eval.results.files import newest_run

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    path = write_task(folder, KEYS, [{"q": "one", "a": "A"}, {"q": "two", "a": "B"}])
    flags = ["--tasks", str(path), "--output_path", str(folder / "out"), "--no_cache"]
    assert main(["--model", "dummy", *flags]) == 0
    return newest_run(folder / "out")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> None:
    capsys.readouterr()
    code, said = main([str(one) for one in arguments]), capsys.readouterr().err.splitlines()
    assert (code, len(said)) == (2, 1), said
    assert said[0].startswith("marathon-eval: error: ")


def metric(results: dict[str, Any], value: Any) -> None:
    results["tasks"]["own"]["none"]["exact_match"]["value"] = value


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one.update(fingerprint=None),
        lambda one: one["fingerprint"].update(press={"press": "dart", "ratio": "x"}),
        lambda one: one.update(tasks=[1]),
        lambda one: one["tasks"].update(own=None),
        lambda one: one["tasks"].update(own={}),
        lambda one: one.update(started=5),
        lambda one: one.update(versions=[1]),
        lambda one: one.update(wall_s=10**400),
        lambda one: metric(one, "x"),
        lambda one: metric(one, 10**400),
        lambda one: metric(one, True),
        lambda one: one["tasks"]["own"]["none"]["exact_match"].update(ci95=["x", 1]),
        lambda one: one["tasks"]["own"]["none"]["exact_match"].update(ci95=[]),
        lambda one: one["tasks"]["own"].update(n_scored=[]),
        lambda one: one["tasks"]["own"].update(n_unanswered=5),
        lambda one: one["tasks"]["own"].update(usage=None),
    ],
)
def test_results_of_another_form_are_one_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit
) -> None:
    odd = shutil.copytree(run, tmp_path / "odd")
    results = json.loads((odd / "results.json").read_text())
    edit(results)
    (odd / "results.json").write_text(json.dumps(results))
    refused(capsys, "compare", run, odd)
    refused(capsys, "leaderboard", odd)
    refused(capsys, "report", odd, "--output_path", tmp_path / "report.html")


@pytest.mark.parametrize(
    "line", [b"[1]", b"null", b'{"schema_version": 1}', b'{"doc_id": [1]}', b"\xff\xfe", b"[" * 100_000]
)
def test_samples_of_another_form_are_one_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    odd = shutil.copytree(run, tmp_path / "odd")
    (odd / "samples_own.jsonl").write_bytes(line + b"\n")
    refused(capsys, "compare", run, odd)
    refused(capsys, "report", odd, "--output_path", tmp_path / "report.html")


@pytest.mark.parametrize(
    "value", ["[1]", "5", '{"fingerprint": 1, "created": 2}', '{"fingerprint": "f"}', "[" * 100_000]
)
def test_an_answer_of_another_form_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("INSERT INTO entries VALUES (?, ?)", ("response/" + "a" * 64, value))
    refused(capsys, "cache", "ls", "--use_cache", tmp_path)
    refused(capsys, "cache", "prune", "--older_than", "1", "--use_cache", tmp_path)
    refused(capsys, "cache", "export", tmp_path / "o.jsonl", "--use_cache", tmp_path)
