"""Models whose code lies beside their weights and was written for releases of transformers that this package is past.

They are named here so that asking for one says at once why it cannot load and what does work: a server that runs it
in an environment of its own, asked over an OpenAI-compatible API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NoReturn

from marathon_eval.api.model import Model, ModelSettings, Request, Response
from marathon_eval.api.press import Press
from marathon_eval.errors import MarathonError


class RemoteSettings(ModelSettings):
    """What a local model would take; none of it helps."""

    pretrained: str
    trust_remote_code: bool = False


class RemoteCode(Model):
    """Refuses to be built. Raises MarathonError with the reason and the way through a server."""

    #: What its code needs, as a sentence's end.
    wants: ClassVar[str]

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        self._refuse()

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        from importlib.metadata import version

        release = version("transformers")
        name = getattr(self.settings, "pretrained", "")
        raise MarathonError(
            f"{self.flags.model} {self.name()}: {name} needs {self.wants}; here is transformers {release}, and it has no class "
            "for this model. Serve it in an environment of its own behind an OpenAI-compatible API and ask it with "
            f"{self.flags.model} openai_audio {self.flags.args} base_url=http://HOST:PORT/v1,model={name}"
        )
