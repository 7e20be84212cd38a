"""Tests that arguments, responses and rows that contain themselves are told by name, and end in no RecursionError."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import KEYS, write_task
from marathon_eval import MarathonError, simple_evaluate
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Model, ModelSettings, Request, Response, Usage
from marathon_eval.files import containing_itself, json_line
from marathon_eval.results.files import write_run

MODEL = '''
"""Answers `hall`; `loop` says whether a response's details contain themselves."""
from typing import Any
from marathon_eval.api.model import Model, ModelSettings, Response, Usage


class _Settings(ModelSettings):
    extra: dict[str, Any] = {}
    loop: bool = False


class Looped(Model):
    """Answers `hall`."""

    Settings = _Settings

    def generate(self, requests):
        details = {"tree": []}
        details["tree"].append(details["tree"])
        for number, request in enumerate(requests):
            yield request, Response("hall", usage=Usage(details=details if self.settings.loop and not number else {}))
'''

STEP = '''
"""Adds a tree whose leaf is the tree."""


def rooted(fields):
    tree = {"up": None}
    tree["up"] = [tree]
    return {**fields, "tree": tree}
'''


def loop() -> dict[str, Any]:
    found: dict[str, Any] = {"n": 1}
    found["up"] = [0, found]
    return found


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for kind, name, text in (("models", "looped", MODEL), ("row_steps", "rooted", STEP)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"{name}.py").write_text(text)
    return tmp_path


def run(mine: Path, keys: str = "", **settings: Any) -> Any:
    rows = [{"q": f"{n}?", "a": "hall"} for n in range(3)]
    task = write_task(mine, f"{KEYS}{keys}metric_list: [{{metric: exact_match}}]\n", rows)
    settings = {"model": "looped", "use_cache": str(mine / "cache"), **settings}
    return simple_evaluate(tasks=[str(task)], include_path=str(mine), **settings)


def test_arguments(mine: Path) -> None:
    with pytest.raises(MarathonError, match=r"--model_args: extra\.up\[1\] contains itself"):
        run(mine, model_args={"extra": loop()})
    with pytest.raises(MarathonError, match=r"--judge_args: extra\.up\[1\] contains itself"):
        run(mine, judge_model="looped", judge_args={"extra": loop()})
    reader = {"listener": "dummy", "reader": "looped", "reader_args": {"extra": loop()}}
    with pytest.raises(MarathonError, match=r"--model_args: reader_args\.extra\.up\[1\] contains itself"):
        run(mine, model="cascade", model_args=reader)
    once = [1, 2]
    assert run(mine, model_args={"extra": {"a": once, "b": [once, once]}}).tasks["own"].n_errors == 0


def test_a_response_is_an_error_row_and_no_other_row_changes(mine: Path) -> None:
    rows = list(run(mine, model_args={"loop": True}).samples["own"])
    assert [row.status for row in rows] == ["error", "ok", "ok"]
    assert "usage.details.tree[0] contains itself" in str(rows[0].error)


def test_a_field_of_a_row(mine: Path) -> None:
    keys = "process_docs: [rooted]\nsample_fields: [tree]\n"
    with pytest.raises(MarathonError, match=r"own: row 0: fields\.tree\.up\[0\] contains itself, which JSON"):
        run(mine, keys)


def test_results(mine: Path, tmp_path: Path) -> None:
    result = replace(run(mine), versions={"mine": loop()})
    (folder := tmp_path / "run").mkdir()
    with pytest.raises(MarathonError, match=r"results\.json: versions\.mine\.up\[1\] contains itself"):
        write_run(result, folder)
    assert not (folder / "results.json").exists()


def test_every_request_gets_a_response_where_one_cannot_be_cleared_of_secrets() -> None:
    class Telling(Model):
        """Gives the first response details that contain themselves."""

        Settings = ModelSettings

        def secrets(self) -> list[str]:
            return ["not to be told"]

        def generate(self, requests: Any) -> Any:
            for request in requests:
                yield request, Response("x", usage=Usage(details=loop() if request.prompt == "0" else {}))

    requests = [Request(str(number)) for number in range(3)]
    found = dict(complete(Telling(ModelSettings()), requests))
    assert [found[request].status for request in requests] == ["error", "ok", "ok"]


def test_where_a_value_contains_itself() -> None:
    shared: list[Any] = [1]
    assert containing_itself({"a": shared, "b": [shared, {"c": shared}]}) is None
    shared.append({"d": (shared,)})
    assert containing_itself({"x": 1, "a": shared}) == "a[1].d[0]"
    assert json.loads(json_line({"a": [shared[:1]]})) == {"a": [[1]]}
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    assert containing_itself(deep) is None
    with pytest.raises(MarathonError, match="nested too deeply for JSON"):
        json_line({"a": deep})
