"""Renders the prompts of AIR-Bench, MMAR and MMAU, for models and judges, on rows made from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers import make_air_bench_mmar_data
from helpers.audiomarathon_prompts import load_shipped
from marathon_eval.evaluator.judge_prompts import JudgeKind
from marathon_eval.scoring.reasoning import parted
from marathon_eval.task.task import Task

SAID = "<think>It rattles.</think>{gold}, I think."


def rendered_benchmarks(folder: Path) -> dict[str, Any]:
    """Return the first row's prompt of every wording, and every judge's first prompt about one answer."""
    make_air_bench_mmar_data.foundation(folder / "air", rows=1)
    make_air_bench_mmar_data.chat(folder / "air", rows=1)
    make_air_bench_mmar_data.mmar(folder / "mmar", rows=1)
    make_air_bench_mmar_data.mmau(folder / "mmau", rows=1)
    names = {
        "air": ["sound_aqa", "speaker_gender", "speaker_gender_clean", "chat_speech"],
        "mmar": ["mmar"],
        "mmau": ["mmau"],
    }
    found: dict[str, Any] = {}
    for data, tasks in names.items():
        for name in tasks:
            task = load_shipped(f"air_bench_{name}" if data == "air" else name)
            found[task.name] = asked(task, str(folder / data))
    return found


def asked(task: Task, data: str) -> dict[str, Any]:
    doc = task.docs(data).docs[0]
    prompts: dict[str, Any] = {"prompt": task.requests(doc)[0].prompt}
    for name, spec in task.config.judge or ():
        if spec is not None:
            calls = JudgeKind(name, spec, task).calls(doc, parted(SAID.format(gold=doc.target)))
            prompts[f"judge {name}"] = [calls[0].request.system, calls[0].request.prompt]
    return prompts
