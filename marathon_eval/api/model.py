"""The one generation API: requests in, responses out, whatever stands behind.

A backend is one file in models/ with one subclass of `Model`. It knows nothing of tasks, metrics or the cache.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.secrets import without_keys, without_secrets
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.api.press import Press

Status = Literal["ok", "error", "refused", "unverified"]


@dataclass(frozen=True, slots=True)
class Generation:
    """How to decode. `temperature` 0 is greedy; `seed` is None for greedy decoding."""

    max_new_tokens: int = 16
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """All that can change an answer, and nothing else."""

    prompt: str
    audios: tuple[Audio, ...] = ()
    generation: Generation = field(default_factory=Generation)
    system: str | None = None


#: One for all answers that have none, of which there may be many; a dict, for `asdict` copies no other mapping.
NO_DETAILS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer cost. Seconds and bytes; None where a backend cannot know."""

    heard_seconds: float | None = None
    audio_tokens: int | None = None
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
    """An answer, or why there is none. Only `ok` and `unverified` responses are scored."""

    text: str
    finish_reason: str = "stop"
    status: Status = "ok"
    error: str | None = None
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def failed(cls, reason: str, usage: Usage | None = None) -> Response:
        """An error row: not scored, lowers coverage, asked again by `--retry_errors`."""
        return cls("", finish_reason="error", status="error", error=reason, usage=usage or Usage())


class CachedResponse(NamedTuple):
    """One request with its response, and whether the cache had it."""

    request: Request
    response: Response
    cached: bool


class Entry(NamedTuple):
    """One row of the cache, as stored."""

    key: str
    value: Any


class AnswerStore(Protocol):
    """What a model may use of the response cache: hashes of audio, small values by key, and other models' responses."""

    def facts(self, audios: Iterable[Audio]) -> tuple[dict[Audio, AudioFacts], dict[Audio, str]]:
        """Return hash and seconds of each clip, and for clips that cannot be decoded the reason."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the stored values of those keys that exist."""

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value."""

    def known(self, model: Model, requests: Sequence[Request]) -> dict[Request, Entry]:
        """Return the cache entries of those requests that `model` has answered."""

    def answer(self, model: Model, requests: Sequence[Request]) -> Iterator[CachedResponse]:
        """Yield every request with its response, from the cache or from `model`."""


class ModelFlags(NamedTuple):
    """Names the two flags that choose a model on the command line, so that its errors speak of them.

    The judge is a model too, and has `--judge_model` and `--judge_args`.
    """

    model: str = "--model"
    args: str = "--model_args"


MODEL_FLAGS = ModelFlags()
JUDGE_FLAGS = ModelFlags("--judge_model", "--judge_args")


class ModelSettings(BaseModel):
    """A model's arguments: declared, typed, unknown names refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The flags that the arguments came from; no argument itself, and in no fingerprint.
    _flags: ModelFlags = PrivateAttr(default=MODEL_FLAGS)


def flags_of(settings: ModelSettings) -> ModelFlags:
    """Return the flags that these arguments came from: for an adapter's `__init__`, before `Model.flags` is there."""
    return settings._flags


class Model(ABC):
    """One adapter. Weights load on the first `generate`, never in `__init__`."""

    Settings: ClassVar[type[ModelSettings]] = ModelSettings
    #: Raised when the inputs that this adapter builds change: it is part of every cache key.
    version: ClassVar[int] = 1
    #: Settings that cannot change an answer and so stay out of the fingerprint.
    transport: ClassVar[frozenset[str]] = frozenset(
        {"device", "batch_size", "timeout", "retries", "concurrency"}
    )

    #: Modules beyond the plain installation that are imported on the first cache miss, and the extra that brings each.
    needs: ClassVar[Mapping[str, str]] = {}

    #: Kinds of press that this model can carry: none unless its language model runs here, on audio tokens.
    carries: ClassVar[tuple[type[Press], ...]] = ()

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        if press is not None and not isinstance(press, self.carries):
            raise MarathonError(
                f"{flags_of(settings).args}: {self.name()} can't carry press={press.name()}: it carries "
                + (
                    " and ".join(kind.__name__ for kind in self.carries)
                    or "no press at all, for no language model reads audio tokens here"
                )
            )
        self.settings = settings
        self.press = press
        #: Set by the evaluator: models that ask other models keep those answers here too.
        self.cache: AnswerStore | None = None

    @classmethod
    def from_args(
        cls, args: Mapping[str, Any], press: Press | None = None, flags: ModelFlags = MODEL_FLAGS
    ) -> Model:
        """Build a model from its arguments. Raises MarathonError naming the flag, the argument and what is allowed."""
        try:
            settings = cls.Settings.model_validate(dict(args))
            settings._flags = flags
            return cls(settings, press)
        except ValidationError as error:
            raise MarathonError(argument_errors(cls.name(), error, cls.Settings, flags.args)) from None

    @property
    def flags(self) -> ModelFlags:
        """The flags that chose this model, for its error messages."""
        return flags_of(self.settings)

    @classmethod
    def name(cls) -> str:
        """The file's name, which is the name on the command line."""
        return cls.__module__.rpartition(".")[2]

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that distinguishes this model's answers from another's; JSON, known without weights."""
        settings = self.settings.model_dump(mode="json", exclude=set(self.transport))
        return {
            "model": self.name(),
            "adapter_version": self.version,
            # a key changes no answer, and this is written into caches and results
            **without_secrets(settings),
            **self.identity(),
            "press": self.press.fingerprint if self.press else None,
        }

    def identity(self) -> dict[str, Any]:
        """What stands behind the settings: weights, revision, chat template. Needs no weights in memory."""
        return {}

    def stages(self) -> tuple[Model, ...]:
        """The models that answer for this one, itself first."""
        return (self,)

    def memo(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Entries of its cache, by key, that answering these requests would look up: for a process that lacks the file."""
        return {}

    def check(self) -> None:  # noqa: B027 - most models need nothing from elsewhere
        """Raise MarathonError when what stands behind cannot be had; quick, and before anything slow."""

    @abstractmethod
    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Yield each request with its response as soon as it is finished, in any order.

        One failing request becomes `Response.failed`; it never ends the others.
        """

    def close(self) -> None:  # noqa: B027 - most models have nothing to free
        """Free what `generate` loaded; models that load nothing need not say so."""


#: Who asks a model: `complete`, or what shares the requests out among processes.
Through = Callable[[Model, Sequence[Request]], Iterator[tuple[Request, Response]]]

#: An adapter that raises this often in a row, with no answer between, is broken for all that is left.
FAILURES_IN_A_ROW = 3


def complete(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
    """`model.generate`, held to its promise: every request gets one response, whatever the adapter does.

    An exception is charged to the first request still waiting, and the others are asked again; after three in
    a row without an answer the rest fails with the same reason. MarathonError (weights missing) goes through.
    """
    waiting = dict.fromkeys(requests)
    failures = 0
    while waiting:
        reason = "the model gave no answer to this request"
        try:
            for request, response in model.generate(list(waiting)):
                if request in waiting:
                    del waiting[request]
                    failures = 0
                    yield request, response
        except MarathonError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad sample must not cost the others their answers
            reason = without_keys(f"{type(error).__name__}: {error}")
        if waiting:
            failures += 1
            charged = list(waiting) if failures >= FAILURES_IN_A_ROW else [next(iter(waiting))]
            for request in charged:
                del waiting[request]
                yield request, Response.failed(reason)


def argument_errors(
    name: str, error: ValidationError, settings: type[BaseModel], flag: str = "--model_args"
) -> str:
    """Describe each wrong argument in a line: `--model_args: qwen_omni takes no 'dtypo'. Did you mean dtype? …`."""
    known = list(settings.model_fields)
    lines = []
    for item in error.errors():
        argument = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(
                f"{flag}: {name} takes no '{argument}'.{did_you_mean(argument, known)} It takes: {listed_names(known)}"
            )
        else:
            lines.append(
                f"{flag}: {name}: {argument or 'arguments'}: {item['msg']}, got {without_secrets({argument: item['input']})[argument]!r}"
            )
    return "\n".join(lines)


def listed_names(names: Iterable[str]) -> str:
    return ", ".join(names) or "no arguments"
