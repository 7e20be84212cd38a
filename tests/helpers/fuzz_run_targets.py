"""Defines the doors through which files of finished runs, archives, reviews and a hub's answers come in, as fuzz_targets.py does."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from helpers.fuzz_cases import survives
from helpers.make_result_folders import Made, write
from marathon_eval.cli.main import main
from marathon_eval.corpus.audit.review import read_verdicts
from marathon_eval.corpus.audit.row_files import NewCell, RowFile
from marathon_eval.evaluator.rescore.archive import read_archive
from marathon_eval.evaluator.rescore.verify_archive import verify_archive
from marathon_eval.report.cost import sweep_costs
from marathon_eval.results.files import read_samples

Try = Callable[[bytes], None]
#: Exit codes of a table, of a mistake, and of a table without the damaged run.
_CODES = (0, 2, 3)


def results(folder: Path) -> Try:
    """Return a function that puts bytes in the place of results.json, for the verbs that read it alone."""
    good = write(Made(rows={"gtzan": 2}), folder / "good")
    bad = write(Made(rows={"gtzan": 2}, press="dart", ratio=0.5), folder / "bad")

    def one(content: bytes) -> None:
        (bad / "results.json").write_bytes(content)
        for command in (["ls", "runs", str(folder / "bad")], ["compare", str(good), str(bad)]):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                assert main(command) in _CODES

    return one


def samples(folder: Path) -> Try:
    """Return a function that puts bytes in the place of a run's samples."""
    run = write(Made(rows={"gtzan": 2}), folder)

    def one(content: bytes) -> None:
        (run / "samples_gtzan.jsonl").write_bytes(content)
        survives(lambda: list(read_samples(run, "gtzan")))

    return one


def sweeps(folder: Path) -> Try:
    """Return a function that reads a sweep's table for a report."""
    cell: Any = SimpleNamespace(folders={"gtzan": folder / "cell" / "run"}, fingerprint_sha256="", tasks={})

    def one(content: bytes) -> None:
        (folder / "sweep.json").write_bytes(content)
        survives(lambda: sweep_costs([cell]))

    return one


def archives(folder: Path) -> Try:
    """Return a function that reads an archive's bytes and scores it again."""
    path = folder / "run.tar.gz"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        if survives(lambda: read_archive(path)) is not None:
            survives(lambda: verify_archive(path))

    return one


def verdicts(folder: Path) -> Try:
    path = folder / "verdicts.json"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: read_verdicts(path, "--verdicts"))

    return one


def row_files(folder: Path) -> Try:
    """Return a function that removes the first row of a file and changes the second, where both can be read."""

    def one(content: bytes) -> None:
        form = ("json", "jsonl", "csv", "tsv")[content[0] % 4] if content else "json"
        file = RowFile(folder / f"rows.{form}", form)
        file.path.write_bytes(content[1:])
        rows = survives(file.rows)
        if not isinstance(rows, list) or len(rows) < 2 or not isinstance(rows[1], dict) or not rows[1]:
            return
        column = next(iter(rows[1]))
        file.rewrite({0}, {1: NewCell(column, "new")})
        assert json.dumps(file.rows()[0]) == json.dumps({**rows[1], column: "new"})

    return one


RUN_DOORS: dict[str, Callable[[Path], Try]] = {
    "results": results,
    "samples": samples,
    "sweeps": sweeps,
    "archives": archives,
    "verdicts": verdicts,
    "row_files": row_files,
}
