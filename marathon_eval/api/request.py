"""Defines what is sent to a model, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from marathon_eval.api.audio import Audio
from marathon_eval.files import sha256_of

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


class Turn(NamedTuple):
    """Holds one turn of a dialogue: what the user asked, or what the model (`assistant`) answered."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """Holds what is sent to the model. The cache key hashes the request (audio by content) and the model's fingerprint."""

    prompt: str
    audios: tuple[Audio, ...] = ()
    generation: Generation = field(default_factory=Generation)
    system: str | None = None
    #: JSON Schema that the reply must follow, as text; only for models that take one (`Model.takes_reply_schema`).
    reply_schema: str | None = None
    #: The prompt has CLIP_MARK once for each clip, where the clip stands; only for models that take it (`Model.places_clips`).
    placed: bool = False
    #: The turns before the prompt, which is the user's last turn; only for models that take them (`Model.takes_turns`).
    #: If `placed`, the clips stand at CLIP_MARK in the user's turns, in order; answers that contain CLIP_MARK are text.
    earlier: tuple[Turn, ...] = ()

    def __hash__(self) -> int:
        # a run looks each request up a dozen times, and text remembers its own hash; few requests differ in the rest alone
        return hash((self.prompt, self.audios))

    def parts(self) -> list[str]:
        """Return the prompt's texts before, between and after its placed clips."""
        return self.prompt.split(CLIP_MARK)

    @property
    def text_length(self) -> int:
        """Return the number of characters of the prompt and of the turns before it."""
        return len(self.prompt) + sum(len(turn.text) for turn in self.earlier)

    @property
    def prompt_sha256(self) -> str:
        """Return the hash of system prompt, earlier turns and prompt, as samples record it; clips are not in it."""
        return _prompt_sha256(self.system, self.earlier, self.prompt)

    def shown(self) -> str:
        """Return the prompt for people to read: of a dialogue, every turn after a line that says whose it is."""
        if not self.earlier:
            return self.prompt
        turns = (*self.earlier, Turn("user", self.prompt))
        return "\n".join(f"[{turn.role}]\n{turn.text}" for turn in turns)

    def without_audio(self) -> Request:
        """Return the request without its clips and their places."""
        if not self.placed:
            return replace(self, audios=())
        earlier = tuple(
            Turn(role, _unmarked(text)) if role == "user" else Turn(role, text) for role, text in self.earlier
        )
        return replace(self, prompt=_unmarked(self.prompt), audios=(), placed=False, earlier=earlier)


@lru_cache(maxsize=16)
def _prompt_sha256(system: str | None, earlier: tuple[Turn, ...], prompt: str) -> str:
    """Return the hash of a prompt; many tasks ask all rows, one after the other, with the same words."""
    return sha256_of([system, *(list(turn) for turn in earlier), prompt])


def _unmarked(text: str) -> str:
    return text.replace(CLIP_MARK, "").strip()


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
