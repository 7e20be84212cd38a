"""Runs a model behind Ray workers in the tests' process, and a model that logs what it is asked and dies when told to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from helpers.minimal_task import KEYS, write_task
from marathon_eval.api.results import RunResult
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.workers.asking import through
from marathon_eval.evaluator.workers.cluster import WorkerPlan
from marathon_eval.evaluator.workers.pool import in_pool

#: Writes each prompt to a file when it is asked; dies at a prompt while a file of its name exists, and removes it first.
LOGGED = '''
"""Answers with the last letter of the prompt."""
import os, time
from pathlib import Path
from typing import ClassVar
from marathon_eval import Model, Response
from marathon_eval.api.model import ModelSettings


class Settings(ModelSettings):
    folder: str
    sleep: float = 0.0
    always: bool = False


class Logged(Model):
    Settings = Settings
    transport: ClassVar[frozenset[str]] = Model.transport | {"folder", "sleep", "always"}

    def generate(self, requests):
        for request in requests:
            prompt = request.prompt.split()[0]
            folder = Path(self.settings.folder)
            with (folder / "asked").open("a") as file:
                file.write(f"{prompt} {os.getpid()}\\n")
            death = folder / f"die-{prompt}"
            if death.exists():
                if not self.settings.always:
                    death.unlink()
                os._exit(9)
            time.sleep(self.settings.sleep)
            yield request, Response("ABCD"[int(prompt[1:]) % 4])
'''


def make_task(folder: Path, rows: int) -> None:
    """Write a task of so many rows, and the logging model."""
    write_task(folder, KEYS, [{"q": f"q{number} ?", "a": "ABCD"[number % 4]} for number in range(rows)])
    (folder / "logged.py").write_text(LOGGED)
    (folder / "log").mkdir()


def config(folder: Path, **settings: object) -> RunConfig:
    args = {"folder": str(folder / "log"), **settings}
    return RunConfig(
        str(folder / "logged.py"), (str(folder / "own.yaml"),), args, use_cache=str(folder / "kept")
    )


def run(folder: Path, plan: WorkerPlan, **settings: object) -> RunResult:
    """Run the task behind workers."""
    chosen = config(folder, **settings)
    return evaluate(chosen, through=through(chosen, in_pool(plan)))


def asked(folder: Path) -> list[str]:
    """Return every prompt that a worker was asked, in order."""
    path = folder / "log" / "asked"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def askers(folder: Path) -> set[str]:
    return {line.split()[1] for line in (folder / "log" / "asked").read_text().splitlines()}


def statuses(result: RunResult) -> Sequence[str]:
    (samples,) = result.samples.values()
    return [sample.status for sample in samples]
