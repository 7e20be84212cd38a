"""Tests archives and sweeps that other people wrote: a mutant of any file ends in an exit code of its own, and one line.

Each mutant of a file in an archive differs from a real one at one place, and the archive's list has its right hash, so
that only the content is wrong. Verifying raises nothing, opens no connection and writes nothing outside its own folder.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from helpers import make_audiomarathon_data
from helpers.closed_desk import closed_desk
from helpers.fuzz_cases import FACTOR
from helpers.mutated_json import mutants
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.archive import read_archive, write_archive
from marathon_eval.report.cost import sweep_costs

#: Mutants of each file that are tried; `scripts/fuzz cases 20` tries twenty times as many.
CASES = 40 * FACTOR


#: A sweep's table as `sweep` writes it, with what a report reads.
SWEEP: dict[str, Any] = {
    "cells": [
        {"label": "none", "press": None, "ratio": None},
        {"label": "dart 0.5", "press": "dart", "ratio": 0.5},
    ],
    "tasks": {
        "gtzan": {
            "none": {"difference": None},
            "dart 0.5": {
                "difference": {
                    "headline": {"reading": "strict", "metric": "accuracy", "scale": 100.0},
                    "readings": {
                        "strict": {"metrics": {"accuracy": {"difference": -0.1, "ci95": [-0.2, 0.0]}}}
                    },
                }
            },
        }
    },
}


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the only folder that a test may change."""
    with closed_desk(tmp_path, monkeypatch) as folder:
        yield folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a real archive, of one task with options and one without."""
    folder = tmp_path_factory.mktemp("packed")
    data = str(make_audiomarathon_data.build(folder / "data", {"gtzan": 2, "librispeech": 1}))
    run = ["--model", "dummy", "--tasks", "gtzan,librispeech", "--data_dir", data, "--subset", "full"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([*run, "--use_cache", str(folder / "cache"), "-o", str(folder / "out")]) == 0
        packing = ["--data_dir", data, "--use_cache", str(folder / "cache"), "-o", str(folder / "run.tar.gz")]
        assert main(["pack", str(folder / "out"), *packing]) == 0
    return read_archive(folder / "run.tar.gz")


def verified() -> tuple[int, str]:
    """Verify the archive in the current folder; return the exit code and all that is printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(["unpack_verify", "run.tar.gz"])
    return code, out.getvalue()


def error_of(action: Callable[[], Any]) -> str | None:
    """Return the message of the error that a user can repair, None without one."""
    try:
        action()
    except MarathonError as error:
        return str(error)
    return None


def spread(document: Any) -> Iterator[Any]:
    """Yield CASES mutants from all over the document."""
    number = sum(1 for _ in mutants(document))
    return islice(mutants(document), 0, None, max(1, -(-number // CASES)))


def lines_of(name: str, content: bytes) -> tuple[Any, Any]:
    """Return a file's document, and the function that puts a mutant in its place."""
    if name.endswith(".yaml"):
        return yaml.safe_load(content), lambda document: yaml.safe_dump(document).encode(
            "utf-8", "backslashreplace"
        )
    if name.endswith(".jsonl"):
        lines = content.splitlines(keepends=True)
        return json.loads(lines[-1]), lambda document: b"".join([*lines[:-1], json.dumps(document).encode()])
    return json.loads(content), lambda document: json.dumps(document).encode()


def test_the_archive_itself_is_sound(closed: Path, files: dict[str, bytes]) -> None:
    write_archive(closed / "run.tar.gz", files)
    code, said = verified()
    assert code == 0, said
    assert "the same, bit for bit" in said


@pytest.mark.parametrize(
    "name",
    ["results.json", "samples_gtzan.jsonl", "docs/librispeech.jsonl", "cache.jsonl", "tasks/gtzan.yaml"],
)
def test_a_mutant_in_an_archive_is_told(closed: Path, files: dict[str, bytes], name: str) -> None:
    document, written = lines_of(name, files[name])
    tried = told = 0
    for mutant in spread(document):
        write_archive(closed / "run.tar.gz", {**files, name: written(mutant)})
        code, said = verified()
        assert code in (0, 2), mutant
        assert code == 0 or "marathon-eval: error: " in said
        assert "\x1b" not in said
        tried, told = tried + 1, told + (code == 2)
    assert tried > CASES // 3
    assert told > tried // 4


def test_a_mutant_of_a_sweep_is_told(closed: Path) -> None:
    file = closed / "sweep.json"
    cell: Any = SimpleNamespace(folders={"gtzan": closed / "cell" / "run"}, fingerprint_sha256="", tasks={})
    file.write_text(json.dumps(SWEEP))
    assert sweep_costs([cell])["gtzan"]["dart"][0].points == -10.0
    tried = told = 0
    for mutant in mutants(SWEEP):
        file.write_text(json.dumps(mutant))
        said = error_of(lambda: sweep_costs([cell]))
        assert said is None or said.startswith(f"{file}: ")
        tried, told = tried + 1, told + (said is not None)
    assert tried > 500
    assert told > 100
