"""Adapts the scoring presses of NVIDIA kvpress (https://github.com/NVIDIA/kvpress) as `press=kvpress:NAME`.

kvpress only scores the keys. As with every other press, the harness evicts: only audio keys, after the context was
read, exactly to the budget. kvpress requires an older transformers than this harness, so `INSTALL` installs it
without its dependencies and names the small packages that it imports.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView
from marathon_eval.errors import MarathonError, unknown

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "kvpress:"
INSTALL = 'pip install --no-deps kvpress "cachetools<6" "fire<0.7" six termcolor'


@dataclass(frozen=True)
class KVPress(EvictionPress):
    """Evicts keys by the scores of the kvpress class `scorer`; `options` holds that class's settings as JSON."""

    scorer: str = ""
    options: str = "{}"
    needs_module: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.made()

    @classmethod
    def name(cls) -> str:
        return "kvpress"

    @classmethod
    def named(cls, press: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Add `scorer=KnormPress` to the arguments for the press name `kvpress:KnormPress`."""
        return {**args, "scorer": press.removeprefix(PREFIX)}

    @property
    def fingerprint(self) -> dict[str, Any]:
        from importlib.metadata import PackageNotFoundError, version

        try:
            release = version("kvpress")
        except PackageNotFoundError:
            release = "unknown"
        return {**super().fingerprint, "kvpress": release}

    def made(self) -> Any:
        """Build the kvpress object. Raises MarathonError when kvpress, the class or a setting does not exist."""
        import json

        where = f"press={PREFIX}{self.scorer}"
        # imported first, because it hides a torchvision that would break transformers, which kvpress imports
        importlib.import_module("marathon_eval.backends.hf.engine")
        try:
            library = importlib.import_module("kvpress")
        except (ImportError, RuntimeError) as error:
            raise MarathonError(f"{where}: kvpress can't be imported ({error}): {INSTALL}") from None
        scorers = {
            name: value
            for name, value in vars(library).items()
            if isinstance(value, type) and issubclass(value, library.ScorerPress)
        }
        if self.scorer not in scorers:
            if hasattr(library, self.scorer):
                raise MarathonError(
                    f"{where}: does not score keys; only the scoring presses of kvpress can be used"
                )
            raise unknown("press=", "scoring press in kvpress", self.scorer, list(scorers))
        try:
            return scorers[self.scorer](compression_ratio=self.ratio, **json.loads(self.options))
        except (TypeError, ValueError, AssertionError) as error:
            raise MarathonError(f"{where}: options={self.options}: {error}") from None

    def score(self, view: EvictionView) -> Tensor:
        if view.scores is None:
            raise ValueError("kvpress scores while the model runs")
        return view.scores
