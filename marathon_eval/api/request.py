"""Defines what is sent to a model, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from marathon_eval.api.audio import Audio

Status = Literal["ok", "error", "refused", "unverified"]


@dataclass(frozen=True, slots=True)
class Generation:
    """Sets how a model decodes. `temperature` 0 is greedy; `seed` is None for greedy decoding."""

    max_new_tokens: int = 16
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


#: Where a clip stands in the prompt of a request whose clips are `placed`.
CLIP_MARK = "<audio>"


@dataclass(frozen=True, slots=True)
class Request:
    """Holds what is sent to the model. The cache key is made of it, with audio as content hash, and of the model's fingerprint."""

    prompt: str
    audios: tuple[Audio, ...] = ()
    generation: Generation = field(default_factory=Generation)
    system: str | None = None
    #: JSON Schema that the reply must follow, as text; only for models that take one (`Model.takes_reply_schema`).
    reply_schema: str | None = None
    #: The prompt has CLIP_MARK once for each clip, where the clip stands; only for models that take it (`Model.places_clips`).
    placed: bool = False

    def parts(self) -> list[str]:
        """Return the prompt's texts before, between and after its placed clips."""
        return self.prompt.split(CLIP_MARK)

    def without_audio(self) -> Request:
        """Return the request without its clips and their places."""
        text = self.prompt.replace(CLIP_MARK, "").strip() if self.placed else self.prompt
        return replace(self, prompt=text, audios=(), placed=False)


#: One empty dict shared by all responses without details, to save memory; `asdict` can't copy other mappings.
NO_DETAILS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts what one response cost, in tokens, seconds and bytes; None where the model can't know."""

    heard_seconds: float | None = None
    audio_tokens: int | None = None
    #: Audio tokens after the last cut of a pruning press; under eviction the mean over layers of audio keys kept.
    kept_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    encode_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    peak_bytes: int | None = None
    kv_bytes: int | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: NO_DETAILS)


@dataclass(frozen=True, slots=True)
class Response:
    """Holds what a model said, or why it said nothing. Only `ok` and `unverified` responses are scored."""

    text: str
    finish_reason: str = "stop"
    status: Status = "ok"
    error: str | None = None
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def failed(cls, reason: str, usage: Usage | None = None) -> Response:
        """Build a failed response: not scored, lowers coverage, and requested again by `--retry_errors`."""
        return cls("", finish_reason="error", status="error", error=reason, usage=usage or Usage())
