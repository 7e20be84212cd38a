"""Validates a YAML document against its typed config and reports each mistake as `file:line: ...`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from marathon_eval.api.task_functions import called, task_function
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.task.data.arguments import ignored_arguments, wrong_layouts
from marathon_eval.task.yaml.data_config import DATASETS_ARGUMENTS, DatasetKwargs, refused_argument

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from marathon_eval.task.yaml.loader import Document

Config = TypeVar("Config", bound=BaseModel)

_PYTHON = "it would run Python; use templates, filters and the built-in row steps"
REFUSED_KEYS = {
    "class": _PYTHON,
    "custom_dataset": _PYTHON,
    "process_results": "it would run Python; use filter_list and metric_list",
    "use_prompt": "marathon-eval does not use promptsource; write doc_to_text",
    "doc_to_image": "models get audio and text, no images",
    "doc_to_messages": "a function may not write turns; list them, or name a column or template that gives a list",
    "doc_to_video": "models get audio and text, no images",
    "model_specific_target_kwargs": "the gold answer does not depend on the model",
    "reasoning_tags": "add the filter strip_reasoning to filter_list",
    "cluster_key": "name the column of clusters in `cluster`",
    "score_key": "name the column of clusters in `cluster`; every metric gets its interval",
    "task_list": "one file holds one task; write one file per variant, with include",
}
REFUSED_VALUES = {
    ("output_type", "loglikelihood"): "answers are generated, not ranked by likelihood; use generate_until",
    ("output_type", "loglikelihood_rolling"): "answers are generated; use generate_until",
    (
        "output_type",
        "multiple_choice",
    ): "in lm-eval it ranks likelihoods; use generate_until and a choice filter",
    ("full_docs", True): "process_results gets one row; a figure over all rows is an aggregation's",
    ("process_results_use_image", True): "models get audio and text, no images",
    ("auto_strip_thinking", True): "add the filter strip_reasoning to filter_list",
    ("unsafe_code", True): "code in responses is never run",
}
#: Keys that other harnesses read only where they are called in another way, each with what they are for.
WITHOUT_EFFECT = {
    "should_decontaminate": "lm-eval compares with training sets only where it gets their n-grams",
    "doc_to_decontamination_query": "lm-eval compares with training sets only where it gets their n-grams",
}
#: What to write in a task without right answers.
WITHOUT_GOLD = (
    'without right answers, write doc_to_target: "" with gold_is: any_text for metrics that need none, or with '
    "gold_is: absent for rows that are asked and not scored"
)
_BOOLEAN_HINT = " (YAML reads yes, no, on and off as true and false: quote them)"


def is_group(document: Document) -> bool:
    """Return whether a YAML is a group: it has the key `group`, or a list under `task`."""
    return "group" in document.values or isinstance(document.values.get("task"), list)


def parsed_config(document: Document, config: type[Config]) -> Config:
    """Return the validated config of a YAML. Raises MarathonError with one `file:line: ...` per mistake."""
    refused = [*_refused(document)]
    if refused:
        raise MarathonError("\n".join(refused))
    # in lm-eval's YAMLs, null means that the key is not set
    values = {key: value for key, value in document.values.items() if value is not None}
    if "process_results" in values:  # it reads the row itself, so that there need be no target
        values = {"doc_to_target": "", "gold_is": "any_text", **values}
    if "doc_to_messages" in values:  # they are the question
        values.setdefault("doc_to_text", "")
    fewshot = values.get("fewshot_config")
    if isinstance(fewshot, dict) and (code := task_function(fewshot.get("samples"))) is not None:
        values["fewshot_config"] = {**fewshot, "samples": called(code)}
    for key in WITHOUT_EFFECT:
        if values.get(key):
            _tell_without_effect(document.where(key), key)
    try:
        return config.model_validate(values)
    except ValidationError as error:
        # a misspelt key also causes a missing one: print the misspelling first
        errors = sorted(error.errors(), key=lambda item: item["type"] == "missing")
        messages = dict.fromkeys(_message(document, config, item) for item in errors)
        raise MarathonError("\n".join(messages)) from None


@cache
def _tell_without_effect(where: str, key: str) -> None:
    """Print, once for each place, that a key changes nothing here."""
    print(f"marathon-eval: note: {where}: {key} has no effect here: {WITHOUT_EFFECT[key]}", file=sys.stderr)


def _refused(document: Document) -> Iterator[str]:
    for key, value in document.values.items():
        if _is_refused(key, value):
            yield f"{document.where(key)}: '{key}' is not supported here: {REFUSED_KEYS[key]}"
        elif isinstance(value, (str, bool)) and (key, value) in REFUSED_VALUES:
            name = value if isinstance(value, str) else f"{key}: true"
            yield f"{document.where(key)}: '{name}' is not supported here: {REFUSED_VALUES[key, value]}"
    yield from _refused_arguments(document)


def _refused_arguments(document: Document) -> Iterator[str]:
    """Yield a message for each key of dataset_kwargs that nothing reads, or that is the user's to set."""
    arguments = document.values.get("dataset_kwargs")
    # null means that the key is not set; `token: true` asks for the saved login, which is sent anyway
    given = {
        str(name): value
        for name, value in (arguments.items() if isinstance(arguments, dict) else ())
        if value is not None and not (name == "token" and value is True)
    }
    refused = {name: refused_argument(name) for name in given if name not in DatasetKwargs.model_fields}
    path = document.values.get("dataset_path")
    reasons = dict(ignored_arguments(path, given))
    reasons |= {name: reason for name, reason in refused.items() if reason is not None}
    for name, reason in reasons.items():
        yield f"{_argument(document, name)}: {reason}"
    yield from wrong_layouts(path, given, partial(_argument, document))


def _argument(document: Document, name: str) -> str:
    """Return the start of an error about a key of dataset_kwargs."""
    return f"{document.where('dataset_kwargs', name)}: dataset_kwargs"


def _is_refused(key: str, value: Any) -> bool:
    if key in ("process_results", "doc_to_messages"):
        # a function may score rows, and may not write turns
        return (task_function(value) is None) == (key == "process_results") and value is not None
    return key in REFUSED_KEYS and value is not None


def _message(document: Document, config: type[BaseModel], error: ErrorDetails) -> str:
    """Describe one mistake in one line."""
    keys = error["loc"]
    where, last = document.where(*keys), keys[-1]
    if error["type"] == "extra_forbidden":
        fields = _model_at(config, keys[:-1]).model_fields
        of_rows = last in DatasetKwargs.model_fields or last in DATASETS_ARGUMENTS
        if of_rows and len(keys) == 1 and "dataset_kwargs" in fields:
            return f"{where}: unknown key '{last}': write it inside dataset_kwargs, as dataset_kwargs: {{{last}: ...}}"
        # the keys of a whole task are too many for a line; `ls` and the schema list them
        allowed = f" Keys of {keys[-2]}: {', '.join(fields)}" if len(keys) > 1 else ""
        return f"{where}: unknown key '{last}'.{did_you_mean(str(last), fields)}{allowed}"
    if error["type"] == "missing":
        hint = f"; {WITHOUT_GOLD}" if keys == ("doc_to_target",) else ""
        return f"{where}: '{'.'.join(map(str, keys))}' is required{hint}"
    value = error["input"]
    hint = _BOOLEAN_HINT if isinstance(value, bool) else ""
    path = ".".join(str(key) for key in _written(document.values, keys))
    return f"{where}: {path}: {error['msg'][0].lower()}{error['msg'][1:]}, got {value!r}{hint}"


def _written(values: Any, keys: tuple[str | int, ...]) -> Iterator[str | int]:
    """Yield the keys of an error's location that exist in the YAML; later ones name members of a union type."""
    for key in keys:
        try:
            values = values[key]
        except (TypeError, LookupError):
            return
        yield key


def _model_at(config: type[BaseModel], keys: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the model that declares the keys at a location."""
    for key in keys:
        field = config.model_fields.get(key) if isinstance(key, str) else None
        if field is not None:
            config = next(_models_in(field.annotation), config)
    return config


def _models_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
