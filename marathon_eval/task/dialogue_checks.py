"""Checks the keys of a task's YAML that go with `doc_to_messages`, and those that do not."""

from __future__ import annotations

from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.loader import Document

#: Keys that have no meaning where a row has several turns, and why.
_SINGLE: dict[str, str] = {
    "doc_to_text": "doc_to_messages holds the questions; give one of the two",
    "num_fewshot": "examples stand before a single question",
    "description": "write it into the first turn",
    "gen_prefix": "the beginning of an answer would stand before every turn's",
    "repeats": "each turn is asked once",
    "judge": "a judge reads one answer",
}


def check_dialogue(config: TaskConfig, document: Document) -> None:
    """Raise MarathonError where the keys of a task do not fit its turns, or readings name turns without any."""
    has_turns = config.doc_to_messages is not None
    for place, spec in enumerate(config.filter_list):
        if ("turn" in spec) != has_turns:
            advice = (
                "add `turn: 1`, `turn: 2`, ... or `turn: last`: a task with doc_to_messages has an answer for each turn"
                if has_turns
                else "`turn` is for tasks with doc_to_messages"
            )
            raise MarathonError(
                f"{document.where('filter_list', place)}: filter_list: '{spec.get('name')}': {advice}"
            )
    if not has_turns:
        return
    defaults: dict[str, Any] = {"num_fewshot": 0, "repeats": 1}
    given = {key: getattr(config, key) for key in _SINGLE}
    for key, value in given.items():
        if value and value != defaults.get(key):
            raise MarathonError(
                f"{document.where(key)}: {key}: does not go with doc_to_messages: {_SINGLE[key]}"
            )
    if any(variant.doc_to_text or variant.gen_prefix for variant in config.prompt_variants.values()):
        raise MarathonError(
            f"{document.where('prompt_variants')}: prompt_variants: a task with doc_to_messages has variants of `system` alone"
        )
