"""Makes the reference of a task file's keys from the JSON Schema that also ships for editors."""

from __future__ import annotations

from typing import Any

import yaml

from marathon_eval.task.yaml.config import GroupConfig, TaskConfig, task_schema
from marathon_eval.task.yaml.keys import REFUSED_KEYS
from reference.tables import code, table, words

TITLES = {"TaskConfig": "A task", "GroupConfig": "A group"}


def pages() -> dict[str, str]:
    """Return the page by its place in the site."""
    schema = task_schema()
    classes = {"TaskConfig": schema["else"], **schema["$defs"]}
    order = ["TaskConfig", "GroupConfig", *sorted(set(classes) - {"TaskConfig", "GroupConfig"})]
    parts = [
        (
            "# Task keys\n\nEvery key of a task's YAML. Keys and defaults are those of lm-evaluation-harness where it has the key. "
            "The package ships the same as `marathon_eval/task/yaml/schema.json`, for editors.\n"
        )
    ]
    parts += [_section(name, classes[name]) for name in order]
    parts.append("## Keys of lm-eval that are refused\n")
    parts.append(
        table(["key", "reason"], [[code(key), words(why)] for key, why in sorted(REFUSED_KEYS.items())])
    )
    return {"reference/task_keys.md": "\n".join(parts)}


def _section(name: str, definition: dict[str, Any]) -> str:
    required = _required(name, definition)
    rows = [_row(key, about, key in required) for key, about in definition["properties"].items()]
    text = words(definition.get("description", "").partition("\n\n")[0])
    titles = ["key", "meaning", "type", "default", "example"]
    return f"## {TITLES.get(name, name)}\n\n{text}\n\n{table(titles, rows)}"


def _required(name: str, definition: dict[str, Any]) -> set[str]:
    kinds: dict[str, type[TaskConfig | GroupConfig]] = {"TaskConfig": TaskConfig, "GroupConfig": GroupConfig}
    if name in kinds:
        return {key for key, field in kinds[name].model_fields.items() if field.is_required()}
    return set(definition.get("required", ()))


def _row(key: str, about: dict[str, Any], required: bool) -> list[str]:
    # the default of a key with keys of its own stands in their section
    plain = "default" in about and "$ref" not in about
    default = "required" if required else code(_flow(about["default"])) if plain else ""
    examples = about.get("examples", [])
    example = code(_flow(examples[0])) if examples else ""
    return [code(key), words(about.get("description", "")), _kind(about), default, example]


def _flow(value: Any) -> str:
    """Return the value as a task file would have it in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _kind(about: dict[str, Any]) -> str:
    """Return the JSON Schema's type in words, with a link to another section where a mapping is expected."""
    if "$ref" in about:
        name = about["$ref"].rsplit("/", 1)[1]
        return f"[{TITLES.get(name, name)}](#{TITLES.get(name, name).lower().replace(' ', '-')})"
    if "enum" in about:
        return " or ".join(code(value) for value in about["enum"])
    if "const" in about:
        return code(about["const"])
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_kind(option) for option in about["anyOf"]))
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}" if about.get("items") else "list"
    plain = {"string": "text", "integer": "whole number", "object": "mapping", "boolean": "true or false"}
    return plain.get(about.get("type", ""), about.get("type", "any"))
