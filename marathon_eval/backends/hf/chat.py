"""What local chat models share: the chat from the checkpoint's own template, and audio spelled out in tokens.

Inputs are built from tokenizer and feature extractor rather than by the official processors: several of those cut
long clips without a word, or need torchvision for pictures that nobody sends. Tests hold ids and features against
them. An adapter says how clips become features (`hear`); a model that hears 30 s at a time also says that, and its
clips are split, which every answer's `usage.details` records. This file imports no torch.
"""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from marathon_eval.api.model import ModelSettings, Request, flags_of
from marathon_eval.api.press import Decoder, EvictionPress, Press, PruningPress
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.inputs import RATE, HFSettings, Inputs
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.backends.hf.engine.loaded import Loaded

    Wave = NDArray[np.float32]

#: What is left over after splitting is filled up to this with silence, so that it makes at least one token.
SHORTEST_SECONDS = 0.1


class ChatSettings(HFSettings):
    """`system_prompt=` (empty: no system turn) and `audio_first=` beside what every local model takes."""

    system_prompt: str = ""
    audio_first: bool = True


@dataclass(frozen=True)
class ClipFeatures:
    """Features of a batch's clips, in order, with audio tokens and seconds that each clip's features cover."""

    tensors: dict[str, Tensor]
    tokens: list[int]
    seconds: list[float]


class ChatModel(HFAudio):
    """A model that is asked by chat and hears through placeholder tokens. A subclass fills attributes and `hear`."""

    Settings: ClassVar[type[ModelSettings]] = ChatSettings
    carries: ClassVar[tuple[type[Press], ...]] = (PruningPress, EvictionPress)
    #: Longer clips are split into pieces of so many seconds, each with a placeholder of its own.
    segment_seconds: float | None = None
    #: Whether the chat template takes a turn in parts; where it only takes text, the placeholder is written here.
    parts: bool = True
    #: False where padding beside a longer clip would change a shorter one's answer.
    batches: bool = True
    #: Windowed layers and shared caches: a press can only drop tokens before the first layer.
    cut_at_input: ClassVar[bool] = False
    #: How many clips one question may have; None for any number.
    clips_per_question: ClassVar[int | None] = None

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        if self.cut_at_input and press is not None:
            refuse_uncut(self.name(), press, flags_of(settings).args)
        super().__init__(settings, press)

    def check(self) -> None:
        for module, extra in self.needs.items():
            if importlib.util.find_spec(module) is None:
                raise MarathonError(
                    f"{self.flags.model} {self.name()} needs {module}: pip install 'marathon-eval[{extra}]'"
                )
        super().check()

    def requests_at_once(self) -> int:
        return super().requests_at_once() if self.batches else 1

    @abstractmethod
    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        """Features of at least one clip (mono float32 at 16 kHz), on the CPU."""

    def prepare(self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[Wave]]) -> Inputs:
        """`input_ids`, `attention_mask` [B, T] left-padded, and what `hear` makes of all clips of the batch."""
        pieces = [[piece for wave in sample for piece in self.split(wave)] for sample in waves]
        clips = [piece for sample in pieces for piece in sample]
        for sample in waves:
            if self.clips_per_question is not None and len(sample) > self.clips_per_question:
                raise RowError(
                    f"{len(sample)} clips in one question: {self.name()} hears {self.clips_per_question}"
                )
        heard = self.hear(loaded, clips) if clips else ClipFeatures({}, [], [])
        counts, seconds = iter(heard.tokens), iter(heard.seconds)
        tokens = [[next(counts) for _ in sample] for sample in pieces]
        ids = self.ids(loaded, requests, pieces, tokens)
        return Inputs(
            tensors={**ids, **heard.tensors},
            heard_seconds=[sum(next(seconds) for _ in sample) for sample in pieces],
            audio_tokens=[sum(sample) for sample in tokens],
            details={} if self.segment_seconds is None else {"segment_seconds": self.segment_seconds},
        )

    def ids(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        pieces: Sequence[Sequence[Wave]],
        tokens: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` [B, T], left-padded, of chats with `tokens` for each of their `pieces`."""
        placeholder = self.placeholder(loaded)
        texts = [
            expanded_placeholders(
                self.chat(loaded, request, len(each)), placeholder, [self.spelled(loaded, n) for n in each]
            )
            for request, each in zip(requests, tokens, strict=True)
        ]
        encoded = loaded.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def split(self, wave: Wave) -> Iterator[Wave]:
        """The clip, or its pieces in order where the model hears only `segment_seconds` at a time."""
        if self.segment_seconds is None or not len(wave):
            yield wave
            return
        import numpy as np

        size, shortest = int(self.segment_seconds * RATE), int(SHORTEST_SECONDS * RATE)
        for start in range(0, len(wave), size):
            piece = wave[start : start + size]
            yield np.pad(piece, (0, shortest - len(piece))) if start and len(piece) < shortest else piece

    def chat(self, loaded: Loaded, request: Request, clips: int) -> str:
        """The question in the checkpoint's own chat template, with one placeholder per clip."""
        template = self.chat_template(loaded)
        if template is None:
            raise MarathonError(f"{self.flags.args}: pretrained={self.args.pretrained}: has no chat template")
        turns = self.turns(request, [{"type": "audio", "audio": ""} for _ in range(clips)])
        chat: str = loaded.tokenizer.apply_chat_template(
            turns if self.parts else [_in_one(turn, self.placeholder(loaded)) for turn in turns],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return chat

    def chat_template(self, loaded: Loaded) -> str | None:
        """The template that the chat is written by; None where the checkpoint has none."""
        return loaded.chat_template

    def turns(self, request: Request, sounds: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """System turn, where there is one, and the user's: sounds and words in the model's order."""
        settings = cast("ChatSettings", self.settings)
        words = [{"type": "text", "text": request.prompt}]
        system = request.system if request.system is not None else settings.system_prompt
        turns: list[dict[str, Any]] = []
        if system:
            turns.append({"role": "system", "content": [{"type": "text", "text": system}]})
        content = [*sounds, *words] if settings.audio_first else [*words, *sounds]
        turns.append({"role": "user", "content": content})
        return turns

    def audio_token_id(self, model: Any) -> int:
        """The id that stands for audio in the prompt, from the checkpoint's config."""
        config = model.config
        found = getattr(config, "audio_token_id", None)
        return int(found if found is not None else config.audio_token_index)

    def placeholder(self, loaded: Loaded) -> str:
        """What the chat template writes for a clip."""
        return str(loaded.tokenizer.convert_ids_to_tokens(self.audio_token_id(loaded.model)))

    def spelled(self, loaded: Loaded, count: int) -> str:
        """What stands in the prompt for a clip of `count` audio tokens."""
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
        """The module whose time is the audio encoder's."""
        return model.get_encoder(modality="audio")


def refuse_uncut(model: str, press: Press, flag: str = "--model_args") -> None:
    """Raise MarathonError for a press that needs more than the embeddings before the first layer."""
    why = "attends in windows and shares caches between layers"
    if not isinstance(press, PruningPress):
        raise MarathonError(
            f"{flag}: {model} can't carry press={press.name()}: it {why}, so there are no keys of its own in "
            "every layer to evict; pruning presses with layer=0 work"
        )
    if press.needs_attention:
        raise MarathonError(
            f"{flag}: {model} can't carry press={press.name()}: it {why}, so tokens are dropped before the first "
            "layer, and the rule reads attention"
        )
    if [layer for layer, _ in press.cuts] != [0]:
        raise MarathonError(
            f"{flag}: {model} takes press={press.name()} with layer=0 alone: it {why}, so tokens are dropped "
            "before the first layer"
        )


def _in_one(turn: Mapping[str, Any], placeholder: str) -> dict[str, Any]:
    """The turn with its parts as one text."""
    texts = [placeholder if part["type"] == "audio" else part["text"] for part in turn["content"]]
    return {**turn, "content": "".join(texts)}


def expanded_placeholders(chat: str, placeholder: str, runs: Sequence[str]) -> str:
    """The chat with each placeholder replaced by its run. Raises RowError when their numbers differ."""
    parts = chat.split(placeholder)
    if len(parts) != len(runs) + 1:
        raise RowError(
            f"the chat holds {placeholder} {len(parts) - 1} times for {len(runs)} audio clips: "
            "the prompt must not contain it"
        )
    return "".join(text + run for text, run in zip(parts, [*runs, ""], strict=True))
