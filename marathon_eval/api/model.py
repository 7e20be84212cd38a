"""Defines the interface of models: requests in, responses out, for local weights and servers alike.

A model is one file in models/ with one subclass of `Model`. It imports nothing of tasks, metrics or the cache.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from marathon_eval.api.argument_errors import argument_errors
from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.request import (
    CLIP_MARK,
    NO_DETAILS,
    Generation,
    Request,
    Response,
    Status,
    Turn,
    Usage,
)
from marathon_eval.api.secrets import (
    distinguishable,
    secret_values,
)
from marathon_eval.api.source import source_hashes
from marathon_eval.api.typed_text import as_declared
from marathon_eval.errors import MarathonError
from marathon_eval.files import containing_itself

if TYPE_CHECKING:
    from marathon_eval.api.press import Press

__all__ = [
    "CLIP_MARK",
    "JUDGE_FLAGS",
    "MODEL_FLAGS",
    "NO_DETAILS",
    "AnswerStore",
    "CachedResponse",
    "Entry",
    "Generation",
    "Model",
    "ModelFlags",
    "ModelSettings",
    "Request",
    "Response",
    "Status",
    "Through",
    "Turn",
    "Usage",
    "flags_of",
]


class CachedResponse(NamedTuple):
    """Pairs a request with its response, and says whether the response came from the cache."""

    request: Request
    response: Response
    cached: bool


class Entry(NamedTuple):
    """Holds one entry of the cache, as stored."""

    key: str
    value: Any


class AnswerStore(Protocol):
    """Gives a model access to the cache: hashes of audio, small values by key, and other models' responses."""

    def facts(self, audios: Iterable[Audio]) -> tuple[dict[Audio, AudioFacts], dict[Audio, str]]:
        """Return hash and seconds of each clip, and the reason for each clip that can't be decoded."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the stored values of those keys that exist."""

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value."""

    def known(self, model: Model, requests: Sequence[Request]) -> dict[Request, Entry]:
        """Return the cache entries of those requests for which `model` has a stored response."""

    def answer(self, model: Model, requests: Sequence[Request]) -> Iterator[CachedResponse]:
        """Yield every request with its response, from the cache or from `model`."""


class ModelFlags(NamedTuple):
    """Names the two flags that chose a model on the command line, for its error messages.

    The judge is a model too; its flags are `--judge_model` and `--judge_args`.
    """

    model: str = "--model"
    args: str = "--model_args"
    #: The folders of --include_path, in which a model that builds other models looks for their names.
    include_path: tuple[str, ...] = ()


MODEL_FLAGS = ModelFlags()
JUDGE_FLAGS = ModelFlags("--judge_model", "--judge_args")


class ModelSettings(BaseModel):
    """Declares a model's arguments and their types; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The flags that the arguments came from; not an argument itself, and not part of the fingerprint.
    _flags: ModelFlags = PrivateAttr(default=MODEL_FLAGS)


def flags_of(settings: ModelSettings) -> ModelFlags:
    """Return the flags that these arguments came from; for an `__init__` that can't use `Model.flags` yet."""
    return settings._flags


class Model(ABC):
    """Answers requests with one kind of model. Weights load on the first `generate`, never in `__init__`."""

    Settings: ClassVar[type[ModelSettings]] = ModelSettings
    #: Increase it when the inputs that this adapter builds change: it is part of every cache key.
    version: ClassVar[int] = 1
    #: Like `version`, but only for responses with a press; the key uses the higher of the two.
    press_version: ClassVar[int] = 1
    #: Settings that the fingerprint does not take from here: they change a response at most by rounding, or `identity()`
    #: adds them itself where they are given (in subclasses kv_bits, peft, base_url, thinking_tokens).
    transport: ClassVar[frozenset[str]] = frozenset(
        {"device", "batch_size", "timeout", "retries", "concurrency"}
    )

    #: Modules imported on the first cache miss that the plain installation lacks, with the extra that installs each.
    needs: ClassVar[Mapping[str, str]] = {}

    #: Whether clips can stand inside the text of a prompt (`Request.placed`), or the prompt is not read at all.
    places_clips: ClassVar[bool] = False

    #: Whether requests may be turns of a dialogue (`Request.earlier`).
    takes_turns: ClassVar[bool] = False

    #: The name that the grades of this judge carry in place of its model's; a panel sets it.
    given_name: str | None = None

    #: Press classes that this model supports; none unless its language model runs in this process on audio tokens.
    carries: ClassVar[tuple[type[Press], ...]] = ()

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        unfit = None if press is None else self.unfit_press(type(press))
        if press is not None and unfit is not None:
            raise MarathonError(
                f"{flags_of(settings).args}: {self.name()} does not support press={press.name()}: {unfit}"
            )
        self.settings = settings
        self.press = press
        #: Set by the evaluator, for models that store hashes or send requests to other models.
        self.cache: AnswerStore | None = None

    @classmethod
    def from_args(
        cls, args: Mapping[str, Any], press: Press | None = None, flags: ModelFlags = MODEL_FLAGS
    ) -> Model:
        """Build a model from its arguments.

        Raises MarathonError naming the flag, the argument and what is allowed.
        """
        if (place := containing_itself(args)) is not None:
            raise MarathonError(
                f"{flags.args}: {place} contains itself; arguments must be values that JSON can hold"
            )
        try:
            declared = {name: each.annotation for name, each in cls.Settings.model_fields.items()}
            settings = cls.Settings.model_validate(as_declared(args, declared))
            settings._flags = flags
            return cls(settings, press)
        except ValidationError as error:
            raise MarathonError(argument_errors(cls.name(), error, cls.Settings, flags.args)) from None

    @classmethod
    def unfit_press(cls, press: type[Press]) -> str | None:
        """Return why this model supports no press of the class, whatever its settings; None if it supports some.

        A run refuses by it, and `ls models NAME` lists by it.
        """
        if issubclass(press, cls.carries):
            return None
        kinds = " and ".join(kind.__name__ for kind in cls.carries)
        return f"it supports {kinds}" if kinds else "it has no local language model that reads audio tokens"

    @property
    def flags(self) -> ModelFlags:
        """The flags that chose this model, for its error messages."""
        return flags_of(self.settings)

    @classmethod
    def name(cls) -> str:
        """Return the name on the command line, which is the file's name."""
        return cls.__module__.rpartition(".")[2]

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap an overridden `fingerprint`, so that secrets are hashed and source hashes added there too."""
        super().__init_subclass__(**options)
        own = cls.__dict__.get("fingerprint")
        if own is not None:
            # mypy takes the assignment of a property to a class for that of a method
            cls.fingerprint = property(lambda self: self._completed(own.__get__(self, cls)))  # type: ignore[method-assign, assignment]

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that distinguishes this model's responses from another's, as JSON; loads no weights.

        Secrets are in it as slow hashes (api/secrets.py), for it is written into caches and results. A model or a press
        that is not shipped adds the hashes of its source files as `source` and `press_source`.
        """
        settings = self.settings.model_dump(mode="json", exclude=set(self.transport))
        # pydantic writes its SecretStr as asterisks, which are the same for all secrets
        secret = {
            name: value.get_secret_value()
            for name, value in self.settings
            if name in settings and hasattr(value, "get_secret_value")
        }
        return self._completed(
            {
                "model": self.name(),
                "adapter_version": max(self.version, self.press_version) if self.press else self.version,
                **settings,
                **distinguishable({name: {"secret": value} for name, value in secret.items()}),
                **self.identity(),
                "press": self.press.fingerprint if self.press else None,
            }
        )

    def _completed(self, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
        sources = {
            "source": source_hashes(type(self)),
            "press_source": {
                file: sha256
                for part in (self.press.parts if self.press else ())
                for file, sha256 in source_hashes(type(part)).items()
            },
        }
        added = {name: dict(hashes) for name, hashes in sources.items() if hashes}
        return {**distinguishable(dict(fingerprint), self.secrets()), **added}

    def secrets(self) -> tuple[str, ...]:
        """Return the secret texts among the settings, to remove them from what a model or a server says."""
        return secret_values(dict(self.settings))

    def identity(self) -> dict[str, Any]:
        """Return what the settings refer to: weights, revision, chat template. Loads no weights."""
        return {}

    @property
    def takes_reply_schema(self) -> bool:
        """Whether the model can be held to `Request.reply_schema`."""
        return False

    @property
    def thinking_room(self) -> int:
        """The most tokens of thinking that a response may have beside its `max_new_tokens`."""
        return 0

    @property
    def members(self) -> tuple[Model, ...]:
        """The models that judge when this one is the judge: itself, or those of a panel."""
        return (self,)

    def stages(self) -> tuple[Model, ...]:
        """Return this model and the models that it sends requests to, itself first."""
        return (self,)

    def memo(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Return the cache entries, by key, that this model will look up for these requests.

        They are sent to processes that can't read the cache file.
        """
        return {}

    def misfit(self, request: Request, seconds: float) -> str | None:
        """Return why these seconds of audio do not fit the model; None if they may. Needs no weights."""
        return None

    def check(self) -> None:  # noqa: B027 - most models need nothing from elsewhere
        """Raise MarathonError when weights, keys or modules are missing; quick, and before anything slow."""

    @abstractmethod
    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Yield each request with its response as soon as it is finished, in any order.

        A failing request becomes `Response.failed`; the other requests are still answered.
        """

    def close(self) -> None:  # noqa: B027 - most models have nothing to free
        """Free what `generate` loaded; models that load nothing need not override this."""


#: Sends requests to a model: `complete`, or a function that distributes them over processes.
Through = Callable[[Model, Sequence[Request]], Iterator[tuple[Request, Response]]]
