"""Presses: what a compression method is, and what `ratio` means. Imports no torch.

A press is frozen settings and one pure rule. `ratio` is the fraction of a sample's audio tokens that is REMOVED, for
every press alike. How a rule reaches a model is the business of marathon_eval/hf; a press never sees the model.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from marathon_eval.api.press_stages import parsed_stages
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from torch import Generator, LongTensor, Tensor
    from torch.nn import Module

P = TypeVar("P", bound="Press")


def budget(length: int, ratio: float) -> int:
    """How many of `length` tokens stay when the fraction `ratio` is removed: at least one, all at 0.

    The small constant undoes binary rounding: 10 * (1 - 0.9) is 0.9999999999999998. Raises ValueError.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio {ratio} must be at least 0 and below 1")
    if length <= 0:
        return 0
    return max(1, int(length * (1 - ratio) + 1e-6))


@dataclass(frozen=True)
class Press(ABC):
    """Frozen settings; a subclass's own fields are its own arguments. Raises MarathonError for a wrong value."""

    ratio: float
    seed: int = 0
    #: Raised when the rule itself changes: it is part of every cache key.
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name, kind in self.arguments().items():
            object.__setattr__(self, name, _converted(self.name(), name, getattr(self, name), kind))
        if not 0 <= self.ratio < 1:
            raise MarathonError(
                f"press={self.name()}: ratio={self.ratio}: must be at least 0 and below 1 "
                "(the fraction of audio tokens that is removed)"
            )

    @classmethod
    def name(cls) -> str:
        """The file's name, which is the name on the command line."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def arguments(cls) -> dict[str, type]:
        """Name and type of every setting that a user may give, in order."""
        hints = typing.get_type_hints(cls)
        return {item.name: hints[item.name] for item in fields(cls) if item.metadata.get("argument", True)}

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments with what follows from them; a press that is told something else than `ratio` says so here."""
        return args

    @classmethod
    def supports(cls) -> tuple[str, ...]:
        """What it can be asked for beyond its settings, in a word or two each."""
        return ()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Name, version and all settings: part of the cache key."""
        settings = {name: getattr(self, name) for name in self.arguments()}
        return {"press": self.name(), "version": self.version, **settings}


@dataclass(frozen=True)
class PruningPress(Press):
    """Drops audio tokens at the input of decoder layer `layer`, in the prefill; the layers before see all of them.

    `layer=2+8,ratio=0.3+0.7` cuts twice: each ratio is the fraction of the original audio tokens that is gone by then.
    """

    layer: int = 2
    compat: str = ""
    """`audiomarathon`: begin and end markers may go too, and budgets are cut off as in the released code."""
    #: Every cut as (layer, fraction gone), when there are several; `ratio` is then the last one's.
    stages: tuple[tuple[int, float], ...] = field(default=(), metadata={"argument": False})
    #: Asks for `PruningView.attention`; left out otherwise, for it costs a pass over the keys.
    needs_attention: ClassVar[bool] = False
    #: Asks for `PruningView.loudness`.
    needs_loudness: ClassVar[bool] = False
    #: The released code has this rule, so `compat=audiomarathon` says something.
    released: ClassVar[bool] = False
    #: Can cut several times (`layer=2+8`).
    staged: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer < 0:
            raise MarathonError(f"press={self.name()}: layer={self.layer}: must be at least 0")
        if self.layer == 0 and self.needs_attention:
            raise MarathonError(
                f"press={self.name()}: layer=0: must be at least 1, for the rule reads the attention of the layer before"
            )
        if self.compat not in ("", "audiomarathon"):
            raise MarathonError(f"press={self.name()}: compat={self.compat}: must be audiomarathon")
        if self.compat and (not self.released or self.stages):
            why = "cuts once, not in stages" if self.released else "has no such press"
            raise MarathonError(f"press={self.name()}: compat={self.compat}: the released code {why}")

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        args = super().completed(args)
        layer, ratio = str(args.get("layer", 2)), str(args.get("ratio"))
        return (
            args
            if "ratio" not in args or "+" not in layer + ratio
            else {**args, **parsed_stages(cls.name(), layer, ratio)}
        )

    @classmethod
    def supports(cls) -> tuple[str, ...]:
        ways = {
            "layer=0": not cls.needs_attention,
            "stages": cls.staged,
            "compat=audiomarathon": cls.released,
        }
        return (*(way for way, can in ways.items() if can), "batches")

    @property
    def cuts(self) -> tuple[tuple[int, float], ...]:
        """(layer, fraction of the original audio tokens that is gone from there on), ascending."""
        return self.stages or ((self.layer, self.ratio),)

    @property
    def fingerprint(self) -> dict[str, Any]:
        stages = {"stages": [list(stage) for stage in self.stages]} if self.stages else {}
        return {**super().fingerprint, **stages}

    def kept(self, length: int, ratio: float) -> int:
        """How many of `length` prunable tokens stay when `ratio` of them has gone."""
        return max(1, int(length * (1 - ratio))) if self.compat else budget(length, ratio)

    @abstractmethod
    def select(self, view: PruningView) -> LongTensor:
        """`view.keep` different entries of `view.audio`, in any order."""

    def merged(self, view: PruningView, kept: LongTensor) -> Tensor | None:
        """[keep, h] what the kept tokens carry on, in the order of `kept`; None: what they carried before."""
        return None


@dataclass(frozen=True)
class PruningView:
    """One sample at the input of decoder layer K, padding cut away. T prompt tokens, L of them audio, h hidden size."""

    hidden: Tensor
    """[T, h] what layer K would read."""
    norm: Callable[[Tensor], Tensor]
    """The decoder's final norm."""
    keys: Tensor
    """[key heads, T, head size] of layer K-1, positions already rotated in; for K = 0 the embeddings, as one head."""
    attention: Tensor | None
    """[T] softmax attention of the last prompt token in layer K-1, mean over heads; None unless asked for."""
    audio: LongTensor
    """[L] positions of the audio tokens that are still there, ascending."""
    keep: int
    """How many of them must stay."""
    generator: Generator
    """On the CPU, seeded from (press seed, audio content, prompt): never from the order of samples."""
    loudness: Tensor | None = None
    """[L] root mean square of the samples that each audio token stands for; None unless asked for."""

    @cached_property
    def normed(self) -> Tensor:
        """[T, h] hidden states after the decoder's final norm; made when first asked for."""
        return self.norm(self.hidden)


@dataclass(frozen=True)
class EvictionPress(Press):
    """Shrinks every layer's key-value cache after the audio was heard; text keys and delimiters stay."""

    evict: str = "context"
    """`context`: before the question is read. `prompt`: after, as released code does; cannot change the first token."""
    smooth: float = 0.0
    """Share of the score's spectrum over time that is cut away, from the top (AudioKV's low-pass); 0 is off."""
    #: How many of the context's last queries the rule looks at (`EvictionView.queries`); 0 for none.
    window: int = 0
    #: Asks for `EvictionView.unrotated`, every query of the context.
    needs_queries: ClassVar[bool] = False
    #: Keys stay by their score; a rule that only counts places has none that could be smoothed.
    scored: ClassVar[bool] = True
    #: Scores beside the model, from its attention modules, by `made().score(...)` (kvpress).
    needs_module: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.evict not in ("context", "prompt"):
            raise MarathonError(f"press={self.name()}: evict={self.evict}: must be context or prompt")
        if not 0 <= self.smooth < 1:
            raise MarathonError(f"press={self.name()}: smooth={self.smooth}: must be at least 0 and below 1")
        if self.smooth and not self.scored:
            raise MarathonError(f"press={self.name()}: smooth={self.smooth}: the rule has no score to smooth")
        if self.window < 0:
            raise MarathonError(f"press={self.name()}: window={self.window}: must be at least 0")

    @classmethod
    def supports(cls) -> tuple[str, ...]:
        return ("evict=context", "evict=prompt", *(["smooth"] if cls.scored else []))

    def made(self) -> Any:
        """The object that scores, for a press with `needs_module`."""
        raise NotImplementedError(f"press={self.name()} scores by itself")

    def budgets(self, length: int, layers: int) -> list[int]:
        """How many of `length` audio keys stay in each layer; their mean is `budget(length, ratio)`."""
        return [budget(length, self.ratio)] * layers

    @abstractmethod
    def score(self, view: EvictionView) -> Tensor:
        """[key heads, T] or [T]: the higher a key's score, the longer it stays. Text keys' scores are not used."""

    def select(self, view: EvictionView) -> LongTensor:
        """[key heads, keep] positions of the audio keys that stay: the best by (smoothed) score."""
        scores = self.smoothed(self.score(view).float().expand(len(view.keys), -1)[:, view.audio])
        return cast("LongTensor", view.audio[scores.topk(view.keep, dim=-1).indices])

    def smoothed(self, scores: Tensor) -> Tensor:
        """[heads, L] scores of the audio keys in order, low-passed over time when `smooth` asks for it."""
        return low_passed(scores, self.smooth) if self.smooth else scores


@dataclass(frozen=True)
class EvictionView:
    """One layer of one sample after the context. T context tokens, L of them audio, d head size."""

    layer: int
    layers: int
    keys: Tensor
    """[key heads, T, d], positions rotated in."""
    values: Tensor
    """[key heads, T, d]."""
    queries: Tensor | None
    """[heads, w, d] the context's last w queries, rotated; w is `window` or less. None when not asked for."""
    unrotated: Tensor | None
    """[heads, T, d] every query before rotation; None unless `needs_queries`."""
    rotation: Callable[[int], Tensor] | None
    """`rotation(n)`: [d, d] mean rotary matrix of the n positions that follow the context."""
    audio: LongTensor
    """[L] positions of the audio keys, ascending."""
    keep: int
    """How many of them must stay in this layer."""
    generator: Generator
    """Seeded from (press seed, audio content, prompt) and the same in every layer."""
    scores: Tensor | None = None
    """[key heads, T] what was scored while the model ran; None unless `needs_module`."""

    @cached_property
    def attention(self) -> Tensor:
        """[heads, w, T] softmax attention of the last w queries, causal, in float32."""
        import torch

        if self.queries is None:
            raise ValueError("this press looks at queries: its window must be above 0")
        heads, window, size = self.queries.shape
        keys = self.keys.repeat_interleave(heads // len(self.keys), dim=0).float()
        scores = self.queries.float() @ keys.transpose(1, 2) / size**0.5
        future = torch.ones_like(scores[0], dtype=torch.bool).triu(keys.shape[1] - window + 1)
        attention: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1)
        return attention


@dataclass(frozen=True)
class Decoder:
    """All that the press machinery may know of a model."""

    root: Module
    """Its forward gets `input_ids` [B, T] and the padding mask [B, T]."""
    stack: Module
    """Its forward runs the layers on `past_key_values`."""
    layers: Sequence[Module]
    """Each with a `self_attn`, called with `position_embeddings` and `attention_mask` by keyword."""
    norm: Module
    """The norm after the last layer."""
    audio_token_ids: tuple[int, ...]
    """The placeholder ids that stand where audio is; delimiters are text and always stay."""
    encode_audio: Module
    """The audio encoder: its output's first dimension, or `last_hidden_state`'s, counts audio tokens."""
    cut_at_input: bool = False
    """Its layers can't be cut in the middle (windows, shared caches): tokens go before the first one or not at all."""


def press_from_args(press_class: type[P], args: Mapping[str, Any], flag: str = "--model_args") -> P:
    """Build a press; raises MarathonError for what is missing, unknown, of the wrong type or out of range."""
    name, known = press_class.name(), press_class.arguments()
    for argument in args:
        if argument not in known:
            raise MarathonError(
                f"{flag}: press {name} takes no '{argument}'.{did_you_mean(argument, known)} "
                f"It takes: {', '.join(known)}"
            )
    completed = press_class.completed(dict(args))
    if "ratio" not in completed:
        raise MarathonError(
            f"{flag}: press={name} needs ratio=, the fraction of audio tokens to remove (0 to below 1)"
        )
    return press_class(**completed)


def _converted(press: str, name: str, value: Any, kind: type) -> Any:
    """The value as its declared type: whole numbers pass as float, nothing else is bent. Raises MarathonError."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    raise MarathonError(f"press={press}: {name}={value}: must be {expected}")


def low_passed(scores: Tensor, cut: float) -> Tensor:
    """[heads, L] scores over time without the top `cut` of their spectrum (AudioKV, https://arxiv.org/abs/2604.06694)."""
    import torch

    spectrum = torch.fft.rfft(scores)
    spectrum[:, max(1, round(spectrum.shape[1] * (1 - cut))) :] = 0
    smoothed: Tensor = torch.fft.irfft(spectrum, n=scores.shape[1])
    return smoothed
