"""APIAudio: an audio model behind an HTTP API, asked many times at once through its vendor's own SDK.

Retries, their back-off and Retry-After are the SDK's; here stand the limits, the truncation guard and the
difference between one request that failed and a server that is gone.
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

from marathon_eval.api.model import MODEL_FLAGS, Model, ModelFlags, ModelSettings, Request, Response, flags_of
from marathon_eval.api.secrets import checked_url, key_from_environment, redacted
from marathon_eval.backends.http.calibration import REQUEST, calibrated, sound
from marathon_eval.backends.http.loop import Pace, as_finished, from_async
from marathon_eval.backends.http.payload import EncodedClip, EncodedClips, Format, encode
from marathon_eval.backends.http.reply import AudioRate, NoAnswer, ServerReply, judged
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    from marathon_eval.api.press import Press

#: What pacing by tokens assumes of a server whose rate is not known; corrected by each answer's own count.
ASSUMED_TOKENS_PER_SECOND = 32.0
#: So many failures of the whole server with no answer between: nobody else is sent to it.
OUTAGE = 3


class APISettings(ModelSettings):
    """What every API adapter takes."""

    model: str = Field(min_length=1)
    base_url: str | None = None
    #: Says what stands behind a base_url that may change; it is in the fingerprint in that one's place.
    identity: str | None = None
    audio_format: Format = "wav"
    sample_rate: int = Field(16000, ge=8000, le=48000)
    audio_first: bool = True
    #: Measured by two short calls where it is not given.
    audio_tokens_per_second: float | None = Field(None, gt=0)
    #: Only a streamed answer has a time to its first token; with others in flight that includes their queue.
    stream: bool = True
    concurrency: int = Field(8, ge=1, le=256)
    #: Requests and tokens per minute; what an SDK asks again comes on top.
    rpm: float | None = Field(None, gt=0)
    tpm: float | None = Field(None, gt=0)
    timeout: float = Field(600.0, gt=0)
    retries: int = Field(5, ge=0)


class CallFailure(NamedTuple):
    """Why a call failed. `everybody`: the next call will fail for the same reason (key, model name, no server)."""

    reason: str
    everybody: bool = False
    refusal: bool = False


@dataclass
class Session:
    """What one `generate` holds while it runs."""

    client: Any
    key: str
    clips: EncodedClips
    requests_pace: Pace
    tokens_pace: Pace
    rate: AudioRate | str = "no audio was sent"
    outages: int = 0
    outage: str = ""
    wanted: int = 0


class APIAudio(Model):
    """Subclasses say how a request is written in their API, how a reply is read, and what an error means."""

    Settings: ClassVar[type[APISettings]] = APISettings
    settings: APISettings
    #: base_url is in the fingerprint by `identity()`, where `identity=NAME` may stand for it.
    transport = Model.transport | {"rpm", "tpm", "stream", "base_url"}
    key_variables: ClassVar[tuple[str, ...]]
    url_variable: ClassVar[str]
    default_url: ClassVar[str]

    def __init__(self, settings: APISettings, press: Press | None = None) -> None:
        if press is not None:
            raise MarathonError(
                f"{flags_of(settings).model} {self.name()} takes no press: the model is out of reach, on a server"
            )
        super().__init__(settings, press)
        self.url = checked_url(
            settings.base_url or os.environ.get(self.url_variable) or self.default_url,
            f"{self.flags.model} {self.name()}",
        )
        #: Once anything was answered, a server that goes away costs rows and no longer ends the run.
        self._answered = False
        self._measured: AudioRate | None = None

    @classmethod
    def from_args(
        cls, args: Mapping[str, Any], press: Press | None = None, flags: ModelFlags = MODEL_FLAGS
    ) -> Self:
        """As `Model.from_args`; a key among the arguments is refused without being repeated."""
        if secret := [name for name in args if "key" in name.lower() or "secret" in name.lower()]:
            raise MarathonError(
                f"{flags.args}: {cls.name()} takes no '{secret[0]}': arguments are written into results. "
                f"Set {' or '.join(cls.key_variables)} in the environment"
            )
        return super().from_args(args, press, flags)  # type: ignore[return-value]  # builds cls

    def identity(self) -> dict[str, Any]:
        return {"adapter": self.name(), "base_url": None if self.settings.identity else self.url}

    def check(self) -> None:
        """Raise MarathonError where a key is needed and none is set; the server is not asked."""
        self._key()

    def _key(self) -> str:
        needed_by = f"{self.flags.model} {self.name()}" if self.url == self.default_url else None
        return key_from_environment(self.key_variables, needed_by)

    @abstractmethod
    def connect(self, key: str) -> AbstractAsyncContextManager[Any]:
        """The SDK's client, closed on exit. Raises MarathonError when the SDK is not installed."""

    @abstractmethod
    async def call(self, client: Any, request: Request, clips: Sequence[EncodedClip]) -> ServerReply:
        """One call, the SDK's retries included. Raises what the SDK raises, or NoAnswer."""

    @abstractmethod
    def failure(self, error: Exception) -> CallFailure:
        """What an error of `call` means."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """As `Model.generate`. Raises MarathonError when no request at all can be answered: key, name, no server."""
        key = self._key()
        yield from from_async(self._answers(self.connect(key), key, requests))

    async def _answers(
        self, connecting: AbstractAsyncContextManager[Any], key: str, requests: Sequence[Request]
    ) -> AsyncGenerator[tuple[Request, Response], None]:
        made = self.settings
        async with connecting as client:
            clips = EncodedClips(made.sample_rate, made.audio_format)
            session = Session(client, key, clips, Pace(made.rpm), Pace(made.tpm), wanted=len(requests))
            if any(request.audios for request in requests):
                session.rate = await self._rate(session)

            async def answer(request: Request) -> tuple[Request, Response]:
                return request, await self._answer(session, request)

            async for item in as_finished(answer, requests, made.concurrency):
                yield item

    async def _rate(self, session: Session) -> AudioRate | str:
        """Audio tokens per second as the user says, else as the server shows today, else why there is none."""
        given = self.settings.audio_tokens_per_second
        if given is not None:
            return AudioRate(given, doubt=0.01 * given)
        if self._measured is not None:
            return self._measured

        async def ask(seconds: float) -> ServerReply:
            made = sound(seconds, self.settings.sample_rate)
            clip = encode(made, self.settings.sample_rate, self.settings.audio_format)
            reply = await self._call(session, REQUEST, [clip])
            self._answered = True
            return reply

        try:
            rate = await calibrated(ask)
        except Exception as error:  # noqa: BLE001 - recorded: rows say why their hearing is unverified
            failure, reason = self._explained(session, error)
            if failure.everybody and not self._answered:
                raise MarathonError(f"{self.flags.model} {self.name()}: {self.url}: {reason}") from None
            return f"the calibration calls failed: {reason}"
        self._measured = rate if isinstance(rate, AudioRate) else None
        return rate

    async def _answer(self, session: Session, request: Request) -> Response:
        if session.outages >= OUTAGE:
            return Response.failed(
                f"not asked: {session.outages} requests before it failed with {session.outage}"
            )
        try:
            clips = [await session.clips.get(audio) for audio in request.audios]
            reply = await self._call(session, request, clips)
        except RowError as error:
            return Response.failed(str(error))
        except Exception as error:  # noqa: BLE001 - one failing request never ends the others
            return self._failed(session, error)
        self._answered, session.outages = True, 0
        return judged(reply, request, sum(clip.seconds for clip in clips), session.rate)

    def _failed(self, session: Session, error: Exception) -> Response:
        failure, reason = self._explained(session, error)
        if failure.refusal:
            return Response("", "content_filter", "refused", reason)
        if failure.everybody:
            session.outages, session.outage = session.outages + 1, reason
        if not self._answered and session.outages >= min(OUTAGE, session.wanted):
            raise MarathonError(f"{self.flags.model} {self.name()}: {self.url}: {reason}") from None
        return Response.failed(reason)

    def _explained(self, session: Session, error: Exception) -> tuple[CallFailure, str]:
        """What an error means, and its text without secrets."""
        if isinstance(error, NoAnswer):
            failure = CallFailure(str(error))
        elif isinstance(error, json.JSONDecodeError):
            failure = CallFailure(f"the reply is no JSON, or cut short ({error})")
        else:
            failure = self.failure(error)
        return failure, redacted(failure.reason, session.key)

    async def _call(self, session: Session, request: Request, clips: Sequence[EncodedClip]) -> ServerReply:
        """A call within the limits; what it really cost is settled afterwards."""
        rate = session.rate.per_second if isinstance(session.rate, AudioRate) else ASSUMED_TOKENS_PER_SECOND
        expected = rate * sum(clip.seconds for clip in clips) + len(request.prompt) / 4
        expected += request.generation.max_new_tokens
        await session.requests_pace.wait()
        await session.tokens_pace.wait(expected)
        reply = await self.call(session.client, request, clips)
        if reply.input_tokens is not None:
            session.tokens_pace.correct(reply.input_tokens + (reply.output_tokens or 0) - expected)
        return reply


def missing_sdk(name: str) -> MarathonError:
    """The one wording for an SDK that is not installed."""
    return MarathonError(f"--model {name} needs the extra 'api': pip install 'marathon-eval[api]'")
