"""Defines presses, the methods that compress a sample's audio tokens, and what `ratio` means.

A press consists of frozen settings and one pure rule. `ratio` is the fraction of a sample's audio tokens that is
REMOVED, for every press alike. marathon_eval/backends/hf/engine applies the rule to a model; a rule sees tensors of one
sample, and an eviction rule with `needs_module` the attention modules too. torch is imported inside methods alone.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from marathon_eval.api.press_ranking import highest_scores, low_passed
from marathon_eval.api.press_replies import checked_scores
from marathon_eval.api.press_stages import parsed_stages
from marathon_eval.api.press_views import EvictionView, PruningView, StepView
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from torch import LongTensor, Tensor
    from torch.nn import Module

__all__ = [
    "Decoder",
    "EvictionPress",
    "EvictionView",
    "Press",
    "PruningPress",
    "PruningView",
    "StepView",
    "budget",
    "press_from_args",
]

P = TypeVar("P", bound="Press")


def budget(length: int, ratio: float) -> int:
    """Return how many of `length` tokens stay when the fraction `ratio` is removed: at least one, all at 0.

    The small constant undoes binary rounding: 10 * (1 - 0.9) is 0.9999999999999998. Raises ValueError.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio {ratio} must be at least 0 and below 1")
    if length <= 0:
        return 0
    return max(1, int(length * (1 - ratio) + 1e-6))


@dataclass(frozen=True)
class Press(ABC):
    """Holds a press's settings, with a subclass's arguments as fields. Raises MarathonError for a wrong value."""

    ratio: float
    seed: int = 0
    #: Increase it when the rule itself changes: it is part of every cache key.
    version: ClassVar[int] = 1
    #: The least value that each whole-number argument may have.
    at_least: ClassVar[Mapping[str, int]] = {}
    #: How the rule differs from the paper's, in a few words; empty where it does not.
    differs: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, kind in self.arguments().items():
            object.__setattr__(self, name, _converted(self.name(), name, getattr(self, name), kind))
        for name, least in self.at_least.items():
            if getattr(self, name) < least:
                raise MarathonError(
                    f"press={self.name()}: {name}={getattr(self, name)}: must be at least {least}"
                )
        if not 0 <= self.ratio < 1:
            raise MarathonError(
                f"press={self.name()}: ratio={self.ratio}: must be at least 0 and below 1 "
                "(the fraction of audio tokens that is removed)"
            )

    @classmethod
    def name(cls) -> str:
        """Return the name on the command line, which is the file's name."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def arguments(cls) -> dict[str, type]:
        """Return name and type of every argument, in order."""
        hints = typing.get_type_hints(cls)
        return {item.name: hints[item.name] for item in fields(cls) if item.metadata.get("argument", True)}

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        """Fill in derived arguments. A press without the argument `ratio` overrides this to compute it."""
        return args

    @classmethod
    def supports(cls) -> tuple[str, ...]:
        """List what the press can do besides its settings, e.g. `("layer=0", "stages", "batches")`."""
        return ()

    @classmethod
    def part_classes(cls) -> tuple[type[Press], ...]:
        """Return the classes of the press's `parts`."""
        return (cls,)

    @property
    def parts(self) -> tuple[Press, ...]:
        """Return the presses that this one is made of: itself, or the two of a pair."""
        return (self,)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return name, version and all settings: part of the cache key."""
        settings = {name: getattr(self, name) for name in self.arguments()}
        return {"press": self.name(), "version": self.version, **settings}


@dataclass(frozen=True)
class PruningPress(Press):
    """Drops audio tokens at the input of decoder layer `layer`, in the prefill; the layers before see all of them.

    `layer=2+8,ratio=0.3+0.7` cuts twice: each ratio is the fraction of the original audio tokens removed by then.
    """

    layer: int = 2
    compat: str = ""
    """`audiomarathon`: begin and end markers may be dropped too; budgets are rounded down as in the released code."""
    #: Every cut as (layer, fraction removed), when there are several; `ratio` is then that of the last cut.
    stages: tuple[tuple[int, float], ...] = field(default=(), metadata={"argument": False})
    #: The rule reads `PruningView.attention`, which is only computed then, because it costs a pass over the keys.
    needs_attention: ClassVar[bool] = False
    #: The rule reads `PruningView.loudness`.
    needs_loudness: ClassVar[bool] = False
    #: The rule reads `PruningView.question` or `PruningView.seconds`.
    needs_question: ClassVar[bool] = False
    #: The rule reads `PruningView.projections`.
    needs_projections: ClassVar[bool] = False
    #: The one layer at which the rule works; None where it works at any.
    only_layer: ClassVar[int | None] = None
    #: AudioMarathon's released code has this rule, so that `compat=audiomarathon` is allowed.
    released: ClassVar[bool] = False
    #: As `version`, for `compat=audiomarathon` alone: increase it when only that rule changes.
    compat_version: ClassVar[int] = 1
    #: Of the cuts that all rules share: increase it when a rule's choice is carried out in another way.
    cut_version: ClassVar[int] = 1
    #: The press can cut several times (`layer=2+8`).
    staged: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer < 0:
            raise MarathonError(f"press={self.name()}: layer={self.layer}: must be at least 0")
        if self.layer == 0 and self.needs_attention:
            raise MarathonError(
                f"press={self.name()}: layer=0: must be at least 1, for the rule reads the attention of the layer before"
            )
        if self.only_layer is not None and [layer for layer, _ in self.cuts] != [self.only_layer]:
            asked = "+".join(str(layer) for layer, _ in self.cuts)
            raise MarathonError(
                f"press={self.name()}: layer={asked}: must be {self.only_layer}, the one layer at which the rule works"
            )
        if self.compat not in ("", "audiomarathon"):
            raise MarathonError(f"press={self.name()}: compat={self.compat}: must be audiomarathon")
        if self.compat and (not self.released or self.stages):
            why = "cuts once, not in stages" if self.released else "has no such press"
            raise MarathonError(f"press={self.name()}: compat={self.compat}: the released code {why}")

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        args = super().completed(args)
        layer, ratio = str(args.get("layer", cls.layer)), str(args.get("ratio"))
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
        """Return every cut as (layer, fraction of the original audio tokens that is removed up to there), ascending."""
        return self.stages or ((self.layer, self.ratio),)

    @property
    def fingerprint(self) -> dict[str, Any]:
        stages = {"stages": [list(stage) for stage in self.stages]} if self.stages else {}
        # both only grow, so every change of either gives a number that was not there before
        return {**super().fingerprint, "version": self.rule_version + self.cut_version, **stages}

    @property
    def rule_version(self) -> int:
        """Return the version of the rule alone, which a press pair's key has: a pair asks each prompt for itself."""
        return self.compat_version if self.compat else self.version

    def kept(self, length: int, ratio: float) -> int:
        """Return how many of `length` prunable tokens stay when the fraction `ratio` is removed."""
        return max(1, int(length * (1 - ratio))) if self.compat else budget(length, ratio)

    @abstractmethod
    def select(self, view: PruningView) -> LongTensor:
        """Return `view.keep` different entries of `view.audio`, in any order."""

    def merged(self, view: PruningView, kept: LongTensor) -> Tensor | None:
        """Return new hidden states [keep, h] of the tokens in `kept`, in that order; None leaves them unchanged."""
        return None


@dataclass(frozen=True)
class EvictionPress(Press):
    """Removes audio keys from every layer's KV cache after the audio's prefill; text keys and delimiters stay."""

    evict: str = "context"
    """`context`: before the question's prefill. `prompt`: after it, as in released code; the first answer token then does not
    depend on the press.

    `decode`: keys of any token, after the prompt and again at every decoding step, for rules with `while_decoding`.
    """
    smooth: float = 0.0
    """Highest fraction of frequencies removed from the score's spectrum over time (AudioKV's low-pass); 0 is off."""
    #: How many of the context's last queries the rule reads (`EvictionView.queries`); 0 for none.
    window: int = 0
    #: The rule reads `EvictionView.unrotated`, every query of the context.
    needs_queries: ClassVar[bool] = False
    #: The rule scores keys. False for a rule that goes by positions alone, where `smooth` makes no sense.
    scored: ClassVar[bool] = True
    #: The rule reads `EvictionView.received`.
    needs_received: ClassVar[bool] = False
    #: The rule can evict at every decoding step (`evict=decode`), by `select_step`.
    while_decoding: ClassVar[bool] = False
    #: The rule scores while the model runs, from its attention modules, by `made().score(...)` (kvpress).
    needs_module: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        ways = ("context", "prompt", *(["decode"] if self.while_decoding else []))
        if self.evict not in ways:
            raise MarathonError(f"press={self.name()}: evict={self.evict}: must be {' or '.join(ways)}")
        if not 0 <= self.smooth < 1:
            raise MarathonError(f"press={self.name()}: smooth={self.smooth}: must be at least 0 and below 1")
        if self.smooth and not self.scored:
            raise MarathonError(f"press={self.name()}: smooth={self.smooth}: the rule has no score to smooth")
        if self.window < 0:
            raise MarathonError(f"press={self.name()}: window={self.window}: must be at least 0")

    @classmethod
    def supports(cls) -> tuple[str, ...]:
        decoding = ["evict=decode"] if cls.while_decoding else []
        return ("evict=context", "evict=prompt", *decoding, *(["smooth"] if cls.scored else []))

    def made(self) -> Any:
        """Build the object that scores, for a press with `needs_module`."""
        raise NotImplementedError(f"press={self.name()} scores by itself")

    def budgets(self, length: int, layers: int) -> list[int]:
        """Return how many of `length` audio keys stay in each layer; the mean is `budget(length, ratio)`."""
        return [budget(length, self.ratio)] * layers

    @abstractmethod
    def score(self, view: EvictionView) -> Tensor:
        """Return scores [key heads, T] or [T].

        The audio keys with the highest scores stay; scores of text keys are unused.
        """

    def select(self, view: EvictionView) -> LongTensor:
        """Return the positions [key heads, keep] of the audio keys with the highest (smoothed) scores."""
        scores = self.smoothed(checked_scores(self, view, self.score(view))[:, view.audio])
        return cast("LongTensor", view.audio[highest_scores(scores, view.keep)])

    def select_step(self, view: StepView) -> LongTensor:
        """Return the places [key heads, keep] in the cache, ascending, of the keys that stay after a decoding step."""
        raise NotImplementedError(f"press={self.name()} evicts once")

    def smoothed(self, scores: Tensor) -> Tensor:
        """Low-pass the scores [heads, L] of the audio keys over time, where `smooth` is set."""
        return low_passed(scores, self.smooth) if self.smooth else scores


@dataclass(frozen=True)
class Decoder:
    """Names the parts of a model that the engine needs to apply a press."""

    root: Module
    """The module whose forward gets `input_ids` [B, T] and the padding mask [B, T]."""
    stack: Module
    """The module whose forward runs the layers on `past_key_values`."""
    layers: Sequence[Module]
    """The decoder layers, each with a `self_attn` that gets `position_embeddings` and `attention_mask` by keyword.

    With `cut_at_input` they may be layers of any kind.
    """
    norm: Module
    """The norm after the last layer."""
    audio_token_ids: tuple[int, ...]
    """The placeholder ids of audio tokens; delimiters count as text and stay, except with `compat=audiomarathon`."""
    encode_audio: Module
    """The audio encoder: its output's first dimension, or `last_hidden_state`'s, counts audio tokens."""
    cut_at_input: bool = False
    """Layers attend in windows, share caches or keep a state, so that tokens can only be dropped before the first layer."""


def press_from_args(press_class: type[P], args: Mapping[str, Any], flag: str = "--model_args") -> P:
    """Build a press. Raises MarathonError for arguments that are missing, unknown or have a wrong value."""
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
    given, own = args.get("ratio"), completed["ratio"]
    if isinstance(given, int | float) and given != own:
        raise MarathonError(
            f"{flag}: press={name} computes its ratio from its other arguments ({own:g}) and takes no ratio={given:g}: leave ratio "
            "out; a sweep's --ratios can't vary it, so run its settings one by one and compare them"
        )
    return press_class(**completed)


def _converted(press: str, name: str, value: Any, kind: type) -> Any:
    """Return the value as its declared type; only whole numbers are converted, to float. Raises MarathonError."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    raise MarathonError(f"press={press}: {name}={value}: must be {expected}")
