"""Reads chat completions of OpenAI-compatible servers, streamed or whole, in every shape that such servers reply with.

Shapes differ in three places. The content is a text, a list of parts, or null. Thinking stands in `reasoning` (vLLM,
OpenRouter), in `reasoning_content` (SGLang, DeepSeek, older vLLM), in `reasoning_details` or in a part of the content. A
server that can't stream replies to a streaming request with one JSON object. Source:
https://platform.openai.com/docs/api-reference/chat/object, https://docs.vllm.ai/en/latest/features/reasoning_outputs.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marathon_eval.backends.http.attempts import AttemptClock
from marathon_eval.backends.http.reply import NoAnswer, ServerReply

#: The fields in which servers put a model's thinking.
_THINKING = ("reasoning", "reasoning_content", "reasoning_details", "thinking")
#: The types of content parts that hold the answer, and those that hold thinking.
_ANSWERS = ("text", "output_text")
_THOUGHTS = ("thinking", "reasoning", "redacted_thinking", "reasoning_text", "summary_text")
#: Reasons for an end that is none of the model's: the server gave up (`abort` of vLLM and SGLang, `error` of routers).
_GIVEN_UP = ("abort", "aborted", "error", "cancelled", "canceled", "failed", "timeout")
_TOOLS = ("tool_calls", "function_call")
#: Other names for `length`: that of Mistral where the model's own limit is reached, and those of gateways.
_CUT = ("model_length", "max_tokens", "max_output_tokens")


@dataclass
class Completion:
    """Collects a completion from its chunks, or from one whole reply; `clock` measures its times."""

    clock: AttemptClock
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoned: bool = False
    #: Whether there was a message, and whether it was speech.
    messages: bool = False
    spoken: bool = False
    finish: str | None = None
    #: Which of several answers is taken: the first that is heard of.
    index: Any = None
    first: float | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None

    def take(self, reply: Mapping[str, Any], streamed: bool = True) -> None:
        """Add a chunk or a whole reply. Raises NoAnswer for an error in its body and for content of another shape."""
        if reply.get("error"):
            raise NoAnswer(f"the server replied with an error: {_said(reply['error'])}")
        self.usage = reply.get("usage") or self.usage
        self.model = reply.get("model") or self.model
        # of several answers (n in extra_body) only the first was asked for; streamed, each has chunks of its own
        for choice in (reply.get("choices") or ())[:1]:
            self.index = choice.get("index") if self.index is None else self.index
            if choice.get("index") not in (None, self.index):
                continue
            message = choice.get("delta" if streamed else "message")
            self.messages = self.messages or message is not None
            message = message or {}
            before = len("".join(self.text)), self.reasoned
            self._read(message)
            if streamed and self.first is None and (len("".join(self.text)), self.reasoned) != before:
                self.first = self.clock.seconds
            self.finish = choice.get("finish_reason") or self.finish

    def _read(self, message: Mapping[str, Any]) -> None:
        self.reasoned = self.reasoned or any(message.get(name) for name in _THINKING)
        self.spoken = self.spoken or bool(message.get("audio"))
        self.refusal.append(message.get("refusal") or "")
        content = message.get("content")
        if content is None or isinstance(content, str):
            self.text.append(content or "")
            return
        if not isinstance(content, list):
            raise NoAnswer(f"the reply's content is neither text nor a list of parts: {str(content)[:80]}")
        for part in content:
            self._read_part(part)

    def _read_part(self, part: Any) -> None:
        if isinstance(part, str):
            self.text.append(part)
            return
        kind = part.get("type", "text") if isinstance(part, Mapping) else None
        if kind in _ANSWERS and isinstance(part.get("text"), str):
            self.text.append(part["text"])
        elif kind == "refusal":
            self.refusal.append(str(part.get("refusal") or ""))
        elif kind in _THOUGHTS:
            self.reasoned = True
        else:
            raise NoAnswer(f"the reply holds a content part that is no text: {str(part)[:80]}")

    def reply(self) -> ServerReply:
        """Return the complete reply. Raises NoAnswer when the stream ended before the answer."""
        text, refusal = "".join(self.text), "".join(self.refusal)
        if self.finish is None:
            raise NoAnswer(
                f"the stream broke off after {text[:80]!r}" if text else "the stream held no answer"
            )
        if self.finish.lower() in _GIVEN_UP:
            raise NoAnswer(f"the server gave up with the reason '{self.finish}' after {text[:80]!r}")
        if self.finish in _TOOLS and not text.strip() and not refusal:
            raise NoAnswer(f"the model called a tool in place of an answer (finish_reason {self.finish})")
        if not self.messages and self.finish != "content_filter":
            raise NoAnswer("the server's reply holds no message: it is no chat completion")
        if self.spoken and not text.strip() and not refusal:
            raise NoAnswer(
                'the model answered in speech; ask it for text: extra_body={"modalities": ["text"]} in its arguments'
            )
        prompt = self.usage.get("prompt_tokens_details") or {}
        output = self.usage.get("completion_tokens_details") or {}
        spent = self.usage.get("completion_tokens")
        thinking = output.get("reasoning_tokens") or (spent if self.reasoned and not text.strip() else None)
        finish = "length" if self.finish.lower() in _CUT else self.finish
        if finish == "content_filter":
            refusal = refusal or "the content filter stopped the answer"
        return ServerReply(
            text=text,
            finish_reason=finish,
            refusal=refusal or None,
            input_tokens=self.usage.get("prompt_tokens"),
            audio_tokens=prompt.get("audio_tokens"),
            output_tokens=spent,
            thinking_tokens=thinking,
            first_token_s=self.first,
            total_s=self.clock.seconds,
            details={"server_model": self.model, "retries": self.clock.retries},
        )


def read_whole(reply: Mapping[str, Any], clock: AttemptClock) -> ServerReply:
    """Read a completion that was not streamed. Raises NoAnswer when it holds no choices."""
    completion = Completion(clock)
    completion.take(reply, streamed=False)
    if not reply.get("choices"):
        raise NoAnswer("the server's reply holds no choices")
    # a whole reply is complete even where the server says no reason for its end
    completion.finish = completion.finish or "stop"
    return completion.reply()


async def read_stream(stream: Any, clock: AttemptClock) -> ServerReply:
    """Read the SDK's stream of chunks, or the one JSON object of a server that does not stream.

    Raises NoAnswer for an incomplete reply.
    """
    kind = stream.response.headers.get("content-type", "")
    if "json" in kind and "event-stream" not in kind:
        reply = json.loads(await stream.response.aread())
        if not isinstance(reply, Mapping):
            raise NoAnswer(f"the server's reply is no completion: {str(reply)[:80]}")
        return read_whole(reply, clock)
    completion = Completion(clock)
    async for chunk in stream:
        completion.take(chunk.to_dict(mode="python", warnings=False))
    return completion.reply()


def _said(error: Any) -> str:
    return str(error.get("message") or error) if isinstance(error, Mapping) else str(error)
