"""Makes a scripted judge, the data that it judges, and the log of its calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers import make_air_bench_mmar_data
from marathon_eval import simple_evaluate
from marathon_eval.api.results import RunResult

JUDGE = str(Path(__file__).parent / "scripted_judge.py")
Rules = list[dict[str, Any]]


class Court:
    """Holds a scripted judge and the log of its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls.jsonl"

    def run(self, tasks: list[str], rules: Rules, answer: str = "It buzzes.", **settings: Any) -> RunResult:
        script = self.folder / "rules.json"
        script.write_text(json.dumps(rules))
        return simple_evaluate(
            "dummy",
            tasks,
            {"answer": answer},
            data_dir=str(self.folder / "data"),
            use_cache=str(self.folder / "cache"),
            judge_model=JUDGE,
            judge_args={"script": str(script), "log": str(self.log)},
            **settings,
        )

    def calls(self) -> list[tuple[str, str | None, dict[str, Any]]]:
        """Return prompt, system and generation of every call so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [tuple(json.loads(line)) for line in lines]


def order(question: str, straight: list[str], swapped: list[str], said: str = "It buzzes.") -> Rules:
    """Return the judge's replies on one question; the answer is second in the first pass."""
    return [
        {"has": [question, f"[Assistant 2 answers]\n{said}"], "replies": straight},
        {"has": [question, f"[Assistant 1 answers]\n{said}"], "replies": swapped},
    ]


def sound_questions(court: Court) -> list[str]:
    """Return the questions of chat's sound line: three of sound_QA, three of sound_generation_QA."""
    rows = make_air_bench_mmar_data.chat(court.folder / "data", rows=3)
    return [row["question"] for row in rows if row["task_name"] in ("sound_QA", "sound_generation_QA")]
