"""Answers in two stages: a listener transcribes the audio, and a reader answers from the transcript alone.

This is the transcript-only baseline: what it answers can be answered without hearing voices, music or noise. Both
stages are models with their own cache entries: a recording with four questions is transcribed once, and a change of
the reader transcribes nothing again. `listener_NAME=` and `reader_NAME=` are the arguments of those models.
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
#: `reader=openai` is any server with OpenAI's chat completions; it receives text only.
SHORT_NAMES = {"openai": "openai_audio"}
#: `--device` and `--batch_size` apply to the listener.
LISTENERS_OWN = {"device", "batch_size", "max_batch_tokens"}
#: The number of questions that are passed to the reader together, so that a server can answer them concurrently.
READ_TOGETHER = 8
LISTEN_PROMPT = "Write down everything that is said in this recording, word for word. Write nothing else."


class _Settings(ModelSettings):
    #: The name of the model that transcribes, and of the model that answers.
    listener: str
    reader: str = "embedder"
    #: The listener's prompt; it asks for a transcript. For sounds and music, set one that asks for a description.
    listen_prompt: str = LISTEN_PROMPT
    listen_max_new_tokens: int = Field(2048, ge=1)
    listener_args: dict[str, Any] = Field(default_factory=dict)
    reader_args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _sorted_by_stage(cls, args: dict[str, Any]) -> dict[str, Any]:
        """Turn `listener_pretrained=x` into `listener_args={"pretrained": x}`; leave other names as they are."""
        sorted_args: dict[str, Any] = {}
        for name, value in args.items():
            stage, _, argument = name.partition("_")
            if name in LISTENERS_OWN:
                stage, argument = "listener", name
            if name not in cls.model_fields and stage in ("listener", "reader") and argument:
                sorted_args.setdefault(f"{stage}_args", {**args.get(f"{stage}_args", {})})[argument] = value
            else:
                sorted_args.setdefault(name, value)
        return sorted_args


class Cascade(Model):
    """Passes the listener's transcript to the reader and returns the reader's response.

    - Chat: that of each model; the reader's prompt is the transcript and the question.
    - Audio: limits and token rate of the listener.
    - Presses: none of its own; the listener takes one by `listener_press=`.
    """

    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings

    def __init__(self, settings: _Settings, press: Press | None = None) -> None:
        if press is not None:
            raise MarathonError(
                f"{flags_of(settings).model} cascade takes no press=: set listener_press= to give the listener one"
            )
        super().__init__(settings, press)
        self.listener = stage("listener", settings.listener, settings.listener_args, self.flags)
        self.reader = stage("reader", settings.reader, settings.reader_args, self.flags)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return both models' fingerprints, each without its transport settings, and the listener's prompt."""
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

    def misfit(self, request: Request, seconds: float) -> str | None:
        """Return why the audio does not fit the listener."""
        return self.listener.misfit(self._listening(request), seconds)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        cache = self._shared_cache()
        questions: dict[Request, list[Request]] = {}
        for request in requests:
            if request.audios:
                questions.setdefault(self._listening(request), []).append(request)
            else:
                yield request, Response.failed("nothing to listen to: the request has no audio")
        transcribed: list[tuple[Request, Response]] = []
        for listening, transcript, _ in cache.answer(self.listener, list(questions)):
            reason = unreadable(transcript)
            for request in questions[listening]:
                if reason:
                    yield request, Response.failed(reason, transcript.usage)
                else:
                    transcribed.append((request, transcript))
            if len(transcribed) >= READ_TOGETHER:
                yield from self._read(cache, transcribed)
                transcribed = []
        yield from self._read(cache, transcribed)

    def memo(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Return the cached transcripts of these requests' audio, and the reader's cached responses to them."""
        cache = self._shared_cache()
        questions: dict[Request, list[Request]] = {}
        for request in requests:
            if request.audios:
                questions.setdefault(self._listening(request), []).append(request)
        transcripts = cache.known(self.listener, list(questions))
        readings = [
            reading_of(request, response_from(transcripts[listening].value["response"]))
            for listening in transcripts
            for request in questions[listening]
        ]
        return dict([*transcripts.values(), *cache.known(self.reader, readings).values()])

    def _listening(self, request: Request) -> Request:
        """Build the listener's request, which is the same for all questions on a recording."""
        generation = Generation(max_new_tokens=self.settings.listen_max_new_tokens)
        return Request(self.settings.listen_prompt, request.audios, generation)

    def _read(
        self, cache: AnswerStore, transcribed: Sequence[tuple[Request, Response]]
    ) -> Iterator[tuple[Request, Response]]:
        """Yield the reader's responses; requests with the same transcript and question share one reader request."""
        waiting: dict[Request, list[tuple[Request, Response]]] = {}
        for request, transcript in transcribed:
            waiting.setdefault(reading_of(request, transcript), []).append((request, transcript))
        for reading, answer, _ in cache.answer(self.reader, list(waiting)):
            for request, transcript in waiting[reading]:
                yield request, told(answer, transcript)

    def _shared_cache(self) -> AnswerStore:
        """Give both stages the evaluator's cache, or one in memory if the model is used without the evaluator."""
        if self.cache is None:
            from marathon_eval.cache.answers import ResponseCache

            self.cache = ResponseCache(None)
        self.listener.cache = self.reader.cache = self.cache
        return self.cache

    def close(self) -> None:
        self.listener.close()
        self.reader.close()


def stage(role: str, name: str, args: Mapping[str, Any], flags: ModelFlags = MODEL_FLAGS) -> Model:
    """Build one of the two models with its press. Raises MarathonError, whose message names the stage."""
    from marathon_eval.backends.press_args import split_press_args

    registry = Registry(flags.include_path)
    try:
        model_class = registry.model_class(SHORT_NAMES.get(name, name), flags.model)
        model_args, press = split_press_args(
            args, set(model_class.Settings.model_fields), registry.press_class, flags.args
        )
        return model_class.from_args(model_args, press, flags)
    except MarathonError as error:
        raise MarathonError(f"{role}={name}: {error}") from None


def reading_of(request: Request, words: Response) -> Request:
    """Build the reader's request: the question, with the listener's transcript instead of the audio."""
    return replace(request, prompt=composed(words.text.strip(), request.prompt), audios=())


def unreadable(words: Response) -> str | None:
    """Return why a listener's response must not be passed to the reader, or None.

    A response cut at its token limit is refused, because part of the audio would then be missing without notice.
    """
    if words.status not in ("ok", "unverified"):
        return f"listener: {words.error or words.status}"
    if words.finish_reason == "length":
        return "listener: its words were cut at listen_max_new_tokens"
    return None


def told(answer: Response, words: Response) -> Response:
    """Return the reader's response with the listener's usage; `usage.details` holds transcript and both usages."""
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
    # if it is unverified that the listener heard the whole clip, so is the reader's response
    status = words.status if answer.status == "ok" else answer.status
    return replace(answer, status=status, usage=usage)
