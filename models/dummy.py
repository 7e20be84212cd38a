"""A model that does not listen: it answers from its arguments, at once or slowly, and fails where it is told to.

For trying out tasks, caches and reports, and for tests. Its scores say what not listening is worth.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import ClassVar, Literal

from pydantic import Field

from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.model import Model, ModelSettings, Request, Response, Usage
from marathon_eval.errors import AudioError


class _Settings(ModelSettings):
    """`mode` says where the text comes from.

    constant  `answer`, whatever is asked
    echo      the prompt itself
    random    one of the characters of `choices`, drawn from `seed` and the whole request
    cycle     the character of `choices` whose place is the request's own seed: repeat i gets the i-th one
    """

    mode: Literal["constant", "echo", "random", "cycle"] = "constant"
    answer: str = "A"
    choices: str = Field("ABCD", min_length=1)
    seed: int = 0
    #: Report as heard what the audio's header says; without it nothing is said of hearing.
    listen: bool = False
    #: Seconds that each answer takes.
    sleep: float = Field(0.0, ge=0)
    #: Every n-th request of this process fails, counted from 1; `fail_at` names a single one.
    fail_every: int | None = Field(None, ge=1)
    fail_at: int | None = Field(None, ge=1)


class Dummy(Model):
    """Answers without weights."""

    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings
    # a failure is never cached, so how often it strikes cannot change an answer
    transport: ClassVar[frozenset[str]] = Model.transport | {"sleep", "fail_every", "fail_at"}
    _asked = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            self._asked += 1
            time.sleep(self.settings.sleep)
            yield request, self._answer(request)

    def _answer(self, request: Request) -> Response:
        if (
            self._asked == self.settings.fail_at
            or self._asked % (self.settings.fail_every or self._asked + 1) == 0
        ):
            return Response.failed(f"dummy failed at request {self._asked}, as told")
        try:
            heard = sum(audio.seconds for audio in request.audios) if self.settings.listen else None
            return Response(self._text(request), usage=Usage(heard_seconds=heard))
        except AudioError as error:
            return Response.failed(str(error))

    def _text(self, request: Request) -> str:
        made = self.settings
        if made.mode == "constant":
            return made.answer
        if made.mode == "echo":
            return request.prompt
        if made.mode == "cycle":
            return made.choices[(request.generation.seed or 0) % len(made.choices)]
        return made.choices[self._drawn(request) % len(made.choices)]

    def _drawn(self, request: Request) -> int:
        """A number from what is asked; from the audio's content, not its path, as the cache's key is."""
        sounds = [self._facts(audio).sha256 for audio in request.audios]
        asked = [self.settings.seed, request.prompt, request.system, sounds, asdict(request.generation)]
        return int.from_bytes(hashlib.sha256(json.dumps(asked).encode()).digest()[:8], "big")

    def _facts(self, audio: Audio) -> AudioFacts:
        known = self.cache.facts([audio])[0] if self.cache else {}
        return known[audio] if audio in known else audio.facts()
