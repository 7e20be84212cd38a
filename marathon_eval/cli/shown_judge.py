"""Fills in the prompts of a task's judge for one row and words the judges' replies, for `show`.

`show TASK ROW` has a placeholder for the model's answer in the prompts, `show RUN ROW` the run's answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import RowError
from marathon_eval.scoring.grades import vote_words, votes_in
from marathon_eval.scoring.reasoning import Parted, parted

if TYPE_CHECKING:
    from marathon_eval.evaluator.rescore.recorded_prompts import PromptFinder
    from marathon_eval.task.task import Doc, Task

#: Stands for what a model would say.
PLACEHOLDER = Parted(reasoning="(the reasoning before the answer)", answer="(the answer)")


def filled_judge_prompts(task: Task, doc: Doc, text: str | None = None) -> dict[str, dict[str, Any]]:
    """Return system text and prompt of the first call about this row by kind of judging, and how many calls there are.

    `text` is the model's response; without it PLACEHOLDER stands in the prompts. A row that cannot be judged has `error`
    instead; a task without a judge has no kinds. Raises MarathonError for a broken template.
    """
    response = PLACEHOLDER if text is None else parted(text)
    if task.config.judge is None:
        return {}
    from marathon_eval.evaluator.judge_prompts import JudgeKind
    from marathon_eval.task.judged_readings import judge_kinds

    shown: dict[str, dict[str, Any]] = {}
    for name, spec in judge_kinds(task.config).items():
        kind = JudgeKind(name, spec, task)
        try:
            if text is not None and (settled := kind.settled(doc, response, text)) is not None:
                shown[name] = {"error": f"the judge was not asked ({settled.rule})"}
                continue
            calls = kind.calls(doc, response)
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


def judge_prompts_of_run(
    prompts: PromptFinder, sample: Mapping[str, Any], task: str
) -> dict[str, dict[str, Any]]:
    """Return the judge's prompts about a run's row with the run's answer, or under `prompts` why they are not known."""
    response = sample["response"]
    text = next(iter(response), None) if isinstance(response, list) else response
    if not sample.get("judge") or text is None:
        return {}
    found = prompts.row(task, sample["doc_id"], sample["prompt_sha256"])
    if isinstance(found, str):
        return {"prompts": {"error": f"{found}; type --include_path and --data_dir as the run had them"}}
    return filled_judge_prompts(found.task, found.doc, text)


def reply_lines(judge: Mapping[str, Any], answers: Sequence[str | None]) -> Iterator[str]:
    """Yield the replies in a sample's `judge`: of each, the judge's name and grade where they are known, and the text.

    `answers` are those of the row's readings, among them the votes in the order of the replies.
    """
    votes = next((found for answer in answers if (found := votes_in(answer))), [])
    for kind, given in judge.items():
        calls = given if isinstance(given, list) else [given]
        known = kind == "grade" and len(votes) == len(calls)
        for place, attempts in enumerate(calls):
            texts = list(map(str, attempts)) if isinstance(attempts, list) else [str(attempts)]
            if known:
                yield f"judge    {votes[place].judge}: {vote_words(votes[place])}"
            else:
                yield f"judge    {kind}, reply {place + 1} of {len(calls)}"
            for text in texts[:-1]:
                yield from (f"  | asked again after: {line}" for line in text.splitlines())
            yield from (f"  | {line}" for line in _reason(texts[-1] if texts else "").splitlines())


def _reason(reply: str) -> str:
    """Return the reason that a reply in JSON gives, and any other reply as it is."""
    try:
        read = json.loads(reply, strict=False)
    except (ValueError, RecursionError):
        return reply
    reason = read.get("reason") if isinstance(read, dict) else None
    return f"reason: {reason}" if isinstance(reason, str) and reason else reply
