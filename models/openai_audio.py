"""Sends requests to a server with OpenAI's chat completions and audio input.

Such servers are OpenAI's, vLLM, SGLang and `transformers serve`. Sources:
https://platform.openai.com/docs/guides/audio, https://docs.vllm.ai/en/latest/features/multimodal_inputs.html
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from marathon_eval.api.model import Request
from marathon_eval.api.turns import TurnParts, turns_with_clips
from marathon_eval.backends.http.adapter import APIAudio, APISettings, CallFailure, missing_sdk
from marathon_eval.backends.http.attempts import AttemptClock
from marathon_eval.backends.http.bounded import bounded_client
from marathon_eval.backends.http.completions import read_stream, read_whole
from marathon_eval.backends.http.payload import EncodedClip, interleaved
from marathon_eval.backends.http.reply import ServerReply

#: HTTP status codes that mean every request will fail: wrong key, missing permission, unknown model or path.
_EVERYBODY = (401, 403, 404)
#: The largest clip that OpenAI's audio models take, as Azure documents it:
#: https://learn.microsoft.com/azure/ai-services/openai/audio-completions-quickstart
MOST_AUDIO_BYTES = 20_000_000


class OpenAIAudioSettings(APISettings):
    """Holds the arguments of every API adapter, and those of OpenAI-compatible servers."""

    #: How audio is sent; `audio_url` (a data: URL) is an extension of vLLM, SGLang and transformers serve.
    audio_part: Literal["input_audio", "audio_url"] = "input_audio"
    #: Merged into the request's body: parameters that only some servers know, such as {"top_k": 1}.
    extra_body: dict[str, Any] = Field(default_factory=dict)
    #: Hold a judge's replies to a JSON Schema by `response_format`. By default only OpenAI's own server is asked to;
    #: vLLM, SGLang, llama.cpp and Ollama can too, and other servers refuse such a request.
    json_schema: bool | None = None


class OpenAIAudio(APIAudio):
    """Answers with a model behind an OpenAI-compatible server; only OpenAI's own needs the key OPENAI_API_KEY.

    - Chat: one user message, audio before the prompt (`audio_first=`); the server fills the model's template.
    - Audio: the server's limits; the token rate is measured, or set by `audio_tokens_per_second=`.
    - Presses: none.
    - Source: https://platform.openai.com/docs/guides/audio
    """

    Settings: ClassVar[type[APISettings]] = OpenAIAudioSettings
    settings: OpenAIAudioSettings
    needs: ClassVar[Mapping[str, str]] = {"openai": "api"}
    key_variables = ("OPENAI_API_KEY",)
    url_variable = "OPENAI_BASE_URL"
    places_clips: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    default_url = "https://api.openai.com/v1"
    # `json_schema` need not be in the fingerprint: the schema is part of the request's cache key
    transport = APIAudio.transport | {"json_schema"}

    def connect(self, key: str) -> AbstractAsyncContextManager[Any]:
        try:
            import openai
        except ImportError:
            raise missing_sdk(self.name()) from None
        return _closing(openai, key, self.url, self.settings)

    async def call(self, client: Any, request: Request, clips: Sequence[EncodedClip]) -> ServerReply:
        body = await asyncio.to_thread(self.body, request, clips)
        create, clock = client.chat.completions.create, AttemptClock()
        if not self.settings.stream:
            completion = await create(**body)
            return read_whole(completion.to_dict(mode="python", warnings=False), clock)
        async with await create(**body, stream=True, stream_options={"include_usage": True}) as chunks:
            return await read_stream(chunks, clock)

    def body(self, request: Request, clips: Sequence[EncodedClip]) -> dict[str, Any]:
        """Return the arguments of chat.completions.create; any change here must raise `version`."""
        text = {"type": "text", "text": request.prompt}
        audio = [self._part(clip) for clip in clips]
        messages: list[dict[str, Any]] = []
        if request.system is not None:
            messages.append({"role": "system", "content": request.system})
        content = [*audio, text] if self.settings.audio_first else [text, *audio]
        if request.placed and clips and not request.earlier:
            content = [
                part if isinstance(part, dict) else {"type": "text", "text": part}
                for part in interleaved(request, audio)
            ]
        if request.earlier:
            messages += [_message(turn) for turn in turns_with_clips(request, audio)]
        else:
            messages.append({"role": "user", "content": content if clips else request.prompt})
        generation = request.generation
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": messages,
            self._limit_name(): generation.max_new_tokens + (self.settings.thinking_tokens or 0),
            "temperature": generation.temperature,
        }
        if generation.top_p != 1.0:
            body["top_p"] = generation.top_p
        if generation.stop:
            body["stop"] = list(generation.stop)
        if generation.seed is not None:
            body["seed"] = generation.seed
        if self.settings.reasoning_effort is not None:
            body["reasoning_effort"] = self.settings.reasoning_effort
        if request.reply_schema is not None:
            schema = {"name": "reply", "schema": json.loads(request.reply_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {**body, "extra_body": self.settings.extra_body} if self.settings.extra_body else body

    @property
    def most_audio_bytes(self) -> int | None:
        """The limit of OpenAI's own servers, also on Azure; other servers have limits of their own."""
        host = urlsplit(self.url).hostname or ""
        return MOST_AUDIO_BYTES if host.endswith(("openai.com", "openai.azure.com")) else None

    @property
    def takes_reply_schema(self) -> bool:
        if self.settings.json_schema is None:
            return (urlsplit(self.url).hostname or "").endswith("openai.com")
        return self.settings.json_schema

    def _part(self, clip: EncodedClip) -> dict[str, Any]:
        data = base64.b64encode(clip.data).decode("ascii")
        if self.settings.audio_part == "input_audio":
            return {"type": "input_audio", "input_audio": {"data": data, "format": clip.format}}
        return {"type": "audio_url", "audio_url": {"url": f"data:audio/{clip.format};base64,{data}"}}

    def _limit_name(self) -> str:
        """Return the name of the token limit: OpenAI deprecated max_tokens, but other servers may know no other."""
        host = urlsplit(self.url).hostname or ""
        return "max_completion_tokens" if host.endswith("openai.com") else "max_tokens"

    def failure(self, error: Exception) -> CallFailure:
        from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

        # When a stream stalls, the SDK does not wrap the HTTP client's own error.
        stalled = type(error).__name__ == "ReadTimeout"
        if stalled or (
            isinstance(error, APITimeoutError) and "Connect" not in type(error.__cause__).__name__
        ):
            return CallFailure(f"no answer within {self.settings.timeout:g} s")
        if isinstance(error, APIConnectionError):
            return CallFailure(f"no connection: {error.__cause__ or error}".rstrip(": "), everybody=True)
        if isinstance(error, APIStatusError):
            code = str(getattr(error, "code", "") or "")
            refusal = "content_filter" in code or "content_policy" in code
            everybody = error.status_code in _EVERYBODY or code == "insufficient_quota"
            said = _said(error)
            return CallFailure(f"HTTP {error.status_code}: {said}{_too_few(said)}", everybody, refusal)
        if isinstance(error, APIError):
            return CallFailure(f"the server broke off: {error.message or error.body}")
        return CallFailure(f"{type(error).__name__}: {error}")


def _message(turn: TurnParts) -> dict[str, Any]:
    """Return one message of a dialogue; one that is text alone has it as its content, which every server takes."""
    if len(turn.content) == 1 and isinstance(turn.content[0], str):
        return {"role": turn.role, "content": turn.content[0]}
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in turn.content]
    return {"role": turn.role, "content": content}


@asynccontextmanager
async def _closing(openai: Any, key: str, base_url: str, settings: OpenAIAudioSettings) -> AsyncIterator[Any]:
    """Open the SDK's asynchronous client, and close it on exit."""
    http = bounded_client(openai.DefaultAsyncHttpxClient, settings.timeout)
    async with openai.AsyncOpenAI(
        api_key=key,
        base_url=base_url,
        timeout=settings.timeout,
        max_retries=settings.retries,
        http_client=http,
    ) as client:
        yield client


#: A server's words for a token limit below the smallest that it takes, and that number.
_FEWEST = re.compile(
    r"(?:>=|at least|below (?:the )?minimum|minimum(?: value)?)\D{0,40}?(\d+)", re.IGNORECASE
)


def _too_few(said: str) -> str:
    """Return what to do about a server that refuses a token limit as too small; empty for any other message."""
    found = _FEWEST.search(said) if re.search(r"max_\w*tokens", said) else None
    if found is None:
        return ""
    return f"; allow that many tokens: --gen_kwargs max_new_tokens={found[1]}"


def _said(error: Any) -> str:
    """Return the server's error message, without the JSON around it if the JSON has the usual shape."""
    body = error.body
    if isinstance(body, Mapping):
        return str(body.get("message") or body.get("detail") or body)
    return str(body or error.message)
