"""Starts an inference server for a run and asks it through its OpenAI-compatible API; the base of `vllm` and `sglang`."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from marathon_eval.api.model import Model, Request, Response
from marathon_eval.api.secrets import NO_KEY
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.same_weights import refuse_changed
from marathon_eval.backends.http.adapter import APISettings, CallFailure, Session
from marathon_eval.backends.http.engine_release import Engine, found_engine
from marathon_eval.backends.http.reply import AudioRate
from marathon_eval.backends.http.server_files import named_contents
from marathon_eval.backends.http.server_process import ServerProcess
from marathon_eval.errors import MarathonError
from marathon_eval.models.openai_audio import OpenAIAudio, OpenAIAudioSettings


class ServedSettings(OpenAIAudioSettings):
    """Holds the arguments of a server that the run starts itself."""

    #: The name that requests ask for: the weights', or that of an adapter which `server_args` load.
    model: str = ""
    pretrained: str = Field(min_length=1)
    revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    #: The longest prompt with its answer, in tokens; by default the model's.
    max_model_len: int | None = Field(None, ge=1)
    tensor_parallel_size: int = Field(1, ge=1)
    #: The share of the GPU's memory that the server takes; by default the server's own.
    gpu_memory: float | None = Field(None, gt=0, le=1)
    #: More of the server's own flags, as on its command line.
    server_args: str = ""
    #: Where the server's program lies: an environment's folder, or the program itself; by default it is on the PATH.
    env: str | None = None
    executable: str | None = None
    #: Seconds until the server must be ready, downloads included.
    start_timeout: float = Field(3600.0, gt=0)


class Served(OpenAIAudio):
    """Runs a server as a child process on loopback, from the first request to `close`.

    Answers are filed under the weights' commit or hash and the server's release, not under an address.
    """

    Settings: ClassVar[type[APISettings]] = ServedSettings
    settings: ServedSettings
    transport = OpenAIAudio.transport | {
        *("env", "executable", "start_timeout", "gpu_memory", "tensor_parallel_size"),
        # where the server runs is this object's to choose
        "identity",
    }
    #: The Python package whose release is that of the server.
    package: ClassVar[str]
    _server: ServerProcess | None = None
    _clips = 0

    def address(self, settings: APISettings) -> str:
        """Return a stand-in until the server runs. Raises MarathonError for `base_url=`."""
        if settings.base_url is not None or settings.identity is not None:
            raise MarathonError(
                f"{self.flags.args}: {self.name()} starts its own server and takes no base_url= and identity=; "
                f"{self.flags.model} openai_audio asks one that runs already"
            )
        return "http://127.0.0.1/v1"

    def _key(self) -> str:
        return NO_KEY

    @property
    def served_name(self) -> str:
        """The model's name in requests."""
        return self.settings.model or self.settings.pretrained

    @property
    def engine(self) -> Engine:
        """The server's program and its release. Raises MarathonError."""
        return found_engine(self.package, self.settings.env, self.settings.executable, self.flags.args)

    def identity(self) -> dict[str, Any]:
        """Return the weights' hash or commit, the server's release, and the settings of thinking."""
        known = {name: value for name, value in super().identity().items() if name != "base_url"}
        return {**known, **self._identity, "engine": f"{self.package} {self.engine.release}"}

    @cached_property
    def _identity(self) -> dict[str, Any]:
        named = named_contents(self.settings.server_args, self.cache)
        return {**self._weights(), **({"server_files": named} if named else {})}

    def _weights(self) -> dict[str, Any]:
        folder = weights.local_folder(self.settings.pretrained, self.flags.args)
        if folder is None:
            return {
                "revision": weights.hub_commit(
                    self.settings.pretrained, self.settings.revision, self.flags.args
                )
            }
        if self.settings.revision is not None:
            raise MarathonError(
                f"{self.flags.args}: revision={self.settings.revision}: pretrained={folder} is a folder, "
                "and a folder has no revisions"
            )
        content = weights.folder_hash(folder, self.cache, self.flags.args)
        return {"pretrained": folder.resolve().name, "weights": content}

    def check(self) -> None:
        """Raise MarathonError when the program or the weights are not there; starts nothing."""
        _ = self.engine

    @abstractmethod
    def command(self, port: int, revision: str | None, clips: int) -> list[str]:
        """Return the command line that serves the weights; a request holds `clips` clips at most."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `Model.generate` does; the first call starts the server.

        Raises MarathonError when the server can't start, or takes no audio.
        """
        clips = max([1, *(len(request.audios) for request in requests)])
        if self._server is None or clips > self._clips:
            self.close()
            self._start(clips)
        yield from super().generate(requests)

    def _start(self, clips: int) -> None:
        revision = self._identity.get("revision")
        more = shlex.split(self.settings.server_args)
        server = ServerProcess(
            f"{self.flags.model} {self.name()}", lambda port: [*self.command(port, revision, clips), *more]
        )
        self._server, self._clips = server, clips
        try:
            server.wait(self.settings.start_timeout)
            refuse_changed(self)
        except BaseException:
            self.close()
            raise
        self.url = server.url

    def body(self, request: Request, clips: Sequence[Any]) -> dict[str, Any]:
        return {**super().body(request, clips), "model": self.served_name}

    async def _rate(self, session: Session) -> AudioRate | str:
        """Measure the rate as for any server; a server that takes no audio ends the run here."""
        rate = await super()._rate(session)
        if isinstance(rate, str) and not self._answered:
            raise MarathonError(
                f"{self.flags.model} {self.name()}: the server takes no audio: {rate}{self._log()}"
            )
        return rate

    def failure(self, error: Exception) -> CallFailure:
        """Explain an error; where the server has ended, that is the reason for all."""
        found = super().failure(error)
        # the guard notices the end a moment after the connections break
        ended = self._server.ended(1.0) if self._server is not None and found.everybody else None
        return found if ended is None else CallFailure(ended, everybody=True)

    def _log(self) -> str:
        return f". Log: {self._server.log}" if self._server is not None else ""

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.end()
            self._server = None
        self._measured = None
        Model.close(self)
