"""Presses: what a compression method is, and what `ratio` means. Imports no torch.

A press is frozen settings and one pure rule. `ratio` is the fraction of a sample's audio tokens that is REMOVED, for
every press alike. How a rule reaches a model is the business of marathon_eval/hf; a press never sees the model.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

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
        """Name and type of every setting, in order."""
        hints = typing.get_type_hints(cls)
        return {field.name: hints[field.name] for field in fields(cls)}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Name, version and all settings: part of the cache key."""
        settings = {name: getattr(self, name) for name in self.arguments()}
        return {"press": self.name(), "version": self.version, **settings}


@dataclass(frozen=True)
class PruningPress(Press):
    """Drops audio tokens at the input of decoder layer `layer`, in the prefill; the layers before see all of them."""

    layer: int = 2
    #: Asks for `PruningView.attention`; left out otherwise, for it costs a pass over the keys.
    needs_attention: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer < 1:
            raise MarathonError(
                f"press={self.name()}: layer={self.layer}: must be at least 1 "
                "(layer 0, dropping before the first layer, is not supported yet)"
            )

    @abstractmethod
    def select(self, view: PruningView) -> LongTensor:
        """`view.keep` different entries of `view.audio`, in any order."""


@dataclass(frozen=True)
class PruningView:
    """One sample at the input of decoder layer K, padding cut away. T prompt tokens, L of them audio, h hidden size."""

    hidden: Tensor
    """[T, h] what layer K would read."""
    norm: Callable[[Tensor], Tensor]
    """The decoder's final norm."""
    keys: Tensor
    """[key heads, T, head size] of layer K-1, positions already rotated in."""
    attention: Tensor | None
    """[T] softmax attention of the last prompt token in layer K-1, mean over heads; None unless asked for."""
    audio: LongTensor
    """[L] positions of the audio tokens, ascending."""
    keep: int
    """How many of them must stay."""
    generator: Generator
    """On the CPU, seeded from (press seed, audio content, prompt): never from the order of samples."""

    @cached_property
    def normed(self) -> Tensor:
        """[T, h] hidden states after the decoder's final norm; made when first asked for."""
        return self.norm(self.hidden)


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


def press_from_args(press_class: type[P], args: Mapping[str, Any], flag: str = "--model_args") -> P:
    """Build a press; raises MarathonError for what is missing, unknown, of the wrong type or out of range."""
    name, known = press_class.name(), press_class.arguments()
    for argument in args:
        if argument not in known:
            raise MarathonError(
                f"{flag}: press {name} takes no '{argument}'.{did_you_mean(argument, known)} "
                f"It takes: {', '.join(known)}"
            )
    if "ratio" not in args:
        raise MarathonError(
            f"{flag}: press={name} needs ratio=, the fraction of audio tokens to remove (0 to below 1)"
        )
    return press_class(**args)


def split_press_args(
    args: Mapping[str, Any], model_arguments: set[str], find: Callable[[str], type[Press]]
) -> tuple[dict[str, Any], Press | None]:
    """`press=dart,ratio=0.5,dtype=bfloat16` to the model's arguments and the press. Raises MarathonError.

    `find` resolves the press's name. A name that neither takes is refused here, with both lists.
    """
    remaining = {name: value for name, value in args.items() if name != "press"}
    if args.get("press") is None:
        if "ratio" in remaining and "ratio" not in model_arguments:
            raise MarathonError(f"--model_args: ratio={remaining['ratio']} without press=NAME")
        return remaining, None
    press_class = find(str(args["press"]))
    taken = set(press_class.arguments())
    known = taken | model_arguments
    for name in remaining:
        if name not in known:
            raise MarathonError(
                f"--model_args: neither the model nor press {press_class.name()} takes '{name}'."
                f"{did_you_mean(name, known)} The press takes: {', '.join(press_class.arguments())}; "
                f"the model takes: {', '.join(sorted(model_arguments))}"
            )
        if name in taken and name in model_arguments:
            raise MarathonError(f"--model_args: '{name}' is an argument of the model and of the press alike")
    press = press_from_args(press_class, {name: value for name, value in remaining.items() if name in taken})
    return {name: value for name, value in remaining.items() if name not in taken}, press


def _converted(press: str, name: str, value: Any, kind: type) -> Any:
    """The value as its declared type: whole numbers pass as float, nothing else is bent. Raises MarathonError."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    raise MarathonError(f"press={press}: {name}={value}: must be {expected}")
