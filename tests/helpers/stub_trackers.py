"""Stands for wandb, mlflow and trackio, with the parts of their published signatures that results/trackers.py calls.

wandb 0.31.0, mlflow-skinny 3.17.2, trackio 0.43.0. Each notes how it was called; the slow test runs the real ones.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

#: What mlflow 3.17 allows in names of metrics and parameters (mlflow/utils/validation.py).
MLFLOW_NAME = re.compile(r"^[/\w.\- :]*$")


class Calls(list[tuple[str, Any]]):
    """Lists the calls by name, with their arguments; `broken` makes wandb fail as it does without a login."""

    broken = False

    def of(self, name: str) -> list[Any]:
        return [arguments for called, arguments in self if called == name]


def stub_trackers(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Let `import wandb`, `mlflow` and `trackio` find the stubs until the test ends."""
    calls = Calls()
    for module in (_wandb(calls), _mlflow(calls), _trackio(calls)):
        module.__spec__ = ModuleSpec(module.__name__, None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def _wandb(calls: Calls) -> ModuleType:
    module: Any = ModuleType("wandb")

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            assert re.fullmatch(r"[\w.-]{1,128}", name)
            self.files: list[str] = []

        def add_file(self, local_path: str, name: str | None = None) -> None:
            assert Path(local_path).is_file()
            self.files.append(str(name))

    class Run:
        def log(self, data: dict[str, Any]) -> None:
            calls.append(("wandb.log", data))

        def log_artifact(self, artifact: Artifact) -> None:
            calls.append(("wandb.artifact", artifact.files))

        def finish(self) -> None:
            calls.append(("wandb.finish", None))

    def init(**settings: Any) -> Run:
        assert set(settings) == {"project", "entity", "name", "config", "job_type"}
        if calls.broken:
            raise RuntimeError("api_key not configured (no-tty).\ncall wandb.login(key=[your_api_key])")
        calls.append(("wandb.init", settings))
        return Run()

    module.init, module.Artifact = init, Artifact
    return module


def _mlflow(calls: Calls) -> ModuleType:
    module: Any = ModuleType("mlflow")

    @contextmanager
    def start_run(run_name: str) -> Iterator[None]:
        calls.append(("mlflow.start", run_name))
        yield
        calls.append(("mlflow.end", None))

    def log_params(params: dict[str, str]) -> None:
        assert all(MLFLOW_NAME.match(name) for name in params)
        assert all(len(value) <= 6000 for value in params.values())
        calls.append(("mlflow.params", params))

    def log_metrics(metrics: dict[str, float]) -> None:
        assert all(MLFLOW_NAME.match(name) for name in metrics)
        calls.append(("mlflow.metrics", metrics))

    def log_artifact(local_path: str, artifact_path: str | None = None) -> None:
        assert Path(local_path).is_file()
        calls.append(("mlflow.artifact", (Path(local_path).name, artifact_path)))

    module.set_experiment = lambda name: calls.append(("mlflow.experiment", name))
    module.start_run, module.log_params = start_run, log_params
    module.log_metrics, module.log_artifact = log_metrics, log_artifact
    return module


def _trackio(calls: Calls) -> ModuleType:
    module: Any = ModuleType("trackio")

    def init(project: str, name: str, config: dict[str, Any]) -> None:
        print("* Trackio project initialized:", project)
        calls.append(("trackio.init", (project, name, config)))

    module.init = init
    module.log = lambda metrics: calls.append(("trackio.log", metrics))
    module.finish = lambda: calls.append(("trackio.finish", None))
    return module
