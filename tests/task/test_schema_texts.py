"""Tests that the JSON Schema explains every key of a task's YAML, with an example that is valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from marathon_eval.task.yaml import config, data_config, dialogue_keys, judge_keys, long_audio
from marathon_eval.task.yaml.config import GroupConfig, TaskConfig, task_schema

#: What each class needs beside the key that is tried.
NEEDED: dict[str, dict[str, Any]] = {
    "TaskConfig": {"dataset_path": "csv", "doc_to_text": "q", "doc_to_target": "a"},
    "GroupConfig": {"group": "g", "task": ["gtzan"]},
    "Headline": {"reading": "strict", "metric": "accuracy"},
    "StripPrefix": {"columns": "a", "prefix": "b"},
    "Message": {"content": "q"},
    "Join": {"file": "a.csv", "column": "b"},
    "AudioColumns": {"path": "a"},
    "LongAudio": {"window": {"seconds": 600, "combine": "vote"}},
    "Windows": {"seconds": 600, "combine": "vote"},
    "RowFilter": {"fields": {"a": "b"}},
    "Balance": {"by": "a"},
    "JudgeGate": {"reading": "strict", "metric": "accuracy"},
    "JudgePrompt": {"readings": "a", "prompt": "b"},
    "GradePrompt": {"readings": "a"},
}


def definitions() -> dict[str, dict[str, Any]]:
    schema = task_schema()
    return {"TaskConfig": schema["else"], **schema["$defs"]}


def keys() -> Iterator[tuple[str, str]]:
    for name, definition in definitions().items():
        yield from ((name, key) for key in definition["properties"])


@pytest.mark.parametrize(("name", "key"), list(keys()))
def test_every_key_has_its_meaning_and_a_valid_example(name: str, key: str) -> None:
    about = definitions()[name]["properties"][key]
    assert about.get("description"), "no description"
    assert len(about["examples"]) == 1, "no example in examples.yaml"
    if key == "include":  # read before the keys are checked
        return
    (kind,) = {
        getattr(module, name)
        for module in (config, data_config, dialogue_keys, judge_keys, long_audio)
        if hasattr(module, name)
    }
    needed = {} if name == "RowStepConfig" else NEEDED.get(name, {})
    if name == "GradePrompt" and key != "labels":
        needed = {**needed, "scale": [1, 5]}
    kind.model_validate({**needed, key: about["examples"][0]})


def test_an_invalid_example_would_be_noticed() -> None:
    with pytest.raises(pydantic.ValidationError):
        TaskConfig.model_validate({**NEEDED["TaskConfig"], "repeats": "often"})
    with pytest.raises(pydantic.ValidationError):
        GroupConfig.model_validate({**NEEDED["GroupConfig"], "tags": "x"})


def test_examples_name_only_keys_that_exist() -> None:
    known = set(keys())
    examples = yaml.safe_load((Path(config.__file__).parent / "examples.yaml").read_text())
    assert {(name, key) for name, values in examples.items() for key in values} <= known
