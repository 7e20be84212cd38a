"""Sends requests to Google's Gemini models with google-genai: https://ai.google.dev/gemini-api/docs/audio"""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, cast

from pydantic import Field

from marathon_eval.api.model import Request
from marathon_eval.api.turns import turns_with_clips
from marathon_eval.backends.http.adapter import APIAudio, APISettings, CallFailure, missing_sdk
from marathon_eval.backends.http.attempts import AttemptClock
from marathon_eval.backends.http.bounded import bounded_client
from marathon_eval.backends.http.payload import EncodedClip, interleaved
from marathon_eval.backends.http.reply import NoAnswer, ServerReply

#: Clips above this size go through the Files API, because a request may have 20 MB, including base64's overhead.
INLINE_BYTES = 14_000_000
#: Status codes with which every request would fail: the key, its permissions, or the model's name.
_EVERYBODY = (401, 403, 404)
_UPLOAD_POLL_S = 1.0


#: Tokens added to the limit of models that always think, so that their shortest thinking leaves the answer its own.
LITTLE_THINKING = 1024


def _by_level(name: str) -> bool:
    """Return whether a model of this name takes a thinking level: Gemini 3 and later, and `gemini-flash-latest` etc."""
    version = re.match(r"gemini-(\d+)", name)
    return int(version[1]) >= 3 if version else name.startswith("gemini-") and name.endswith("-latest")


class _Settings(APISettings):
    """Holds the arguments of every API adapter, and those of Gemini."""

    #: Thinking tokens, in addition to the task's limit for the answer. If unset: none for models that can do without.
    thinking_budget: int | None = Field(None, ge=0)
    #: Merged into the GenerateContentConfig, such as {"safety_settings": [...]}.
    extra_config: dict[str, Any] = Field(default_factory=dict)


class Gemini(APIAudio):
    """Answers with a Gemini model; the key is read from GEMINI_API_KEY or GOOGLE_API_KEY.

    - Chat: audio parts before the prompt (`audio_first=`); the system prompt is `system_instruction`.
    - Audio: the API's limits; clips of up to 14 MB in all are sent inline, larger ones are uploaded and deleted
      afterwards. The token rate is measured, or set by `audio_tokens_per_second=`.
    - Presses: none.
    - Source: https://ai.google.dev/gemini-api/docs/audio
    """

    Settings: ClassVar[type[APISettings]] = _Settings
    settings: _Settings
    needs: ClassVar[Mapping[str, str]] = {"google.genai": "api"}
    key_variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    url_variable = "GOOGLE_GEMINI_BASE_URL"
    places_clips: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    default_url = "https://generativelanguage.googleapis.com"

    def identity(self) -> dict[str, Any]:
        """Add what is sent about thinking to models that take a level; earlier names have it in their arguments."""
        if not _by_level(self.settings.model.rpartition("/")[2]):
            return super().identity()
        return {**super().identity(), "thinking": self._thinking(), "thinking_room": self.thinking_room}

    def connect(self, key: str) -> AbstractAsyncContextManager[Any]:
        try:
            from google import genai
        except ImportError:
            raise missing_sdk(self.name()) from None
        return _closing(genai, key, self.url, self.settings)

    async def call(self, client: Any, request: Request, clips: Sequence[EncodedClip]) -> ServerReply:
        inline = sum(len(clip.data) for clip in clips) <= INLINE_BYTES
        async with _parts(client, clips, inline, self.settings.timeout) as audio:
            contents = [*audio, request.prompt] if self.settings.audio_first else [request.prompt, *audio]
            if request.earlier:
                contents = _contents(request, audio)
            elif request.placed and audio:
                contents = interleaved(request, audio)
            call = {"model": self.settings.model, "contents": contents, "config": self.config(request)}
            read = _Streamed(AttemptClock())
            if self.settings.stream:
                async for chunk in await client.models.generate_content_stream(**call):
                    read.take(chunk)
            else:
                read.take(await client.models.generate_content(**call), streamed=False)
            return read.reply()

    def config(self, request: Request) -> dict[str, Any]:
        """Return the GenerateContentConfig; any change here must raise `version`."""
        generation, thinking = request.generation, self._thinking()
        config: dict[str, Any] = {
            "max_output_tokens": generation.max_new_tokens + self.thinking_room,
            "temperature": generation.temperature,
            "automatic_function_calling": {"disable": True},
        }
        if request.system is not None:
            config["system_instruction"] = request.system
        if generation.top_p != 1.0:
            config["top_p"] = generation.top_p
        if generation.stop:
            config["stop_sequences"] = list(generation.stop)
        if generation.seed is not None:
            config["seed"] = generation.seed
        if thinking:
            config["thinking_config"] = thinking
        return {**config, **self.settings.extra_config}

    def _thinking(self) -> dict[str, Any]:
        """Return the thinking_config: as little thinking as the model can do, unless the arguments say otherwise.

        Models up to 2.5 take a budget, of which only Flash and Flash-Lite take 0; later ones take a level, and none of
        them can do without. Source: https://ai.google.dev/gemini-api/docs/thinking
        """
        settings = self.settings
        budget = settings.thinking_tokens if settings.thinking_budget is None else settings.thinking_budget
        if settings.reasoning_effort is not None:
            return {"thinking_level": settings.reasoning_effort.upper()}
        name = settings.model.rpartition("/")[2]
        if _by_level(name) and settings.thinking_budget is None:
            return {"thinking_level": "LOW" if "pro" in name else "MINIMAL"}
        if budget is not None:
            return {"thinking_budget": budget}
        return {"thinking_budget": 0} if name.startswith("gemini-2.5-flash") else {}

    @property
    def thinking_room(self) -> int:
        """Return the tokens for thinking, which the API counts as output: `thinking_tokens=`, or what little thinking takes."""
        settings = self.settings
        if settings.thinking_tokens is not None or settings.thinking_budget is not None:
            return max(settings.thinking_tokens or 0, settings.thinking_budget or 0)
        return LITTLE_THINKING if _by_level(settings.model.rpartition("/")[2]) else 0

    def failure(self, error: Exception) -> CallFailure:
        import httpx2
        from google.genai.errors import APIError

        if isinstance(error, APIError):
            message = f"HTTP {error.code}: {error.message or error.status}"
            return CallFailure(message, error.code in _EVERYBODY or "API key" in message)
        if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
            return CallFailure(f"no answer within {self.settings.timeout:g} s")
        if isinstance(error, httpx2.TransportError):
            return CallFailure(f"no connection: {error}".rstrip(": "), everybody=True)
        return CallFailure(f"{type(error).__name__}: {error}")


@asynccontextmanager
async def _closing(genai: Any, key: str, base_url: str, settings: _Settings) -> AsyncIterator[Any]:
    """Open the SDK's asynchronous client, and close it on exit."""
    import httpx2

    # The SDK might choose aiohttp, which blocks other requests while it sends a body of megabytes.
    limits = httpx2.Limits(max_connections=settings.concurrency)
    client = bounded_client(httpx2.AsyncClient, settings.timeout, timeout=settings.timeout, limits=limits)
    async with client as http:
        options = {
            "base_url": base_url,
            "timeout": round(settings.timeout * 1000),
            "retry_options": {"attempts": settings.retries + 1},
            "httpx_async_client": http,
        }
        # vertexai=False, because otherwise an environment variable could send requests to another service
        client = genai.Client(vertexai=False, api_key=key, http_options=options)
        try:
            yield client.aio
        finally:
            client.close()


@asynccontextmanager
async def _parts(
    client: Any, clips: Sequence[EncodedClip], inline: bool, seconds: float
) -> AsyncIterator[list[Any]]:
    """Yield the audio parts of a request; uploaded files are deleted on exit."""
    from google.genai import types

    if inline:
        yield [types.Part.from_bytes(data=clip.data, mime_type=f"audio/{clip.format}") for clip in clips]
        return
    files: list[Any] = []
    try:
        for clip in clips:
            config = {"mime_type": f"audio/{clip.format}"}
            files.append(await client.files.upload(file=io.BytesIO(clip.data), config=config))
        for position, file in enumerate(files):
            files[position] = await _ready(client, file, seconds)
        yield [types.Part.from_uri(file_uri=file.uri, mime_type=file.mime_type) for file in files]
    finally:
        # Failed deletions are ignored: the server deletes files after two days.
        deleting = [client.files.delete(name=file.name) for file in files]
        await asyncio.gather(*deleting, return_exceptions=True)


def _contents(request: Request, audio: Sequence[Any]) -> list[Any]:
    """Return the turns of a dialogue as the API takes them; an answer's role is `model` there."""
    from google.genai import types

    return [
        types.Content(
            role="user" if turn.role == "user" else "model",
            parts=[
                types.Part.from_text(text=part) if isinstance(part, str) else cast("Any", part)
                for part in turn.content
            ],
        )
        for turn in turns_with_clips(request, audio)
    ]


async def _ready(client: Any, file: Any, seconds: float) -> Any:
    """Wait until the server has processed the file, and return it.

    Raises NoAnswer when the server fails to, or takes longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    while file.state is not None and file.state.name == "PROCESSING":
        if time.monotonic() > deadline:
            raise NoAnswer(f"the server did not process the uploaded audio within {seconds:g} s")
        await asyncio.sleep(_UPLOAD_POLL_S)
        file = await client.files.get(name=file.name)
    if file.state is not None and file.state.name == "FAILED":
        raise NoAnswer(f"the server could not read the uploaded audio: {file.error}")
    return file


class _Streamed:
    """Collects a response from its chunks."""

    def __init__(self, clock: AttemptClock) -> None:
        self.clock = clock
        self.text: list[str] = []
        self.finish: str | None = None
        self.message: str | None = None
        self.block: str | None = None
        self.first: float | None = None
        self.usage: Any = None
        self.model: str | None = None

    def take(self, chunk: Any, streamed: bool = True) -> None:
        self.usage = chunk.usage_metadata or self.usage
        self.model = chunk.model_version or self.model
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            self.block = f"{feedback.block_reason.name} {feedback.block_reason_message or ''}".strip()
        # of several answers (candidate_count in extra_config) only the first was asked for
        for candidate in [one for one in chunk.candidates or () if not one.index][:1]:
            for part in (candidate.content and candidate.content.parts) or ():
                if part.text and self.first is None and streamed:
                    self.first = self.clock.seconds
                if part.text and not part.thought:
                    self.text.append(part.text)
            if candidate.finish_reason is not None:
                self.finish, self.message = candidate.finish_reason.name, candidate.finish_message

    def reply(self) -> ServerReply:
        """Return the complete reply. Raises NoAnswer when it is incomplete or ended for an unknown reason."""
        finish, refusal = self.finish, None
        if self.block is not None:
            finish, refusal = "content_filter", f"the prompt was blocked: {self.block}"
        elif finish in _REFUSED:
            refusal, finish = f"{finish} {self.message or ''}".strip(), "content_filter"
        elif finish is None:
            text = "".join(self.text)
            raise NoAnswer(
                f"the stream broke off after {text[:80]!r}" if text else "the reply held no answer"
            )
        elif finish not in _FINISHED:
            raise NoAnswer(f"the answer ended with {finish} {self.message or ''}".strip())
        usage = self.usage
        return ServerReply(
            text="".join(self.text),
            finish_reason=_FINISHED.get(finish, finish),
            refusal=refusal,
            input_tokens=getattr(usage, "prompt_token_count", None),
            audio_tokens=_audio_tokens(usage),
            output_tokens=_output_tokens(usage),
            thinking_tokens=getattr(usage, "thoughts_token_count", None),
            first_token_s=self.first,
            total_s=self.clock.seconds,
            details={"server_model": self.model, "retries": self.clock.retries},
        )


#: The finish reasons of a complete answer, with this package's names for them, and those of a refusal.
_FINISHED = {"STOP": "stop", "MAX_TOKENS": "length"}
_REFUSED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE")


def _output_tokens(usage: Any) -> int | None:
    """Return the tokens of answer and thinking, which are paid alike and counted apart; None if neither was counted."""
    counts = [getattr(usage, name, None) for name in ("candidates_token_count", "thoughts_token_count")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _audio_tokens(usage: Any) -> int | None:
    """Return the prompt's audio tokens, or None if the server did not count them."""
    details = getattr(usage, "prompt_tokens_details", None) or ()
    counts = [d.token_count or 0 for d in details if d.modality is not None and d.modality.name == "AUDIO"]
    return sum(counts) if counts else None
