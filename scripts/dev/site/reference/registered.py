"""Makes the references of models, presses, filters, metrics and row steps from the classes that the registry finds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from marathon_eval.api.press import PruningPress
from marathon_eval.api.registry import Registry
from marathon_eval.cli.details import comments, default_and_limits, type_words
from marathon_eval.cli.verbs.ls import press_line
from marathon_eval.scoring.filters.build import filter_factories
from marathon_eval.scoring.metrics.build import metric_factories
from marathon_eval.task.data.row_steps import ROW_STEPS
from marathon_eval.task.yaml.data_config import RowStepConfig
from reference.tables import code, table, words


def pages() -> dict[str, str]:
    """Return the pages by their place in the site."""
    return {
        "reference/models.md": _models(Registry()),
        "reference/presses.md": _presses(Registry()),
        "reference/scorers.md": _scorers(),
    }


def _models(registry: Registry) -> str:
    parts = [
        (
            "# Arguments of models\n\nArguments of `--model_args`, as `name=value`. Which weights, limits and presses each model has "
            "stands in [Models](../models.md).\n"
        )
    ]
    for name in registry.names("model"):
        model = registry.model_class(name)
        text = (model.__doc__ or "").partition("\n\n")
        parts.append(f"## {name}\n\n{words(text[0])}\n\n{_cleaned(text[2])}\n\n{_arguments(model.Settings)}")
    return "\n".join(parts)


def _cleaned(text: str) -> str:
    """Return the rest of a docstring with its lists as Markdown: no indentation, nothing read as HTML."""
    return re.sub(r"(?m)^ {4}", "", text).strip().replace("<", "&lt;")


def _arguments(settings: type[BaseModel]) -> str:
    said, rows = comments(settings), []
    for name, field in settings.model_fields.items():
        default, limits = default_and_limits(field)
        meaning = words(limits + (said.get(name) or field.description or ""))
        shown = default if default == "needed" else code(default)
        rows.append([code(name), meaning, words(type_words(field.annotation)), shown])
    return table(["argument", "meaning", "type", "default"], rows)


def _presses(registry: Registry) -> str:
    rows: dict[str, list[list[str]]] = {"Pruning": [], "Eviction": []}
    for name in registry.names("press"):
        press = registry.press_class(name)
        _, _, line = press_line(press).partition("  ")
        rows["Pruning" if issubclass(press, PruningPress) else "Eviction"].append(
            [code(name), words(line), code(", ".join(press.arguments()))]
        )
    intro = "# All presses\n\nAs `marathon-eval ls presses` prints them. [Presses](../presses.md) explains what they do and cost.\n"
    listed = [f"## {kind}\n\n{table(['press', 'rule', 'settings'], found)}" for kind, found in rows.items()]
    return "\n".join([intro, *listed])


def _scorers() -> str:
    parts = [
        "# Filters, metrics, row steps\n\nOptions stand beside the name in the YAML: `{metric: number_match, rel_tol: 0.01}`.\n"
    ]
    for title, intro, factories in (
        (
            "Filters",
            "turn a response into an answer; `filter_list` of a task names them.",
            filter_factories(),
        ),
        ("Metrics", "score answers against targets; `metric_list` of a task names them.", metric_factories()),
    ):
        rows = [
            [code(name), words(_first_line(made)), _options(made)] for name, made in sorted(factories.items())
        ]
        parts.append(f"## {title}\n\n{title} {intro}\n\n{table(['name', 'meaning', 'options'], rows)}")
    rows = [[code(name), words(_first_line(step))] for name, step in sorted(ROW_STEPS.items())]
    rows += [
        [code(name), words(field.description or "")] for name, field in RowStepConfig.model_fields.items()
    ]
    intro = "Row steps change a row before it is used; `process_docs` of a task names them."
    return "\n".join([*parts, f"## Row steps\n\n{intro}\n\n{table(['name', 'meaning'], rows)}"])


def _first_line(made: Callable[..., Any]) -> str:
    """Return what a factory builds, without the verb that begins its docstring."""
    line = (inspect.getdoc(made) or "").partition("\n")[0]
    line = re.sub(r"^(?:Build|Return a filter (?:that|whose))\s+", "", line)
    return line[:1].upper() + line[1:]


def _options(made: Callable[..., Any]) -> str:
    parameters = inspect.signature(made).parameters.values()
    return ", ".join(code(str(one).replace("'", "")) for one in parameters)
