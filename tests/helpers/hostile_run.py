"""Writes a run folder in which every text tries to break out of its place on the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from helpers import make_result_folders
from helpers.make_result_folders import Made
from marathon_eval.api.results import ReadingScore, RunResult, Sample
from marathon_eval.results.files import write_run

HOSTILE = (
    "<script>hacked()</script></script><img src=x onerror=hacked()> \"'&{{ 7*7 }}{% raw %} $\\frac$ "
    "<!-- ]]> \u202eno\u2066 \x07\x1b[31m \u2028 __ |"
)


def hostile_run(folder: Path, task: str = "gtzan") -> None:
    """Return a run whose texts, from the model's name to the fields, all try to break out of their place."""
    run = make_result_folders.fabricate(Made(model=HOSTILE.replace("/", ""), rows={task: 5}))
    row = Sample(
        task=task,
        doc_id=0,
        target=HOSTILE,
        response=HOSTILE * 1000,
        status="ok",
        error=None,
        readings={"strict": ReadingScore(HOSTILE, HOSTILE, {"accuracy": 1.0})},
        usage={},
        cached=False,
        prompt_sha256=None,
        audio=[{"path": "javascript:hacked()//" + HOSTILE, "seconds": 1.0}],
        fields={HOSTILE: HOSTILE},
    )
    bad = replace(row, doc_id=1, status="error", error=HOSTILE, readings={}, response="\ud800")
    samples = {task: [row, bad, *run.samples[task][2:]]}
    path = folder / "run" / "2026-01-01"
    path.mkdir(parents=True)
    write_escaped(replace(run, samples=samples, versions={HOSTILE: HOSTILE}), path)


def write_escaped(run: RunResult, folder: Path) -> None:
    """As write_run, with a lone surrogate as \\ud800, which is how another program may have written it."""
    write_run(run, folder, log_samples=False)
    for task, rows in run.samples.items():
        text = "".join(json.dumps(row.line()) + "\n" for row in rows)
        (folder / f"samples_{task}.jsonl").write_text(text, encoding="utf-8")
