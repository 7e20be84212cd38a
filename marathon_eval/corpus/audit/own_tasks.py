"""Chooses the tasks whose rows `doctor` and `review` read as a run does, by name or by the files in a folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.registry import Registry
from marathon_eval.corpus.audit.expected import Dataset
from marathon_eval.corpus.audit.task_rows import fitting_tasks
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.task.task import Task


class OwnTasks(NamedTuple):
    """Holds the tasks whose rows their YAMLs say how to read, and the groups that were named for them."""

    tasks: dict[str, Task]
    groups: Collection[str]


def tasks_to_examine(
    names: Sequence[str], root: Path | None, known: Dataset, include_path: Sequence[str]
) -> OwnTasks:
    """Return the tasks that are named, or whose data files lie in the folder. Raises MarathonError.

    Tasks of described layouts are left to the survey of the folder, which knows their releases' faults.
    """
    from marathon_eval.evaluator.evaluator import load_tasks

    registry = Registry(include_path)
    if root is not None and not root.is_dir():
        raise MarathonError(f"{root}: no such folder")
    if not names:
        return OwnTasks(fitting_tasks(registry, root, known.tasks) if root is not None else {}, ())
    listed = set(registry.names("task"))
    asked = [
        name
        for name in names
        if root is None
        or (name not in known.tasks and (name in listed or name.endswith(".yaml") or "/" in name))
    ]
    if not asked:
        return OwnTasks({}, ())
    tasks, groups = load_tasks(registry, asked)
    return OwnTasks(
        {name: task for name, task in tasks.items() if root is None or name not in known.tasks}, groups
    )
