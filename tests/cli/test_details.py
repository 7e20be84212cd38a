"""Tests `ls KIND NAME` for everything that `ls KIND` lists."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pytest

from marathon_eval.api.registry import Registry
from marathon_eval.cli.details import details, type_words
from marathon_eval.cli.main import main
from marathon_eval.cli.verbs.ls import PLUGIN_KINDS, names
from marathon_eval.scoring.filters.build import filter_factories

REGISTRY = Registry()


@pytest.mark.parametrize("what", PLUGIN_KINDS)
def test_everything_listed_can_be_explained(what: str) -> None:
    for name in names(what, []):
        lines = details(PLUGIN_KINDS[what], name, REGISTRY, 80)
        assert lines[0].startswith(name.partition("/")[2] or name), lines
        assert len(lines) > 1 or "group of" in lines[0], lines
        assert max(map(len, lines)) <= 80
        assert not any("<class" in line or "typing." in line for line in lines), lines


def test_a_model_lists_each_argument_with_its_limits() -> None:
    text = "\n".join(details("model", "openai_audio", REGISTRY, 300))
    settings = REGISTRY.model_class("openai_audio").Settings
    for argument in settings.model_fields:
        assert re.search(rf"^  {argument} ", text, re.MULTILINE), argument
    assert re.search(r"^  concurrency +int +default 8  at least 1, at most 256\.", text, re.MULTILINE)
    assert re.search(r"^  model +text +needed  not empty\.", text, re.MULTILINE)
    assert "A name for the server that replaces `base_url`" in text


def test_a_press_lists_each_argument() -> None:
    text = "\n".join(details("press", "dart", REGISTRY, 300))
    press = REGISTRY.press_class("dart")
    for argument in press.arguments():
        default = next(item.default for item in fields(press) if item.name == argument)
        assert re.search(rf"^  {argument} +\w", text, re.MULTILINE), argument
        assert argument == "ratio" or f"default {default!r}" in text


def test_a_filter_lists_the_options_that_it_takes() -> None:
    text = "\n".join(details("filter", "regex", REGISTRY, 300))
    assert re.search(r"^  regex_pattern +pattern +default '####", text, re.MULTILINE)
    assert re.search(r"^  group_select +int +default 0", text, re.MULTILINE)
    assert set(filter_factories()) <= set(names("filters", []))


def test_a_task_says_its_readings_and_data(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"q": "?", "a": "A"}]))
    (tmp_path / "own.yaml").write_text(
        "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: '{{ q }}'\ndoc_to_target: a\n"
        "tag: mine\nmetric_list: [{metric: exact_match}]\n"
        "headline: {reading: none, metric: exact_match, scale: 100}\n"
    )
    text = "\n".join(details("task", "own", Registry([str(tmp_path)]), 300))
    assert "own.yaml" in text
    assert "tags      mine" in text
    assert re.search(r"^headline +none exact_match, scale 100$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "int or none"),
        (str, "text"),
        (bool, "true or false"),
        (dict[str, int], "dict[str, int]"),
        ("int | None", "int or none"),
        (Literal["basic", "none"] | None, "basic or none or not given"),
    ],
)
def test_types_in_words(annotation: object, words: str) -> None:
    assert type_words(annotation) == words


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["filters", "regx"], ["no filter 'regx'", "Did you mean regex?"]),
        (["models", "qwen_omi"], ["no model 'qwen_omi'", "Did you mean qwen_omni?"]),
        (["presses", "darts"], ["Did you mean dart?"]),
        (["runs"], ["give the folder"]),
    ],
)
def test_a_mistake_is_one_line(
    flags: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", *flags]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in parts), error


def test_a_filter_of_ones_own_is_explained(tmp_path: Path) -> None:
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / "shout.py").write_text(
        'def shout(text: str, loud: int = 3) -> str:\n    """Return the text in capitals."""\n    return text.upper()\n'
    )
    text = "\n".join(details("filter", "shout", Registry([str(tmp_path)]), 300))
    assert "shout.py" in text
    assert "Return the text in capitals." in text
    assert "loud" in text
