"""Refuses models whose code lies beside their weights and needs an older transformers than this package.

Their adapters exist so that `--model NAME` explains at once why the model cannot load and what works instead: a
server in its own environment with an OpenAI-compatible API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NoReturn

from marathon_eval.api.model import Model, ModelSettings, Request, Response
from marathon_eval.api.press import Press
from marathon_eval.errors import MarathonError


class RemoteSettings(ModelSettings):
    """Accepts the arguments of a local model, so that the error explains the model instead of an unknown argument."""

    pretrained: str
    trust_remote_code: bool = False


class RemoteCode(Model):
    """Raises MarathonError when built, with the reason and the command for a server."""

    #: What the model's code needs, as the end of the sentence "NAME needs ...".
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
            f"{self.flags.model} {self.name()}: {name} needs {self.wants}; the installed transformers {release} has no class "
            "for this model. Serve it in its own environment behind an OpenAI-compatible API and use "
            f"{self.flags.model} openai_audio {self.flags.args} base_url=http://HOST:PORT/v1,model={name}"
        )
