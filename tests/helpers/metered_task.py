"""Writes a judged task of eight rows, and a model that logs what it is asked and may judge too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.cli.main import main

METER = '''
from pathlib import Path

from marathon_eval.api.model import Model, ModelSettings, Response, Usage

class Settings(ModelSettings):
    says: str = "A"
    log: str
    counts: bool = True

class Meter(Model):
    """Answers every request, for 100 tokens in and 10 out, and logs it."""

    Settings = Settings
    transport = Model.transport | {"log"}

    def generate(self, requests):
        for request in requests:
            with Path(self.settings.log).open("a") as log:
                log.write("1\\n")
            usage = Usage(input_tokens=100, output_tokens=10) if self.settings.counts else Usage()
            yield request, Response(self.settings.says, usage=usage)
'''
TASK = """
task: own
dataset_path: json
dataset_kwargs: {data_files: rows.json}
doc_to_text: q
doc_to_target: a
generation_kwargs: {max_new_tokens: 16}
filter_list:
  - {name: graded, filter: [{function: judge_grade}]}
metric_list: [{metric: grade}]
headline: {reading: graded, metric: grade}
judge: {grade: {readings: graded, scale: [1, 5], max_new_tokens: 32}}
"""


class MeteredTask:
    """Holds a folder with a model that counts and may also judge, and a judged task of eight rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "models").mkdir()
        (folder / "models" / "meter.py").write_text(METER)
        rows = [{"q": f"question {n}", "a": "A"} for n in range(8)]
        (folder / "rows.json").write_text(json.dumps(rows))
        (folder / "own.yaml").write_text(TASK)
        self.judge = json.dumps({"says": "4", "log": str(folder / "judge.log")})

    def command(self, *more: str) -> list[str]:
        where = str(self.folder)
        flags = ["--model", "meter", "--model_args", f"log={self.folder / 'model.log'}", "--tasks"]
        flags += [str(self.folder / "own.yaml"), "--include_path", where, "--data_dir", where]
        if "--judge_model" not in more:
            flags += ["--judge_model", "meter", "--judge_args", self.judge]
        return [*flags, *more]

    def sent(self, side: str) -> int:
        log = self.folder / f"{side}.log"
        return len(log.read_text().splitlines()) if log.exists() else 0


def ran(place: MeteredTask, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    """Run the command with --json; returns its exit code and what it prints."""
    code = main(place.command(*more, "--json"))
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, printed
