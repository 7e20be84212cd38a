"""Fills in the prompts of a task's judge for one row, for `show TASK ROW`; the model's answer is a placeholder in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import RowError
from marathon_eval.scoring.reasoning import Parted

if TYPE_CHECKING:
    from marathon_eval.task.task import Doc, Task

#: Stands for what a model would say.
PLACEHOLDER = Parted(reasoning="(the reasoning before the answer)", answer="(the answer)")


def filled_judge_prompts(task: Task, doc: Doc) -> dict[str, dict[str, Any]]:
    """Return system text and prompt of the first call about this row by kind of judging, and how many calls there are.

    A row that cannot be judged has `error` instead; a task without a judge has no kinds. Raises MarathonError for a
    broken template.
    """
    if task.config.judge is None:
        return {}
    from marathon_eval.evaluator.judge_prompts import JudgeKind
    from marathon_eval.task.judged_readings import judge_kinds

    shown: dict[str, dict[str, Any]] = {}
    for name, spec in judge_kinds(task.config).items():
        kind = JudgeKind(name, spec, task)
        try:
            calls = kind.calls(doc, PLACEHOLDER)
        except RowError as error:
            shown[name] = {"error": str(error)}
            continue
        first = calls[0].request
        shown[name] = {"system": first.system, "prompt": first.prompt, "calls": len(calls)}
    return shown


def judge_prompt_lines(prompts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines that `show TASK ROW` prints of the judge's prompts."""
    lines: list[str] = []
    for name, first in prompts.items():
        if "error" in first:
            lines.append(f"judge    {name}: no prompt: {first['error']}")
            continue
        place = "1 prompt" if first["calls"] == 1 else f"the first of {first['calls']} prompts"
        lines += [f"judge    {name}, {place}", f"  system {first['system']}"]
        lines += [f"  | {line}" for line in first["prompt"].splitlines()]
    return lines
