"""Answers from its arguments without hearing the audio, with a delay or with failures if its arguments ask for them.

It serves to try out tasks, caches and reports, and to test them. Its scores show what a model gets without listening.
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
    """Holds the arguments of the dummy; `mode` decides the text of a response.

    constant  `answer`, for every request
    echo      the prompt itself
    random    one of the characters of `choices`, drawn from `seed` and the whole request
    cycle     the character of `choices` at the index of the request's own seed: repeat i gets the i-th character
    """

    mode: Literal["constant", "echo", "random", "cycle"] = "constant"
    answer: str = "A"
    choices: str = Field("ABCD", min_length=1)
    seed: int = 0
    #: Report the seconds in the audio's header as heard; if false, responses do not say how much was heard.
    listen: bool = False
    #: Seconds to wait before each response.
    sleep: float = Field(0.0, ge=0)
    #: Fail every n-th request of this process, counted from 1; `fail_at` fails a single one.
    fail_every: int | None = Field(None, ge=1)
    fail_at: int | None = Field(None, ge=1)


class Dummy(Model):
    """Answers without weights.

    - Chat: none; the prompt is used as it is, if at all.
    - Audio: any length; only its header is read (`listen=true`), or its content is hashed (`mode=random`).
    - Presses: none.
    """

    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings
    # failures are never cached, so their frequency cannot change a cached response
    places_clips: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    transport: ClassVar[frozenset[str]] = Model.transport | {"sleep", "fail_every", "fail_at"}
    _count = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            self._count += 1
            time.sleep(self.settings.sleep)
            yield request, self._answer(request)

    def _answer(self, request: Request) -> Response:
        if (
            self._count == self.settings.fail_at
            or self._count % (self.settings.fail_every or self._count + 1) == 0
        ):
            return Response.failed(f"dummy failed at request {self._count}, as told")
        try:
            heard = sum(audio.seconds for audio in request.audios) if self.settings.listen else None
            return Response(self._text(request), usage=Usage(heard_seconds=heard))
        except AudioError as error:
            return Response.failed(str(error))

    def _text(self, request: Request) -> str:
        settings = self.settings
        if settings.mode == "constant":
            return settings.answer
        if settings.mode == "echo":
            return request.prompt
        if settings.mode == "cycle":
            return settings.choices[(request.generation.seed or 0) % len(settings.choices)]
        return settings.choices[self._drawn(request) % len(settings.choices)]

    def _drawn(self, request: Request) -> int:
        """Hash the request to a number; like the cache key, it depends on the audio's content, not on its path."""
        sounds = [self._facts(audio).sha256 for audio in request.audios]
        content = [self.settings.seed, request.prompt, request.system, sounds, asdict(request.generation)]
        content += [list(turn) for turn in request.earlier]
        return int.from_bytes(hashlib.sha256(json.dumps(content).encode()).digest()[:8], "big")

    def _facts(self, audio: Audio) -> AudioFacts:
        cached = self.cache.facts([audio])[0] if self.cache else {}
        return cached[audio] if audio in cached else audio.facts()
