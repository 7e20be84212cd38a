"""Provides ChatModel, the base class of local chat models, which writes audio tokens into the chat template.

Inputs are built from tokenizer and feature extractor, not by the official processors, because several of those cut
long clips silently or need torchvision for images. Tests compare ids and features with the official ones. An adapter
turns clips into features (`hear`). An adapter whose model hears only 30 s at a time sets `segment_seconds`; its clips
are split, and every response's `usage.details` records that. This file imports no torch.
"""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from marathon_eval.api.model import ModelSettings, Request
from marathon_eval.api.press import Decoder, EvictionPress, Press, PruningPress
from marathon_eval.api.turns import turns_with_clips
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.cut_at_input import refuse_later_cuts, unfit_at_input
from marathon_eval.backends.hf.inputs import RATE, HFSettings, Inputs
from marathon_eval.backends.hf.template_date import with_fixed_date
from marathon_eval.backends.hf.token_times import at_rate, evenly, joined, only_first
from marathon_eval.errors import MarathonError, RowError, install_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.backends.hf.engine.loaded import Loaded

    Wave = NDArray[np.float32]

#: The last piece of a split clip is padded with silence to this length, so that it makes at least one token.
SHORTEST_SECONDS = 0.1


class ChatSettings(HFSettings):
    """Adds arguments of chat models to those of every local model: `system_prompt=` is empty for no system turn."""

    system_prompt: str = ""
    audio_first: bool = True
    #: Round cached keys and values to this many bits (docs/presses.md, "A quantised cache").
    kv_bits: Literal[2, 4, 8] | None = None


@dataclass(frozen=True)
class ClipFeatures:
    """Holds the features of a batch's clips, and the audio tokens and seconds that each clip's features cover."""

    tensors: dict[str, Tensor]
    tokens: list[int]
    seconds: list[float]
    sounding: list[int] | None = None
    """Per clip, the number of leading tokens that represent sound; None: computed from the clip's length."""


class ChatModel(HFAudio):
    """Answers chats in which placeholder tokens stand for audio.

    A subclass sets the attributes and implements `hear`.
    """

    Settings: ClassVar[type[ModelSettings]] = ChatSettings
    #: `kv_bits` is added by `identity()` when set.
    transport: ClassVar[frozenset[str]] = HFAudio.transport | {"kv_bits"}
    carries: ClassVar[tuple[type[Press], ...]] = (PruningPress, EvictionPress)
    #: Longer clips are split into pieces of this many seconds, each with its own placeholder; None: never split.
    segment_seconds: float | None = None
    #: Whether the chat template accepts turns made of parts; if not, the turn is text with placeholders in it.
    parts: bool = True
    #: False when padding to the batch's longest clip would change the responses to shorter clips.
    batches: bool = True
    places_clips: ClassVar[bool] = True
    #: The encoder pads each clip to a multiple of this many seconds, and the padding produces tokens; None: padding
    #: produces no tokens.
    padded_to: float | None = None
    takes_turns: ClassVar[bool] = True
    #: True for windowed layers, shared caches and states, where a press can only drop tokens before the first layer.
    cut_at_input: ClassVar[bool] = False
    #: What its layers do where `cut_at_input` is True, for messages.
    windows: ClassVar[str] = "attends in windows and shares caches between layers"
    #: The largest number of clips in one question; None: no limit.
    clips_per_question: ClassVar[int | None] = None

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        if self.cut_at_input and press is not None:
            refuse_later_cuts(self.name(), press, self.flags.args, self.windows)
        if self._kv_bits is not None:
            self._refuse_rounding(self._kv_bits)
        #: The pieces of each clip of the batch that is prepared, for requests that place their clips.
        self._pieces: dict[Request, list[int]] = {}

    @classmethod
    def unfit_press(cls, press: type[Press]) -> str | None:
        unfit = super().unfit_press(press)
        return unfit_at_input(press, cls.windows) if unfit is None and cls.cut_at_input else unfit

    def check(self) -> None:
        refuse_missing_packages(self)
        super().check()

    def identity(self) -> dict[str, Any]:
        bits = self._kv_bits
        return super().identity() | ({} if bits is None else {"kv_bits": bits})

    @property
    def _kv_bits(self) -> int | None:
        return cast("ChatSettings", self.settings).kv_bits

    def _refuse_rounding(self, bits: int) -> None:
        """Raise MarathonError where the cache can't be rounded, or would be read only after the answer's first token."""
        why = ""
        if self.cut_at_input:
            why = f"{self.name()} {self.windows}"
        elif isinstance(self.press, PruningPress):
            why = (
                f"press={self.press.name()} leaves a cache that is read after the first token only; "
                f"use an eviction press, or a pair such as {self.press.name()}+knorm"
            )
        elif isinstance(self.press, EvictionPress) and self.press.evict == "decode":
            why = "evict=decode moves keys between groups at every step; use evict=context or evict=prompt"
        if why:
            raise MarathonError(f"{self.flags.args}: kv_bits={bits}: {why}")

    def requests_at_once(self) -> int:
        """Return the largest number of requests in a batch: 1 for a rounded cache, whose groups would hold padding."""
        return super().requests_at_once() if self.batches and self._kv_bits is None else 1

    @abstractmethod
    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        """Compute the features of one or more clips (mono float32 at 16 kHz), on the CPU."""

    def prepare(self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[Wave]]) -> Inputs:
        """Build left-padded `input_ids` and `attention_mask` [B, T], and the features of all clips of the batch."""
        pieces = [[piece for wave in sample for piece in self.split(wave)] for sample in waves]
        self._pieces = {
            request: [len(list(self.split(wave))) for wave in sample]
            for request, sample in zip(requests, waves, strict=True)
            if request.placed
        }
        clips = [piece for sample in pieces for piece in sample]
        for sample in waves:
            if self.clips_per_question is not None and len(sample) > self.clips_per_question:
                raise RowError(
                    f"{len(sample)} clips in one question: {self.name()} hears {self.clips_per_question}"
                )
        heard = self.hear(loaded, clips) if clips else ClipFeatures({}, [], [])
        counts, seconds, times = iter(heard.tokens), iter(heard.seconds), self._times(loaded, clips, heard)
        tokens = [[next(counts) for _ in sample] for sample in pieces]
        ids = self.ids(loaded, requests, pieces, tokens)
        return Inputs(
            tensors={**ids, **heard.tensors},
            heard_seconds=[sum(next(seconds) for _ in sample) for sample in pieces],
            audio_tokens=[sum(sample) for sample in tokens],
            details={} if self.segment_seconds is None else {"segment_seconds": self.segment_seconds},
            token_times=[self._joined_times(sample, times) for sample in waves],
        )

    def token_times(self, loaded: Loaded, tokens: int, seconds: float) -> NDArray[np.float64]:
        """Return the seconds [tokens, 2], start and end, that each audio token of one clip or piece stands for.

        Start and end of a silent token are equal. Here tokens follow each other at `token_rate`; an adapter whose
        encoder divides time in another way overrides this.
        """
        rate = self.token_rate
        return evenly(tokens, seconds) if rate is None else at_rate(tokens, rate, seconds)

    def _times(
        self, loaded: Loaded, clips: Sequence[Wave], heard: ClipFeatures
    ) -> Iterator[NDArray[np.float64]]:
        for number, (clip, count) in enumerate(zip(clips, heard.tokens, strict=True)):
            times = self.token_times(loaded, count, len(clip) / RATE)
            yield times if heard.sounding is None else only_first(times, heard.sounding[number])

    def _joined_times(
        self, waves: Sequence[Wave], times: Iterator[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Take the times of a sample's pieces from `times`, and return them in seconds of the joined clips."""
        lengths = [[len(piece) / RATE for piece in self.split(wave)] for wave in waves]
        pieces = [[next(times) for _ in wave] for wave in lengths]
        return joined(pieces, lengths, [len(wave) / RATE for wave in waves])

    def ids(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        pieces: Sequence[Sequence[Wave]],
        tokens: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        """Build left-padded `input_ids` and `attention_mask` [B, T] of chats; `tokens` counts those of each piece."""
        placeholder = self.placeholder(loaded)
        texts = [
            expanded_placeholders(
                self.chat(loaded, request, len(counts)),
                placeholder,
                [self.spelled(loaded, count) for count in counts],
            )
            for request, counts in zip(requests, tokens, strict=True)
        ]
        # the template writes the special tokens; a tokenizer that adds its own would write <bos> twice
        encoded = loaded.tokenizer(
            texts, padding=True, padding_side="left", return_tensors="pt", add_special_tokens=False
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def split(self, wave: Wave) -> Iterator[Wave]:
        """Yield the clip, or its pieces in order if the model hears only `segment_seconds` at a time."""
        if self.segment_seconds is None or not len(wave):
            yield wave
            return
        import numpy as np

        size, shortest = int(self.segment_seconds * RATE), int(SHORTEST_SECONDS * RATE)
        for start in range(0, len(wave), size):
            piece = wave[start : start + size]
            yield np.pad(piece, (0, shortest - len(piece))) if start and len(piece) < shortest else piece

    def chat(self, loaded: Loaded, request: Request, clips: int) -> str:
        """Fill the checkpoint's chat template with the question and one placeholder per clip."""
        template = self.chat_template(loaded)
        if template is None:
            raise MarathonError(f"{self.flags.args}: pretrained={self.args.pretrained}: has no chat template")
        turns = self.turns(request, [{"type": "audio", "audio": ""} for _ in range(clips)])
        chat: str = loaded.tokenizer.apply_chat_template(
            turns if self.parts else [_in_one(turn, self.placeholder(loaded)) for turn in turns],
            chat_template=with_fixed_date(template),
            tokenize=False,
            add_generation_prompt=True,
            **self.template_args(loaded),
        )
        return chat

    def chat_template(self, loaded: Loaded) -> str | None:
        """Return the chat template to fill; None if the checkpoint has none."""
        return loaded.chat_template

    def template_args(self, loaded: Loaded) -> Mapping[str, Any]:
        """Return further arguments of the chat template."""
        return {}

    def turns(self, request: Request, sounds: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """Return the system turn, if any, and the user's turn, with audio and text in the model's order."""
        settings = cast("ChatSettings", self.settings)
        text = [{"type": "text", "text": request.prompt}]
        system = request.system if request.system is not None else settings.system_prompt
        turns: list[dict[str, Any]] = []
        if system:
            turns.append({"role": "system", "content": [{"type": "text", "text": system}]})
        if request.earlier:
            dialogue = turns_with_clips(request, sounds, self._pieces.get(request))
            return [*turns, *({"role": turn.role, "content": _parts(turn.content)} for turn in dialogue)]
        content: list[Mapping[str, str]] = [*sounds, *text] if settings.audio_first else [*text, *sounds]
        if request.placed and sounds:
            content = placed_parts(request, sounds, self._pieces.get(request))
        turns.append({"role": "user", "content": content})
        return turns

    def audio_token_id(self, model: Any) -> int:
        """Return the token id that stands for audio in the prompt, from the checkpoint's config."""
        config = model.config
        token_id = getattr(config, "audio_token_id", None)
        return int(token_id if token_id is not None else config.audio_token_index)

    def placeholder(self, loaded: Loaded) -> str:
        """Return the text that the chat template writes for a clip."""
        return str(loaded.tokenizer.convert_ids_to_tokens(self.audio_token_id(loaded.model)))

    def spelled(self, loaded: Loaded, count: int) -> str:
        """Return the text that replaces the placeholder of a clip of `count` audio tokens."""
        return self.placeholder(loaded) * count

    def decoder(self, model: Any) -> Decoder:
        stack = model.get_decoder()
        return Decoder(
            root=model,
            stack=stack,
            layers=stack.layers,
            norm=stack.norm,
            audio_token_ids=(self.audio_token_id(model),),
            encode_audio=self.encoder(model),
            cut_at_input=self.cut_at_input,
        )

    def encoder(self, model: Any) -> Any:
        """Return the audio encoder, whose time is measured and whose output can be reused."""
        return model.get_encoder(modality="audio")


def refuse_missing_packages(model: HFAudio) -> None:
    """Raise MarathonError for a package in the model's `needs` that is not installed."""
    for module, extra in model.needs.items():
        if importlib.util.find_spec(module) is None:
            raise MarathonError(f"{model.flags.model} {model.name()} needs {module}: {install_hint(extra)}")


def placed_parts(
    request: Request, sounds: Sequence[Mapping[str, str]], pieces: Sequence[int] | None = None
) -> list[Mapping[str, str]]:
    """Return a turn's texts and sounds in the order of the prompt; `pieces` counts the sounds of each clip, 1 by default.

    Raises RowError if the prompt has places for more or fewer clips.
    """
    texts, counts = request.parts(), pieces or [1] * len(sounds)
    if len(texts) != len(counts) + 1:
        raise RowError(f"the prompt has places for {len(texts) - 1} clips, and there are {len(counts)}")
    waiting = iter(sounds)
    content: list[Mapping[str, str]] = [{"type": "text", "text": texts[0]}]
    for text, count in zip(texts[1:], counts, strict=True):
        content += [next(waiting) for _ in range(count)]
        content.append({"type": "text", "text": text})
    return [part for part in content if part["type"] != "text" or part["text"].strip()]


def _parts(content: Sequence[object]) -> list[object]:
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]


def _in_one(turn: Mapping[str, Any], placeholder: str) -> dict[str, Any]:
    """Join the parts of a turn into one text."""
    texts = [placeholder if part["type"] == "audio" else part["text"] for part in turn["content"]]
    return {**turn, "content": "".join(texts)}


def expanded_placeholders(chat: str, placeholder: str, runs: Sequence[str]) -> str:
    """Replace each placeholder in the chat by its run of tokens. Raises RowError when their numbers differ."""
    parts = chat.split(placeholder)
    if len(parts) != len(runs) + 1:
        raise RowError(
            f"the chat holds {placeholder} {len(parts) - 1} times for {len(runs)} audio clips: "
            "the prompt must not contain it"
        )
    return "".join(text + run for text, run in zip(parts, [*runs, ""], strict=True))
