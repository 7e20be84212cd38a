"""First listen, then read: any model writes down what it hears, and a text reader answers from that alone.

The transcript-only baseline: what it answers needed no voice, no music and no noise. Both stages are models of their
own and cached as such: four questions on one recording are transcribed once, and another reader transcribes nothing
again. `listener_NAME=` and `reader_NAME=` are those models' own arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from marathon_eval.api.model import (
    MODEL_FLAGS,
    AnswerStore,
    Generation,
    Model,
    ModelFlags,
    ModelSettings,
    Request,
    Response,
    flags_of,
)
from marathon_eval.api.registry import Registry
from marathon_eval.backends.transcript_prompt import composed
from marathon_eval.cache.entry import response_from
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.api.press import Press
#: `reader=openai` is any server with OpenAI's chat completions; sent text only, it need not hear.
SHORT_NAMES = {"openai": "openai_audio"}
#: `--device` and `--batch_size` are meant for the one that hears.
LISTENERS_OWN = {"device", "batch_size", "max_batch_tokens"}
#: So many questions are gathered before they are read: a server is asked several at once.
READ_TOGETHER = 8
LISTEN_PROMPT = "Write down everything that is said in this recording, word for word. Write nothing else."


class _Settings(ModelSettings):
    listener: str
    reader: str = "embedder"
    #: What the listener is asked for: a transcript, or for sounds and music a description.
    listen_prompt: str = LISTEN_PROMPT
    listen_max_new_tokens: int = Field(2048, ge=1)
    listener_args: dict[str, Any] = Field(default_factory=dict)
    reader_args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _sorted_by_stage(cls, given: dict[str, Any]) -> dict[str, Any]:
        """`listener_pretrained=x` to `listener_args={"pretrained": x}`; what is neither stage's is refused later."""
        taken: dict[str, Any] = {}
        for name, value in given.items():
            stage, _, argument = name.partition("_")
            if name in LISTENERS_OWN:
                stage, argument = "listener", name
            if name not in cls.model_fields and stage in ("listener", "reader") and argument:
                taken.setdefault(f"{stage}_args", {**given.get(f"{stage}_args", {})})[argument] = value
            else:
                taken.setdefault(name, value)
        return taken


class Cascade(Model):
    """A listener's words, read by a reader."""

    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings

    def __init__(self, settings: _Settings, press: Press | None = None) -> None:
        if press is not None:
            raise MarathonError(
                f"{flags_of(settings).model} cascade carries no press itself: the listener does, by listener_press="
            )
        super().__init__(settings, press)
        self.listener = stage("listener", settings.listener, settings.listener_args, self.flags)
        self.reader = stage("reader", settings.reader, settings.reader_args, self.flags)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Both models' fingerprints, in which each leaves out its own transport, and what the listener is asked."""
        self._shared_cache()
        return {
            "model": self.name(),
            "adapter_version": self.version,
            "listener": self.listener.fingerprint,
            "reader": self.reader.fingerprint,
            "listen_prompt": self.settings.listen_prompt,
            "listen_max_new_tokens": self.settings.listen_max_new_tokens,
            "press": None,
        }

    def stages(self) -> tuple[Model, ...]:
        self._shared_cache()
        return (self, *self.listener.stages(), *self.reader.stages())

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        cache = self._shared_cache()
        waiting: dict[Request, list[Request]] = {}
        for request in requests:
            if request.audios:
                waiting.setdefault(self._listening(request), []).append(request)
            else:
                yield request, Response.failed("nothing to listen to: the request has no audio")
        heard: list[tuple[Request, Response]] = []
        for listening, words, _ in cache.answer(self.listener, list(waiting)):
            reason = unreadable(words)
            for request in waiting[listening]:
                if reason:
                    yield request, Response.failed(reason, words.usage)
                else:
                    heard.append((request, words))
            if len(heard) >= READ_TOGETHER:
                yield from self._read(cache, heard)
                heard = []
        yield from self._read(cache, heard)

    def memo(self, requests: Sequence[Request]) -> dict[str, Any]:
        """What was heard on these recordings already, and what was read of it."""
        cache = self._shared_cache()
        waiting: dict[Request, list[Request]] = {}
        for request in requests:
            if request.audios:
                waiting.setdefault(self._listening(request), []).append(request)
        heard = cache.known(self.listener, list(waiting))
        readings = [
            reading_of(request, response_from(heard[listening].value["response"]))
            for listening in heard
            for request in waiting[listening]
        ]
        return dict([*heard.values(), *cache.known(self.reader, readings).values()])

    def _listening(self, request: Request) -> Request:
        """The same for every question on one recording, so that it is heard once."""
        wanted = Generation(max_new_tokens=self.settings.listen_max_new_tokens)
        return Request(self.settings.listen_prompt, request.audios, wanted)

    def _read(
        self, cache: AnswerStore, heard: Sequence[tuple[Request, Response]]
    ) -> Iterator[tuple[Request, Response]]:
        """The reader's answers; two requests that differ in nothing but their sound may be one reading."""
        waiting: dict[Request, list[tuple[Request, Response]]] = {}
        for request, words in heard:
            waiting.setdefault(reading_of(request, words), []).append((request, words))
        for reading, answer, _ in cache.answer(self.reader, list(waiting)):
            for request, words in waiting[reading]:
                yield request, told(answer, words)

    def _shared_cache(self) -> AnswerStore:
        """The evaluator's cache for both stages, or one in memory where the model is used by itself."""
        if self.cache is None:
            from marathon_eval.cache.answers import ResponseCache

            self.cache = ResponseCache(None)
        self.listener.cache = self.reader.cache = self.cache
        return self.cache

    def close(self) -> None:
        self.listener.close()
        self.reader.close()


def stage(role: str, name: str, args: Mapping[str, Any], flags: ModelFlags = MODEL_FLAGS) -> Model:
    """One of the two models, with its press. Raises MarathonError naming the stage."""
    from marathon_eval.backends.press_args import split_press_args

    registry = Registry()
    try:
        model_class = registry.model_class(SHORT_NAMES.get(name, name), flags.model)
        own, press = split_press_args(
            args, set(model_class.Settings.model_fields), registry.press_class, flags.args
        )
        return model_class.from_args(own, press, flags)
    except MarathonError as error:
        raise MarathonError(f"{role}={name}: {error}") from None


def reading_of(request: Request, words: Response) -> Request:
    """What the reader is asked: the question, with the listener's words in the sound's place."""
    return replace(request, prompt=composed(words.text.strip(), request.prompt), audios=())


def unreadable(words: Response) -> str | None:
    """Why a listener's answer must not be read on, or None: a cut transcript would be hearing cut short."""
    if words.status not in ("ok", "unverified"):
        return f"listener: {words.error or words.status}"
    if words.finish_reason == "length":
        return "listener: its words were cut at listen_max_new_tokens"
    return None


def told(answer: Response, words: Response) -> Response:
    """The reader's answer with what the listener heard; what was read stays in the details."""
    usage = replace(
        words.usage,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        details={
            "transcript": words.text,
            "listener": dict(words.usage.details),
            "reader": {
                name: value for name, value in asdict(answer.usage).items() if value not in (None, {})
            },
        },
    )
    # an answer is no surer than the hearing that it rests on
    status = words.status if answer.status == "ok" else answer.status
    return replace(answer, status=status, usage=usage)
