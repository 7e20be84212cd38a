"""Provides APIAudio, the base class of audio models behind an HTTP API; it sends requests concurrently.

The vendor's SDK sends them, retries, backs off and obeys Retry-After. This module limits the rate, checks that audio
was not truncated, and tells one failed request from a server that is down.
"""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pydantic import Field

from marathon_eval.api.model import (
    MODEL_FLAGS,
    Model,
    ModelFlags,
    ModelSettings,
    Request,
    Response,
    flags_of,
)
from marathon_eval.api.same_failures import NEVER_SENT
from marathon_eval.api.secrets import (
    NO_KEY,
    SHORTEST_KEY,
    checked_url,
    key_from_environment,
    redacted,
    without_all_secrets,
)
from marathon_eval.backends.http.calibration import REQUEST, calibrated, sound
from marathon_eval.backends.http.loop import Pace, as_finished, from_async
from marathon_eval.backends.http.payload import EncodedClip, EncodedClips, Format, encode
from marathon_eval.backends.http.reply import AudioRate, NoAnswer, ServerReply, response_from_reply
from marathon_eval.errors import MarathonError, RowError, install_hint

if TYPE_CHECKING:
    from marathon_eval.api.press import Press

#: Used by the token limit while the server's rate is unknown; each reply's token count corrects the estimate.
ASSUMED_TOKENS_PER_SECOND = 32.0
#: Stop sending requests after this many consecutive failures of the whole server.
OUTAGE = 3


class APISettings(ModelSettings):
    """Holds the arguments of every API adapter."""

    model: str = Field(min_length=1)
    base_url: str | None = None
    #: A name for the server that replaces `base_url` in the fingerprint, for a base_url that may change.
    identity: str | None = None
    audio_format: Format = "wav"
    sample_rate: int = Field(16000, ge=8000, le=48000)
    audio_first: bool = True
    #: Tokens for thinking, in addition to the task's limit for the answer.
    thinking_tokens: int | None = Field(None, ge=0)
    #: How much a thinking model thinks, in the server's words: none, minimal, low, medium, high.
    reasoning_effort: str | None = Field(None, min_length=1)
    #: Measured by two or three short calls when not set.
    audio_tokens_per_second: float | None = Field(None, gt=0)
    #: Only streamed responses have a time to first token; with other requests in flight it includes queueing.
    stream: bool = True
    concurrency: int = Field(8, ge=1, le=256)
    #: Requests and tokens per minute; the SDK's retries are not counted.
    rpm: float | None = Field(None, gt=0)
    tpm: float | None = Field(None, gt=0)
    #: Seconds for a whole reply, from sending the request to the last byte; each retry has as many.
    timeout: float = Field(600.0, gt=0)
    retries: int = Field(5, ge=0)


class CallFailure(NamedTuple):
    """Says why a call failed; `everybody`: every call fails for the same reason (key, model name, no server)."""

    reason: str
    everybody: bool = False
    refusal: bool = False


@dataclass
class Session:
    """Holds the state of one `generate` call: client, encoded clips, rate limits, consecutive failures."""

    client: Any
    key: str
    clips: EncodedClips
    requests_pace: Pace
    tokens_pace: Pace
    rate: AudioRate | str = "no audio was sent"
    outages: int = 0
    outage: str = ""
    requests: int = 0


class APIAudio(Model):
    """Sends requests to an HTTP API; a subclass connects, makes a call, reads the reply and explains errors."""

    Settings: ClassVar[type[APISettings]] = APISettings
    settings: APISettings
    #: `identity()` puts base_url into the fingerprint, unless `identity=NAME` replaces it, and the settings of thinking
    #: where they are given.
    transport = Model.transport | {"rpm", "tpm", "stream", "base_url", "thinking_tokens", "reasoning_effort"}
    key_variables: ClassVar[tuple[str, ...]]
    url_variable: ClassVar[str]
    default_url: ClassVar[str]

    def __init__(self, settings: APISettings, press: Press | None = None) -> None:
        if press is not None:
            raise MarathonError(
                f"{flags_of(settings).model} {self.name()} takes no press: a press changes the model, which runs on a server"
            )
        super().__init__(settings, press)
        self.url = checked_url(self.address(settings), f"{self.flags.model} {self.name()}")
        #: After the first reply, an outage of the server makes error rows instead of ending the run.
        self._answered = False
        self._measured: AudioRate | None = None

    def address(self, settings: APISettings) -> str:
        """Return the server's address: from the arguments, the environment, or the vendor's own."""
        return settings.base_url or os.environ.get(self.url_variable) or self.default_url

    @classmethod
    def from_args(
        cls, args: Mapping[str, Any], press: Press | None = None, flags: ModelFlags = MODEL_FLAGS
    ) -> Self:
        """Build as `Model.from_args` does.

        Raises MarathonError for a key among the arguments, and does not print it.
        """
        if secret := [name for name in args if "key" in name.lower() or "secret" in name.lower()]:
            raise MarathonError(
                f"{flags.args}: {cls.name()} takes no '{secret[0]}': arguments are written into results. "
                f"Set {' or '.join(cls.key_variables)} in the environment"
            )
        return super().from_args(args, press, flags)  # type: ignore[return-value]  # builds cls

    def identity(self) -> dict[str, Any]:
        thinking = {name: getattr(self.settings, name) for name in ("thinking_tokens", "reasoning_effort")}
        return {
            "adapter": self.name(),
            "base_url": None if self.settings.identity else self.url,
            **{name: value for name, value in thinking.items() if value is not None},
        }

    @property
    def thinking_room(self) -> int:
        return self.settings.thinking_tokens or 0

    @property
    def most_audio_bytes(self) -> int | None:
        """The bytes of one encoded clip that the server takes; None where that is not known."""
        return None

    def misfit(self, request: Request, seconds: float) -> str | None:
        """Return why the server would refuse these seconds for their size; None if it may take them, or the size is unknown."""
        # the size of an MP3 is known once it is encoded
        alone = len(request.audios) == 1 and self.settings.audio_format == "wav"
        return self._too_large(round(seconds * self.settings.sample_rate) * 2 if alone else 0)

    def _too_large(self, size: int) -> str | None:
        if self.most_audio_bytes is None or size <= self.most_audio_bytes:
            return None
        smaller = " (audio_format=mp3 is smaller)" if self.settings.audio_format == "wav" else ""
        return f"{size / 1e6:.1f} MB of audio: {self.shown_url} takes clips of {self.most_audio_bytes / 1e6:g} MB{smaller}"

    def check(self) -> None:
        """Raise MarathonError when a key is needed and none is set; sends nothing to the server."""
        self._key()

    def _key(self) -> str:
        needed_by = f"{self.flags.model} {self.name()}" if self.url == self.default_url else None
        return key_from_environment(self.key_variables, needed_by)

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets among the settings, and the key."""
        key = key_from_environment(self.key_variables, None)
        return (*super().secrets(), *((key,) if key != NO_KEY and len(key) >= SHORTEST_KEY else ()))

    @property
    def shown_url(self) -> str:
        """Return the server's address without secrets, for messages."""
        return str(without_all_secrets(self.url, self.secrets()))

    @abstractmethod
    def connect(self, key: str) -> AbstractAsyncContextManager[Any]:
        """Return the SDK's client, closed on exit. Raises MarathonError when the SDK is not installed."""

    @abstractmethod
    async def call(self, client: Any, request: Request, clips: Sequence[EncodedClip]) -> ServerReply:
        """Make one call, including the SDK's retries. Raises what the SDK raises, or NoAnswer."""

    @abstractmethod
    def failure(self, error: Exception) -> CallFailure:
        """Explain an error that `call` raised."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `Model.generate` does. Raises MarathonError when none can succeed: key, model name, no server."""
        key = self._key()
        yield from from_async(self._answers(self.connect(key), key, requests))

    async def _answers(
        self, connecting: AbstractAsyncContextManager[Any], key: str, requests: Sequence[Request]
    ) -> AsyncGenerator[tuple[Request, Response], None]:
        settings = self.settings
        async with connecting as client:
            clips = EncodedClips(settings.sample_rate, settings.audio_format)
            session = Session(
                client, key, clips, Pace(settings.rpm), Pace(settings.tpm), requests=len(requests)
            )
            if any(request.audios for request in requests):
                session.rate = await self._rate(session)

            async def answer(request: Request) -> tuple[Request, Response]:
                return request, await self._answer(session, request)

            async for item in as_finished(answer, requests, settings.concurrency):
                yield item

    async def _rate(self, session: Session) -> AudioRate | str:
        """Return the rate from the settings, else the measured one, else a text that says why there is none."""
        per_second = self.settings.audio_tokens_per_second
        if per_second is not None:
            return AudioRate(per_second, doubt=0.01 * per_second)
        if self._measured is not None:
            return self._measured

        async def ask(seconds: float) -> ServerReply:
            samples = sound(seconds, self.settings.sample_rate)
            clip = encode(samples, self.settings.sample_rate, self.settings.audio_format)
            reply = await self._call(session, REQUEST, [clip])
            self._answered = True
            return reply

        try:
            rate = await calibrated(ask)
        except Exception as error:  # noqa: BLE001 - recorded in each row's usage as the reason for "unverified"
            failure, reason = self._explained(session, error)
            if failure.everybody and not self._answered:
                raise MarathonError(f"{self.flags.model} {self.name()}: {self.shown_url}: {reason}") from None
            return f"the calibration calls failed: {reason}"
        self._measured = rate if isinstance(rate, AudioRate) else None
        return rate

    async def _answer(self, session: Session, request: Request) -> Response:
        if session.outages >= OUTAGE:
            return Response.failed(
                f"{NEVER_SENT}{session.outages} requests before it failed with {session.outage}"
            )
        try:
            clips = [await session.clips.get(audio) for audio in request.audios]
            if (reason := self._too_large(max((len(clip.data) for clip in clips), default=0))) is not None:
                return Response.failed(NEVER_SENT + reason)
            reply = await self._call(session, request, clips)
        except RowError as error:
            return Response.failed(str(error))
        except Exception as error:  # noqa: BLE001 - one failing request must not end the others
            return self._failed(session, error)
        self._answered, session.outages = True, 0
        return response_from_reply(reply, request, sum(clip.seconds for clip in clips), session.rate)

    def _failed(self, session: Session, error: Exception) -> Response:
        failure, reason = self._explained(session, error)
        if failure.refusal:
            return Response("", "content_filter", "refused", reason)
        if failure.everybody:
            session.outages, session.outage = session.outages + 1, reason
        if not self._answered and session.outages >= min(OUTAGE, session.requests):
            raise MarathonError(f"{self.flags.model} {self.name()}: {self.shown_url}: {reason}") from None
        return Response.failed(reason)

    def _explained(self, session: Session, error: Exception) -> tuple[CallFailure, str]:
        """Return what the error means, and its text with keys redacted."""
        cause = error.__cause__ if isinstance(error.__cause__, NoAnswer) else error  # an SDK may wrap it
        if isinstance(cause, NoAnswer):
            failure = CallFailure(str(cause))
        elif isinstance(error, json.JSONDecodeError):
            failure = CallFailure(f"the reply is no JSON, or cut short ({error})")
        else:
            failure = self.failure(error)
        return failure, redacted(without_all_secrets(failure.reason, self.secrets()), session.key)

    async def _call(self, session: Session, request: Request, clips: Sequence[EncodedClip]) -> ServerReply:
        """Make a call within the limits, then correct the token limit by the call's reported tokens."""
        rate = session.rate.per_second if isinstance(session.rate, AudioRate) else ASSUMED_TOKENS_PER_SECOND
        expected = rate * sum(clip.seconds for clip in clips) + request.text_length / 4
        expected += request.generation.max_new_tokens
        await session.requests_pace.wait()
        await session.tokens_pace.wait(expected)
        reply = await self.call(session.client, request, clips)
        if reply.input_tokens is not None:
            session.tokens_pace.correct(reply.input_tokens + (reply.output_tokens or 0) - expected)
        return reply


def missing_sdk(name: str) -> MarathonError:
    """Return the error for an SDK that is not installed."""
    return MarathonError(f"--model {name} needs the extra 'api': {install_hint('api')}")
