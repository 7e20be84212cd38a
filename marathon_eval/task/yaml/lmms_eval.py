"""Translates the keys that only lmms-eval has to those of this harness, when a task's YAML is loaded.

The keys are described in lmms-eval's docs/task_guide.md (https://github.com/EvolvingLMMs-Lab/lmms-eval); what they do was
read in lmms_eval/api/task.py of version 0.7.3:

    doc_to_visual                       is doc_to_audio
    lmms_eval_specific_kwargs           is the second argument of doc_to_text, and of a doc_to_visual that takes two:
                                        the mapping of the model's name, else `default`
    model_specific_generation_kwargs    its `default` overrides generation_kwargs
    metadata as a list                  is merged into one mapping

lmms-eval removes white space around each response before it scores, so the readings of such a task do too.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marathon_eval.api.task_functions import bound_text, task_function
from marathon_eval.errors import MarathonError
from marathon_eval.task.yaml.loader import Document

#: Keys of a task written for lmms-eval.
_LMMS_KEYS = ("doc_to_visual", "lmms_eval_specific_kwargs", "model_specific_generation_kwargs")
_ARGUMENTS = "lmms_eval_specific_kwargs"
_GENERATION = "model_specific_generation_kwargs"
#: Entries of lmms_eval_specific_kwargs that stand for any model, in lmms-eval's order.
_FALLBACKS = ("default", "dataset")
_STRIP = {"function": "remove_whitespace"}
_READINGS = [{"name": "none", "filter": [{"function": "take_first"}]}]


def translated(document: Document) -> Document:
    """Return the document in this harness' keys. Raises MarathonError with file and line."""
    values = dict(document.values)
    if isinstance(values.get("metadata"), list):
        values["metadata"] = _merged(values["metadata"], document)
    if not any(values.get(key) is not None for key in _LMMS_KEYS):
        return replace(document, values=values)
    places = dict(document.places)
    if (audio := values.pop("doc_to_visual", None)) is not None:
        if values.get("doc_to_audio") is not None:
            raise MarathonError(
                f"{document.where('doc_to_visual')}: doc_to_visual: the task has doc_to_audio too; give one"
            )
        values["doc_to_audio"] = audio
        places[("doc_to_audio",)] = document.where("doc_to_visual")
    _bind_arguments(values, document)
    _merge_generation(values, document)
    values["filter_list"] = [_stripped(entry) for entry in values.get("filter_list") or _READINGS]
    return replace(document, values=values, places=places)


def arguments_for(table: Mapping[str, Any], model: str | None) -> Mapping[str, Any]:
    """Return the arguments of a model's functions, as lmms-eval chooses them from lmms_eval_specific_kwargs."""
    if model is not None and isinstance(table.get(model), Mapping):
        return dict(table[model])
    fallback = next((name for name in _FALLBACKS if isinstance(table.get(name), Mapping)), None)
    return {**table, **(table[fallback] if fallback else {})}


def _bind_arguments(values: dict[str, Any], document: Document) -> None:
    """Give the functions their second argument; a model with arguments of its own gets a variant of the prompt."""
    table = _mapping(values.pop(_ARGUMENTS, None), _ARGUMENTS, document)
    if table is None:
        return
    text, audio = values.get("doc_to_text"), task_function(values.get("doc_to_audio"))
    if isinstance(text, str) and task_function(text) is not None:
        values["doc_to_text"] = bound_text(text, arguments_for(table, None))
        own = {
            name: {"doc_to_text": bound_text(text, arguments_for(table, name))}
            for name, entry in table.items()
            if isinstance(entry, Mapping) and name not in _FALLBACKS
        }
        given = values.get("prompt_variants") or {}
        values["prompt_variants"] = {**own, **given}
    if audio is not None and len(inspect.signature(audio.target).parameters) == 2:
        values["doc_to_audio"] = bound_text(values["doc_to_audio"], arguments_for(table, None))


def _merge_generation(values: dict[str, Any], document: Document) -> None:
    table = _mapping(values.pop(_GENERATION, None), _GENERATION, document)
    if table is None:
        return
    if models := sorted(set(table) - {"default"}):
        raise MarathonError(
            f"{document.where(_GENERATION)}: {_GENERATION}: only `default` is supported here; for {', '.join(models)} "
            "give --gen_kwargs"
        )
    default = _mapping(table.get("default"), _GENERATION, document) or {}
    values["generation_kwargs"] = {**(values.get("generation_kwargs") or {}), **default}


def _stripped(entry: Any) -> Any:
    """Return an entry of filter_list that ends by removing white space; what is no such entry is refused later."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("filter"), list):
        return entry
    return {**entry, "filter": [*entry["filter"], _STRIP]}


def _merged(entries: list[Any], document: Document) -> dict[str, Any]:
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise MarathonError(f"{document.where('metadata')}: metadata: must be a mapping, or a list of them")
    return {str(key): value for entry in entries for key, value in entry.items()}


def _mapping(value: Any, key: str, document: Document) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise MarathonError(f"{document.where(key)}: {key}: must be a mapping, got {value!r:.80}")
    return value
