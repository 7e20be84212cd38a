"""Resolves what --tasks may say beside names: patterns such as `vox_*`, tags, and folders of YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError

_PATTERN = re.compile(r"[*?\[]")


def resolved_names(registry: Registry, names: Sequence[str]) -> list[str]:
    """Return the names of tasks and groups, and the paths of YAMLs, that `names` stand for, each once and in order.

    A pattern stands for all tasks and groups that it matches, a folder for the YAMLs in it, and a tag, where no task
    or group has its name, for the tasks that have the tag. Raises MarathonError for a pattern or folder without any;
    a name that is none of these is returned as it is.
    """
    return list(dict.fromkeys(found for name in names for found in _resolved(registry, name)))


def _resolved(registry: Registry, name: str) -> list[str]:
    if Path(name).is_dir() and not registry.has_task(name):
        found = sorted(str(path) for path in Path(name).glob("*.yaml") if not path.name.startswith("_"))
        if not found:
            raise MarathonError(f"--tasks: {name}: the folder holds no .yaml file of a task")
        return found
    if _PATTERN.search(name):
        found = [known for known in registry.names("task") if fnmatchcase(known, name)]
        if not found:
            raise registry.unknown_task("task that matches", name)
        return found
    if "/" in name or name.endswith(".yaml") or registry.has_task(name):
        return [name]
    return tasks_with_tag(registry, name) or [name]


def tasks_with_tag(registry: Registry, tag: str) -> list[str]:
    """Return the sorted names of the tasks whose YAML has this tag. Raises MarathonError for a YAML that is broken."""
    return [name for name in registry.names("task") if tag in _tags(registry, name)]


def _tags(registry: Registry, name: str) -> Iterator[str]:
    from marathon_eval.task.yaml.loader import load_document

    path = registry.task_path(name)
    # most files name their tags themselves: only those with an include need to be merged
    text = path.read_text(encoding="utf-8", errors="replace")
    if not re.search(r"^(tag|include) *:", text, re.MULTILINE):
        return
    tags = load_document(path, registry.task_path, registry.trust_task_code).values.get("tag") or []
    yield from [tags] if isinstance(tags, str) else tags
