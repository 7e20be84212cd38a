"""Tests the samples of a run that goes on: what `show` sees of them, and that nothing takes them for finished."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import write_task
from marathon_eval.api.model import Model, Request, Response
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.simple import simple_evaluate
from marathon_eval.files import host_name
from marathon_eval.results.files import newest_run
from marathon_eval.results.unfinished import UNFINISHED, PartialSamples, partial_rows, unfinished_below

KEYS = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\n"
ROWS = [{"q": q, "a": "x"} for q in ("1", "2", "3", "4")]
#: No process of Linux has so high a number.
DEAD = 2**22 + 1


class Watched(Model):
    """Answers `x` to all prompts but 2, which fails once; before each answer after the first it looks at the run."""

    look: Callable[[], Any]
    stop_at: str | None = None
    failed = False

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            if request.prompt == self.stop_at:
                raise KeyboardInterrupt
            self.look()
            if request.prompt == "2" and not self.failed:
                self.failed = True
                yield request, Response.failed("server busy")
            else:
                yield request, Response("x" if request.prompt != "3" else "y")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path, KEYS, ROWS)


def evaluated(tmp_path: Path, task: Path, look: Callable[[], Any], **settings: Any) -> Any:
    model = Watched(Watched.Settings())
    model.look, model.stop_at = look, settings.pop("stop_at", None)
    paths = {"output_path": tmp_path / "out", "use_cache": tmp_path / "cache"}
    return simple_evaluate(model, [str(task)], **paths, **settings)


def shown(*words: str) -> str:
    with redirect_stdout(io.StringIO()) as out:
        assert main(["show", *words]) == 0
    return out.getvalue()


def test_another_terminal_sees_rows_as_they_come_and_then_the_results(tmp_path: Path, task: Path) -> None:
    out, seen, wrong = str(tmp_path / "out"), [], []

    def look() -> None:
        seen.append(json.loads(shown(out, "--json")))
        wrong.append(shown(out, "--wrong"))
        with pytest.raises(MarathonError, match=r"no results\.json"):
            newest_run(tmp_path / "out")

    evaluated(tmp_path, task, look)
    assert [found["tasks"]["own"] for found in seen] == [
        {"n_loaded": 4, "outcomes": {}},
        {"n_loaded": 4, "outcomes": {"right": 1}},
        {"n_loaded": 4, "outcomes": {"right": 1, "error": 1}},
        {"n_loaded": 4, "outcomes": {"right": 1, "error": 1, "wrong": 1}},
    ]
    assert seen[0]["state"] == "test_unfinished goes on"
    assert "server busy" in wrong[2]
    assert "1 error, 1 wrong" in wrong[3]
    assert "test_unfinished goes on: more rows may follow" in wrong[3]
    assert not (tmp_path / "out" / UNFINISHED).exists()
    (folder,) = (path.parent for path in (tmp_path / "out").rglob("results.json"))
    text = shown(out)
    assert text.split()[:6] == ["task", "rows", "of", "right", "wrong", "error"]
    assert f"{folder}: finished" in text


def test_a_run_that_goes_on_after_a_stop_shows_the_stored_answers_too(tmp_path: Path, task: Path) -> None:
    evaluated(tmp_path, task, lambda: None, stop_at="3")
    seen = []
    evaluated(tmp_path, task, lambda: seen.append(json.loads(shown(str(tmp_path / "out"), "--json"))))
    # 1 is stored, 2 failed and is asked again
    assert [found["tasks"]["own"]["outcomes"] for found in seen] == [
        {"right": 1},
        {"right": 1, "error": 1},
        {"right": 1, "error": 1, "wrong": 1},
    ]


def test_a_run_that_asks_nothing_and_one_without_samples_write_nothing(tmp_path: Path, task: Path) -> None:
    lists = []

    def look() -> None:
        lists.append((tmp_path / "out" / UNFINISHED).exists())

    evaluated(tmp_path, task, look, log_samples=False)
    evaluated(tmp_path, task, look, limit=1)
    assert not any(lists)


def test_a_row_that_is_asked_again_counts_once(tmp_path: Path, task: Path) -> None:
    states = []

    def look() -> None:
        run = unfinished_below(tmp_path / "out")
        assert run is not None
        states.append({row["doc_id"]: row["status"] for row in partial_rows(run.folder, "own")})

    evaluated(tmp_path, task, look, retry_errors=True)
    assert states[-1] == {0: "ok", 1: "error", 2: "ok", 3: "ok"}


def test_what_a_killed_run_left_is_told_and_then_deleted(
    tmp_path: Path, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = PartialSamples(tmp_path / "out", {"model": "m", "tasks": {"own": ONE_TASK}})
    line = {**json.loads(LINE), "doc_id": 3}
    left.add("own", {**line, "status": "error", "error": "busy"})
    left.add("own", line)
    left.close()
    part = left.folder / "samples_own.jsonl.part"
    part.write_text(part.read_text() + '{"schema_version":1,"doc', encoding="utf-8")
    dead = left.folder.rename(left.folder.with_name(f"2026-01-01T00-00-00.{host_name()}.{DEAD}"))
    rows = [(row["doc_id"], row["status"]) for row in partial_rows(dead, "own")]
    assert rows == [(3, "ok")], "of a row that was asked again the last line counts, if it is whole"
    for path in (tmp_path / "out", dead):
        assert "m was killed before its end" in shown(str(path))
    evaluated(tmp_path, task, lambda: None)
    assert not dead.exists()


def test_a_stopped_run_and_a_newer_killed_one_are_both_told(
    tmp_path: Path, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(tmp_path, task, lambda: None, stop_at="3")
    (results,) = (tmp_path / "out").rglob("results.json")
    said = f"{results.parent}: interrupted: 2 of 4 rows were asked; the same command asks the others"
    assert said in shown(str(tmp_path / "out"))
    killed = PartialSamples(tmp_path / "out", {"model": "m", "tasks": {"own": ONE_TASK}})
    killed.add("own", json.loads(LINE))
    killed.close()
    dead = killed.folder.rename(killed.folder.with_name(f"2026-01-01T00-00-00.{host_name()}.{DEAD}"))
    os.utime(results, (1, 1))
    newer = f"{dead}: a newer run was killed before its end: 1 of 4 rows; `show` with this folder shows it"
    text = shown(str(tmp_path / "out"))
    assert said in text
    assert newer in text
    assert newer in shown(str(tmp_path / "out"), "--wrong")
    assert json.loads(shown(str(tmp_path / "out"), "--json"))["newer"] == newer
    assert "m was killed before its end" in shown(str(dead))
    os.utime(results)
    assert "a newer run" not in shown(str(tmp_path / "out")), "what was killed before the results is old"


def test_files_that_cannot_be_written_end_no_run(
    tmp_path: Path, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / UNFINISHED).write_text("in the way")
    result = evaluated(tmp_path, task, lambda: None)
    assert result.tasks["own"].n_scored == 3
    assert capsys.readouterr().err.count("no samples are written while the run goes on") == 1


def test_a_process_of_another_machine_may_go_on(tmp_path: Path) -> None:
    left = PartialSamples(tmp_path, {"model": "m", "tasks": {}})
    run = unfinished_below(tmp_path)
    assert run is not None
    assert run.goes_on is True
    assert run.folder.name.endswith(f".{os.getpid()}")
    left.folder.rename(left.folder.with_name("2026-01-01T00-00-00.00000000.1"))
    other = unfinished_below(tmp_path)
    assert other is not None
    assert other.goes_on is None
    written = max(file.stat().st_mtime for file in other.folder.iterdir())
    assert [other.outlives(written + more) for more in (-1, 1)] == [True, False]
    assert "m goes on, or was killed, on another machine" in shown(str(tmp_path))
    PartialSamples(tmp_path, {"model": "m", "tasks": {}}).delete()
    assert other.folder.exists(), "only those of this machine are known to be dead"


ONE_TASK = {"headline": None, "readings": ["none"], "n_loaded": 4}
LINE = (
    '{"schema_version":1,"doc_id":0,"target":"x","response":"x","status":"ok","error":null,"readings":'
    '{"none":{"answer":"x","rule":"","scores":{"exact_match":1.0}}},"usage":{},"cached":false,'
    '"prompt_sha256":null,"audio":[],"fields":{},"judge":{},"choices":[],"letters":[],"cluster":null}'
)
