"""Runs a worker of a user's own, `FOLDER/models/NAME_worker.py`, as `--model NAME` with `env=DIR`.

The file's `load(args)` gets all arguments but `env`, `timeout` and `load_timeout`; `answer(question, paths)` returns the text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from marathon_eval.api.model import ModelSettings
from marathon_eval.api.source import USER_PACKAGE, OwnModule, drop_stale_bytecode, own_files
from marathon_eval.backends.env.adapter import EnvModel, EnvSettings


class WorkerSettings(EnvSettings):
    """Holds the arguments of a user's worker: those of every environment, and whatever its `load` takes."""

    model_config = ConfigDict(extra="allow", frozen=True)

    #: A folder, known by its content, or a name on the hub, known by its commit.
    pretrained: str | None = None
    revision: str | None = None


class Worker(EnvModel):
    """Answers with a worker file that the user names.

    - Chat, audio: the worker's; clips come as paths of mono WAV files.
    - Presses: none.
    """

    Settings: ClassVar[type[ModelSettings]] = WorkerSettings

    def worker_source(self) -> dict[str, Any]:
        """Return the hashes of the worker's file and of the files of its folder that it imports."""
        own = OwnModule(self.worker, self.worker.parent)
        drop_stale_bytecode(own_files(own))  # what the worker's Python runs is then what the hashes are of
        return {"worker": own.hashes()}


def of_file(path: Path) -> type[Worker]:
    """Return the model class of a worker's file; its name is the file's, without `_worker`."""
    name = path.stem.removesuffix("_worker")
    members = {
        "__module__": f"{USER_PACKAGE}.models.{name}",
        "__doc__": Worker.__doc__,
        "worker": path.resolve(),
    }
    return type("Worker", (Worker,), members)
