"""Describes one task, model, press, metric, filter or row step: what it does, and its arguments with type, default and limits."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.registry import PluginKind, Registry
from marathon_eval.errors import install_hint, unknown

if TYPE_CHECKING:
    from pydantic import BaseModel

    from marathon_eval.api.model import Model
    from marathon_eval.api.press import Press
    from marathon_eval.task.task import Group, Task

#: Parameters of row steps and of users' functions that the engine fills in.
_NO_OPTIONS = ("fields", "source", "self", "answer", "row")


def details(kind: PluginKind, name: str, registry: Registry, width: int) -> list[str]:
    """Return the lines about one name, at most `width` characters long. Raises MarathonError with the nearest name."""
    from textwrap import wrap

    lines = [line for text in _details(kind, name, registry) for line in text.splitlines()]
    return [piece for line in lines for piece in wrap(line, width, subsequent_indent=" " * 6) or [""]]


def _details(kind: PluginKind, name: str, registry: Registry) -> list[str]:
    if kind == "task":
        return list(_of_task(name, registry))
    if kind == "model":
        return list(_of_model(name, registry))
    if kind == "press":
        return list(_of_press(registry.press_class(name), name))
    own = registry.own_code(kind, name, f"ls {kind}")
    if own is not None:
        return [f"{name}: {own.file}", *_of_function(name, own.target)]
    lines = list(_of_function(name, _named(kind, name)))
    return [*lines, "direction   ↓ lower is better"] if kind == "metric" and _falls(name) else lines


def _falls(metric: str) -> bool:
    """Return whether a lower value of a built-in metric is better."""
    from marathon_eval.results.directions import falling_metrics

    return bool(falling_metrics("ls metrics", {"": {metric: {"metric": metric}}}))


def _named(kind: PluginKind, name: str) -> Any:
    """Return what builds a built-in metric, filter or row step. Raises MarathonError."""
    from marathon_eval.scoring.filters.build import filter_factories
    from marathon_eval.scoring.metrics.build import metric_factories
    from marathon_eval.task.data.row_steps import row_step_factories

    makers: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "filter": filter_factories,
        "metric": metric_factories,
        "row_step": row_step_factories,
    }
    known = makers[kind]()
    if name not in known:
        raise unknown(f"ls {kind}s", kind.replace("_", " "), name, known)
    return known[name]


def _of_function(name: str, target: Any) -> Iterator[str]:
    """Yield the docstring and the arguments of a function, class or settings model."""
    from pydantic import BaseModel

    models = [each for each in (target, *typing.get_args(target)) if inspect.isclass(each)]
    settings = next((each for each in models if issubclass(each, BaseModel)), None)
    if settings is not None:
        yield from _text(name, settings)
        yield from _settings_arguments(settings)
        return
    yield from _text(name, target)
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # a class of C code may have none
        return
    hints = _hints(target)
    rows = [
        (
            parameter.name,
            type_words(hints.get(parameter.name, parameter.annotation)),
            "needed" if parameter.default is parameter.empty else _shown(parameter.default),
            "",
        )
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in _NO_OPTIONS
    ]
    yield from _arguments(rows)


def _shown(default: Any) -> str:
    return repr(default.pattern if isinstance(default, re.Pattern) else default)


def _hints(target: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # names below TYPE_CHECKING: the texts of annotations do
        return {}


def _of_model(name: str, registry: Registry) -> Iterator[str]:
    model = registry.model_class(name)
    yield from _text(name, model)
    yield f"file      {_file(model)}"
    yield from _presses_of(model, registry)
    for module, extra in model.needs.items():
        yield f"needs     {module} ({install_hint(extra)})"
    yield from _settings_arguments(model.Settings)


def _presses_of(model: type[Model], registry: Registry) -> Iterator[str]:
    """Yield a line per kind of press with the names of those that a run of the model accepts, or one that says `none`."""
    from marathon_eval.api.press import EvictionPress, PruningPress
    from marathon_eval.backends.hf.kvpress import PREFIX, KVPress

    known = {name: registry.press_class(name) for name in registry.names("press")} | {
        f"{PREFIX}NAME": KVPress
    }
    fit = {name: press for name, press in known.items() if model.unfit_press(press) is None}
    where = " with layer=0" if getattr(model, "cut_at_input", False) else ""
    word = "presses"
    for kind, said in ((PruningPress, f"pruning{where}"), (EvictionPress, "eviction")):
        names = [name for name, press in fit.items() if issubclass(press, kind)]
        if names:
            yield f"{word:<10}{said}: {', '.join(names)}"
            word = ""
    if word:
        yield f"{word:<10}none"


def _settings_arguments(settings: type[BaseModel]) -> Iterator[str]:
    said = comments(settings)
    rows = []
    for name, field in settings.model_fields.items():
        default, limits = default_and_limits(field)
        text = said.get(name) or field.description or ""
        rows.append((name, type_words(field.annotation), default, f"{limits}{text}"))
    yield from _arguments(rows)


def default_and_limits(field: Any) -> tuple[str, str]:
    """Return a setting's default, or `needed`, and its limits in words, such as `at least 1. `."""
    default = "needed" if field.is_required() else repr(field.get_default(call_default_factory=True))
    limits = [str(limit) for limit in field.metadata if type(limit).__module__ == "annotated_types"]
    return default, f"{', '.join(map(_limit, limits))}. " if limits else ""


def _limit(text: str) -> str:
    """Return `Ge(ge=1)` as `at least 1`, and so on."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    match = re.fullmatch(r"\w+\((\w+)=(.*)\)", text)
    if match is None:
        return text
    kind, value = match.groups()
    if kind == "min_length":
        return "not empty" if value == "1" else f"at least {value} long"
    return f"{words[kind]} {value}" if kind in words else f"{kind.replace('_', ' ')} {value}"


def _of_press(press: type[Press], name: str) -> Iterator[str]:
    yield from _text(name, press)
    yield f"file      {_file(press)}"
    for word, text in (("supports", ", ".join(press.supports())), ("differs", press.differs)):
        if text:
            yield f"{word:<10}{text}"
    given, said = {item.name: item for item in fields(press)}, comments(press)
    rows = []
    for argument, kind in press.arguments().items():
        default = given[argument].default
        text = "needed" if default is MISSING else repr(default)
        rows.append((argument, type_words(kind), text, said.get(argument, "")))
    yield from _arguments(rows)


def _of_task(name: str, registry: Registry) -> Iterator[str]:
    from marathon_eval.task.task import Group, load_task

    loaded = load_task(registry.task_path(name), registry.task_path, registry)
    yield from _of_group(loaded) if isinstance(loaded, Group) else _of_one_task(loaded)


def _of_group(group: Group) -> Iterator[str]:
    yield f"{group.name}: a group of {len(group.members)}: {', '.join(group.members)}"


def _of_one_task(task: Task) -> Iterator[str]:
    config = task.config
    yield f"{task.name}: {task.path}"
    tags = [config.tag] if isinstance(config.tag, str) else config.tag or []
    facts = {
        "tags": ", ".join(tags),
        "data": f"{config.dataset_path}" + (f", split {config.test_split}" if config.test_split else ""),
        "version": task.scorer.version,
        "answers": " ".join(f"{key}={value}" for key, value in config.generation_kwargs.items()),
        "subsets": ", ".join(
            f"{subset} (default)" if subset == config.default_subset else subset for subset in config.subsets
        ),
        "judge": "needs --judge_model" if config.judge else "",
        "headline": _headline(task),
    }
    yield from (f"{word:<10}{text}" for word, text in facts.items() if text not in ("", None))
    for reading, metrics in task.metric_names.items():
        yield f"reading   {reading}: {', '.join(metrics)}"


def _headline(task: Task) -> str:
    """Return `strict accuracy, scale 100`: the number is what the metric is multiplied with, not a score."""
    headline = task.scorer.headline
    if headline is None:
        return ""
    return f"{headline['reading']} {headline['metric']}, scale {headline.get('scale', 1.0):g}"


def _text(name: str, target: Any) -> Iterator[str]:
    # a function of the user's own may be explained at the top of its file instead
    text = inspect.getdoc(target) or (getattr(target, "__globals__", {}).get("__doc__") or "").strip()
    yield f"{name}: {text}" if text else name


def _file(kind: type) -> str:
    from marathon_eval.task.yaml.loader import shown_file

    return shown_file(Path(inspect.getfile(kind)))


def type_words(annotation: Any) -> str:
    """Return a type as a user writes its values: `int or none`, `'auto' or 'float32'`."""
    if annotation is inspect.Parameter.empty:
        return "any"
    if isinstance(annotation, str):
        return annotation.replace(" | ", " or ").replace("None", "none").replace("str", "text")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_words(arguments[0])
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        literal_none = any("none" in typing.get_args(argument) for argument in arguments)
        words = (
            "not given" if literal_none and argument is type(None) else type_words(argument)
            for argument in arguments
        )
        return " or ".join(dict.fromkeys(words))
    if annotation is type(None):
        return "none"
    if annotation is str:
        return "text"
    if annotation is re.Pattern or origin is re.Pattern:
        return "pattern"
    if annotation is bool:
        return "true or false"
    return re.sub(
        r"\b(?:typing|collections\.abc)\.",
        "",
        getattr(annotation, "__name__", "") if not arguments else str(annotation),
    )


def _arguments(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yield a line per argument, `name  type  default  text`, or nothing without arguments."""
    if not rows:
        yield "no arguments"
        return
    yield "arguments"
    widths = [min(max(len(row[place]) for row in rows), 28) for place in range(2)]
    for name, kind, default, text in rows:
        line = f"  {name:<{widths[0]}}  {kind:<{widths[1]}}  {'' if default == 'needed' else 'default '}{default}"
        yield f"{line}  {text}".rstrip()


def comments(kind: type[BaseModel | Any]) -> dict[str, str]:
    """Return the `#:` comments above the fields of a class and its parents, by field."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        try:
            source = inspect.getsource(parent) if parent is not object else ""
        except (OSError, TypeError):  # a class of Python itself has no source file
            continue
        found |= _comments_in(source)
    return found


def _comments_in(source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting: list[str] = []
    for line in source.splitlines():
        text = line.strip()
        field = re.match(r"(\w+)\s*:", text)
        if text.startswith("#:"):
            waiting.append(text[2:].strip())
            continue
        if field and waiting:
            found[field.group(1)] = " ".join(waiting)
        waiting = []
    return found
