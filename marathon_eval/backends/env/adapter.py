"""Provides EnvModel: a model whose worker, one Python file, runs in the interpreter of an environment of its own.

The harness decodes clips, writes each as a WAV file, and sends its path; tasks, cache, the check of what was heard
and scores stay here. See `worker_main.py` for the messages, and docs/models.md for a worker in ten lines.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from marathon_eval.api.model import Model, ModelSettings, Request, Response
from marathon_eval.api.same_failures import NEVER_SENT
from marathon_eval.backends.env.clips import WrittenClips
from marathon_eval.backends.env.environment import (
    WorkerEnvironment,
    asked_environment,
    default_environment,
    interpreter,
    required_packages,
)
from marathon_eval.backends.env.process import WorkerDied, WorkerFailed, WorkerProcess
from marathon_eval.backends.env.reply import response_of
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.same_weights import refuse_changed
from marathon_eval.errors import MarathonError, RowError

#: Packages whose releases are in every cache key, beside those of the requirements file, and whose `__version__` must be
#: that of the installed release: other packages write theirs in ways of their own.
ALWAYS = ("torch", "transformers")
#: A worker that dies is started again; when it dies again before an answer, it isn't.
STARTS_WITHOUT_ANSWER = 2
#: Folders and files of a checkpoint that hold no weights or code.
_SKIPPED = {"__pycache__"}


class EnvSettings(ModelSettings):
    """Holds the arguments of every model with a worker; what the worker itself takes is declared by the model."""

    #: The folder of a venv or a conda environment; by default the one that `env make NAME` makes without a folder.
    env: str | None = None
    #: Seconds for one answer, and for loading the weights (downloads included).
    timeout: float = Field(1800.0, gt=0)
    load_timeout: float = Field(7200.0, gt=0)
    #: Passed to the worker's `load` where it is given.
    device: str | None = None


class EnvModel(Model):
    """Answers requests with a worker in an interpreter of its own.

    A subclass sets `worker`; its arguments, but for those of `EnvSettings`, are passed to the worker's `load`.
    """

    Settings: ClassVar[type[ModelSettings]] = EnvSettings
    settings: EnvSettings
    transport: ClassVar[frozenset[str]] = Model.transport | {"env", "load_timeout"}
    #: The worker's file, and the requirements of its environment where there is a file of them.
    worker: ClassVar[Path]
    #: A file that the model's repository on the hub has; its commit is found by asking for it.
    hub_file: ClassVar[str] = "config.json"
    #: Arguments that are folders of code or weights, known by their content.
    folders: ClassVar[tuple[str, ...]] = ("pretrained",)
    #: Whether the worker runs Python code that lies beside the weights: `trust_remote_code=true` must be given.
    runs_remote_code: ClassVar[bool] = False
    _process: WorkerProcess | None = None
    _loaded: Mapping[str, Any]
    _starts = 0
    _answered = False
    _gone: str | None = None

    # -- identity -----------------------------------------------------------------------------------------------

    @classmethod
    def requirements(cls) -> Path | None:
        """Return `NAME.requirements.txt` beside the worker, if there is one."""
        stem = cls.worker.stem.removesuffix("_worker")
        file = cls.worker.with_name(f"{stem}.requirements.txt")
        return file if file.is_file() else None

    def identity(self) -> dict[str, Any]:
        """Return the environment's Python and packages, and what the arguments `folders` hold.

        Starts the environment's interpreter for a moment; loads no weights. Raises MarathonError.
        """
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {"environment": self.environment._asdict(), **self.worker_source(), **self._contents()}

    def worker_source(self) -> dict[str, Any]:
        """Return the hashes of the worker's source files; none for a shipped one, whose `version` stands for it."""
        return {}

    @cached_property
    def python(self) -> Path:
        """The environment's interpreter. Raises MarathonError when there is none."""
        folder = self.settings.env
        if folder is None:
            made = default_environment(self.name())
            if not made.is_dir():
                raise MarathonError(
                    f"{self.flags.model} {self.name()} runs in an environment of its own: make it with `marathon-eval "
                    f"env make {self.name()}`, or name one with {self.flags.args} env=DIR"
                )
            folder = str(made)
        return interpreter(folder, self.flags.args)

    @cached_property
    def environment(self) -> WorkerEnvironment:
        """The releases of Python and of the packages that count. Raises MarathonError."""
        return asked_environment(self.python, self._packages, self.flags.args)

    @property
    def _packages(self) -> tuple[str, ...]:
        return tuple(sorted({*required_packages(self.requirements()), *ALWAYS}))

    def _contents(self) -> dict[str, Any]:
        """Return the content's hash of each argument that names a folder, and the commit of `pretrained` on the hub."""
        found: dict[str, Any] = {}
        for name in self.folders:
            value = getattr(self.settings, name, None)
            if not isinstance(value, str):
                continue
            path = Path(value).expanduser()
            if path.exists():
                if name == "pretrained" and getattr(self.settings, "revision", None) is not None:
                    raise MarathonError(
                        f"{self.flags.args}: revision=: pretrained={value} is a folder, and a folder has no revisions"
                    )
                found |= {name: path.resolve().name, f"{name}_sha256": content_hash(path, self.cache)}
            elif name == "pretrained" and weights.local_folder(value, self.flags.args) is None:
                revision = getattr(self.settings, "revision", None)
                found["revision"] = weights.hub_commit(value, revision, self.flags.args, self.hub_file)
            else:
                raise MarathonError(f"{self.flags.args}: {name}={value}: no such folder")
        return found

    def check(self) -> None:
        """Raise MarathonError when the environment lacks a package, or the weights' code is not trusted."""
        missing = [name for name in required_packages(self.requirements()) if self._lacks(name)]
        if missing:
            raise MarathonError(
                f"{self.flags.args}: env: {self.python.parents[1]} lacks {', '.join(missing)}, which "
                f"{self.requirements()} names; `marathon-eval env make {self.name()} DIR` makes an environment with them"
            )
        if self.runs_remote_code and not getattr(self.settings, "trust_remote_code", False):
            raise MarathonError(
                f"{self.flags.model} {self.name()} runs the Python code beside the weights of "
                f"{getattr(self.settings, 'pretrained', '')}: say {self.flags.args} trust_remote_code=true if you trust it"
            )

    def _lacks(self, package: str) -> bool:
        return self.environment.packages.get(package) is None

    # -- answering ----------------------------------------------------------------------------------------------

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `Model.generate` does.

        A worker that dies is started again once: its request fails, and so do all that follow when it dies again
        before it answers. Raises MarathonError when the weights don't load, and when no request was ever answered.
        """
        self.check()
        with WrittenClips() as clips:
            for request in requests:
                yield request, self._asked(request, clips)

    def _asked(self, request: Request, clips: WrittenClips) -> Response:
        if self._gone is not None:
            return Response.failed(f"{NEVER_SENT}{self._gone}")
        try:
            process = self._started()
            written = clips.written(request.audios, self._loaded["rate"])
            message = self._message(request, written.paths)
            begun = time.perf_counter()
            answer = process.ask(message, self.settings.timeout)
        except WorkerDied as died:
            return self._without_worker(str(died))
        except (RowError, WorkerFailed) as error:
            return Response.failed(str(error))
        self._starts, self._answered = 1, True
        return response_of(answer, written, {"total_s": round(time.perf_counter() - begun, 4)})

    def _message(self, request: Request, paths: Sequence[Path]) -> dict[str, Any]:
        generation = request.generation
        settings = {
            "max_new_tokens": generation.max_new_tokens,
            "temperature": generation.temperature,
            "top_p": generation.top_p,
            "seed": generation.seed,
            "stop": list(generation.stop),
            "system": request.system,
        }
        needed = {"temperature": generation.temperature, "stop": generation.stop, "system": request.system}
        lost = [name for name, value in needed.items() if value]
        if lost and not self._loaded["takes_settings"]:
            raise RowError(
                f"answer(question, paths) of {self.worker.name} takes no settings, and {', '.join(lost)} would be lost; "
                "let it take a third argument"
            )
        return {
            "do": "answer",
            "question": request.prompt,
            "paths": [str(path) for path in paths],
            "settings": settings,
        }

    def _without_worker(self, reason: str) -> Response:
        """Return the failed response of the request that a worker died of, and decide whether there is another one.

        Raises MarathonError when workers died before any answer.
        """
        self._stop()
        if self._starts >= STARTS_WITHOUT_ANSWER:
            if not self._answered:
                raise MarathonError(f"{self.flags.model} {self.name()}: {reason}") from None
            self._gone = f"the worker died twice without an answer between: {reason}"
        return Response.failed(reason)

    def _started(self) -> WorkerProcess:
        """Return the running worker; start one and load the weights if there is none.

        Raises MarathonError when it can't load, WorkerDied when it died of it.
        """
        if self._process is None:
            self._starts += 1
            self._process = WorkerProcess(
                self.python, self.worker, self.name(), beside=bool(self.worker_source())
            )
            self._loaded = self._load(self._process)
        return self._process

    def _load(self, process: WorkerProcess) -> Mapping[str, Any]:
        message = {"do": "load", "args": self.worker_args(), "packages": list(self._packages)}
        try:
            loaded = process.ask(message, self.settings.load_timeout)
        except WorkerFailed as failed:
            self._stop()
            raise MarathonError(
                f"{self.flags.model} {self.name()}: its worker can't load: {failed}. Log: {process.log}"
            ) from None
        try:
            self._held(loaded)
            refuse_changed(self)
        except MarathonError:
            self._stop()
            raise
        return loaded

    def worker_args(self) -> dict[str, Any]:
        """Return what the worker's `load` gets: all arguments but the harness's own; of a hub name its commit."""
        own = {"env", "timeout", "load_timeout"}
        args = {name: value for name, value in self.settings if name not in own and value is not None}
        if "revision" in self._identity:
            args["revision"] = self._identity["revision"]
        return {
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
            for name, value in args.items()
        }

    def _held(self, loaded: Mapping[str, Any]) -> None:
        """Raise MarathonError when the worker runs with other releases than those in the cache key."""
        said, known = WorkerEnvironment(loaded["python"], loaded["packages"]), self.environment
        names = [name for name in known.packages if said.packages.get(name) != known.packages[name]]
        differing = [f"{name} {said.packages.get(name)} instead of {known.packages[name]}" for name in names]
        differing += [
            f"{name} {version} was imported, {known.packages.get(name)} is installed"
            for name, version in loaded["imported"].items()
            if name in ALWAYS and not _same_release(version, known.packages.get(name))
        ]
        if said.python != known.python:
            differing.append(f"Python {said.python} instead of {known.python}")
        if differing:
            raise MarathonError(
                f"{self.flags.model} {self.name()}: {self.python} runs other releases than those that its answers would "
                f"be filed under: {'; '.join(differing)}"
            )

    def _stop(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def close(self) -> None:
        """End the worker."""
        self._stop()


def _same_release(imported: str, installed: str | None) -> bool:
    """Return whether two texts name one release; `2.4.0+cu124` is 2.4.0."""
    return installed is not None and imported.partition("+")[0] == installed.partition("+")[0]


def content_hash(path: Path, memo: weights.Memo | None) -> str:
    """Return the SHA-256 over names and contents of a file, or of all files below a folder but hidden ones."""
    files = [path]
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.is_file())
        files = sorted(file for file in found if not _hidden(file.relative_to(path)))
    hashes = weights.hashes(files, memo)
    digests = [[str(file.relative_to(path)), hashes[file]] for file in files]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part in _SKIPPED for part in path.parts)
