"""Joins a pruning press and an eviction press to one: `press=dart+knorm,ratio=0.5+0.8`.

The pruning press drops tokens inside the language model, and the eviction press then removes keys from what is left in
the cache. Both ratios are fractions of the original audio tokens, as those of stages are: the first is gone from the
cut's layer on, the last from every layer once the context was read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView, Press, PruningPress
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class PressPair(EvictionPress):
    """Evicts by `evicting` what `pruning` left; takes the arguments of both.

    Raises MarathonError if the eviction would keep more than the pruning leaves, for `compat=`, and for presses of
    kvpress.
    """

    pruning: PruningPress = field(kw_only=True, metadata={"argument": False})
    evicting: EvictionPress = field(kw_only=True, metadata={"argument": False})
    first: ClassVar[type[PruningPress]]
    second: ClassVar[type[EvictionPress]]

    def __post_init__(self) -> None:
        """Check the two presses against each other; each has checked its own settings."""
        if self.pruning.compat:
            raise MarathonError(
                f"press={self.name()}: compat={self.pruning.compat}: not in a pair of presses"
            )
        if self.evict == "decode":
            raise MarathonError(f"press={self.name()}: evict=decode: not in a pair of presses")
        if self.pruning.ratio > self.ratio:
            raise MarathonError(
                f"press={self.name()}: ratio={self.ratio:g}: must be at least {self.pruning.ratio:g}, "
                f"which {self.pruning.name()} has removed by then"
            )

    @classmethod
    def name(cls) -> str:
        return f"{cls.first.name()}+{cls.second.name()}"

    @classmethod
    def arguments(cls) -> dict[str, type]:
        return {**cls.second.arguments(), **cls.first.arguments(), "ratio": float}

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        """Build both presses. Of one `ratio` the pruning press removes half."""
        if "ratio" not in args:
            return args
        pruned, ratio = cls._ratios(args["ratio"])
        first = {name: value for name, value in args.items() if name in cls.first.arguments()}
        second = {name: value for name, value in args.items() if name in cls.second.arguments()}
        first.pop("ratio", None)
        own = cls.first.completed(first)
        if "ratio" not in own:  # a press that computes its ratio, as pool does, has it by now
            own = cls.first.completed({**first, "ratio": pruned})
        evicting = cls.second(**cls.second.completed({**second, "ratio": ratio}))
        return {
            "pruning": cls.first(**own),
            "evicting": evicting,
            **{name: getattr(evicting, name) for name in ("ratio", "seed", "evict", "smooth", "window")},
        }

    @classmethod
    def _ratios(cls, text: Any) -> tuple[Any, float]:
        """Split `0.3+0.8` into the pruning press's ratio, or its stages, and that of the eviction press."""
        before, plus, last = str(text).rpartition("+")
        try:
            ratio = float(last)
            if not plus:
                return ratio / 2, ratio
            return (before if "+" in before else float(before)), ratio
        except ValueError:
            raise MarathonError(
                f"press={cls.name()}: ratio={text}: must be a number, or two joined by +, as in ratio=0.5+0.8"
            ) from None

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {
            "press": self.name(),
            "version": self.version,
            "ratio": self.ratio,
            "pruning": {**self.pruning.fingerprint, "version": self.pruning.rule_version},
            "eviction": self.evicting.fingerprint,
        }

    @classmethod
    def part_classes(cls) -> tuple[type[Press], ...]:
        return cls.first, cls.second

    @property
    def parts(self) -> tuple[Press, ...]:
        return self.pruning, self.evicting

    def budgets(self, length: int, layers: int) -> list[int]:
        return self.evicting.budgets(length, layers)

    def score(self, view: EvictionView) -> Tensor:
        return self.evicting.score(view)

    def select(self, view: EvictionView) -> LongTensor:
        return self.evicting.select(view)


def pair_class(name: str, first: type[Press], second: type[Press]) -> type[PressPair]:
    """Return the class of the pair that the user called `name`. Raises MarathonError for other kinds of press."""
    if not issubclass(first, PruningPress) or not issubclass(second, EvictionPress):
        raise MarathonError(
            f"press={name}: a pair is a pruning press and an eviction press, in this order, as in dart+knorm"
        )
    if second.needs_module:
        raise MarathonError(f"press={name}: a press of kvpress can't be the second of a pair")
    return _made(first, second)


@cache
def _made(first: type[PruningPress], second: type[EvictionPress]) -> type[PressPair]:
    settings = {
        "first": first,
        "second": second,
        "needs_queries": second.needs_queries,
        "needs_received": second.needs_received,
        "scored": second.scored,
        "__module__": PressPair.__module__,
    }
    return type(PressPair.__name__, (PressPair,), settings)
