"""Defines the cells of a sweep: one run configuration and one model per press, layer and ratio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import CachedResponse
from marathon_eval.api.press import EvictionPress
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.cache.entry import cacheable
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import build_model

if TYPE_CHECKING:
    from marathon_eval.api.model import Model, Request
    from marathon_eval.api.press import Press

#: The value of --presses that stands for the uncompressed model.
NO_PRESS = "none"


@dataclass(frozen=True)
class Grid:
    """Holds the values of `--presses`, `--ratios` and `--layers`. Without layers, a press uses its default layer."""

    presses: tuple[str, ...]
    ratios: tuple[float, ...]
    layers: tuple[int, ...] = ()


@dataclass
class SweepCell:
    """Holds one press with one ratio (or the uncompressed model) and the run that it stands for."""

    label: str
    press: str | None
    ratio: float | None
    config: RunConfig
    model: Model
    fingerprint_sha256: str
    #: Requests that the model answered in this pass. The value is the response if the cache does not store it (an
    #: error, for example), and None if it can be read from the cache.
    uncached: dict[Request, CachedResponse | None]
    seconds: float = 0.0

    @property
    def evict(self) -> str | None:
        """Return when the press evicts, or None if it is not an eviction press."""
        press = self.model.press
        return press.evict if isinstance(press, EvictionPress) else None

    def record(self, item: CachedResponse) -> None:
        """Record that the model answered this request; keep the response only if the cache does not store it."""
        self.uncached[item.request] = None if cacheable(item.request, item.response) else item


def parse_ratios(text: str) -> tuple[float, ...]:
    """Parse `0.1:0.9:0.2` (first:last:step, both ends included) or the list `0.1,0.5`. Raises MarathonError."""
    try:
        if ":" not in text:
            ratios = [Decimal(part.strip()) for part in text.split(",") if part.strip()]
        else:
            first, last, step = (Decimal(part.strip()) for part in text.split(":"))
            if step <= 0:
                raise ValueError
            ratios = [first + step * number for number in range(int((last - first) / step) + 1)]
    except (InvalidOperation, OverflowError, ValueError):
        raise MarathonError(
            f"--ratios: '{text}' is neither first:last:step, as 0.1:0.9:0.2, nor a list, as 0.1,0.5"
        ) from None
    invalid = [ratio for ratio in ratios if not (ratio.is_finite() and 0 < ratio < 1)]
    if invalid:
        raise MarathonError(
            f"--ratios: {invalid[0]}: must be above 0 and below 1 (--presses none is ratio 0)"
        )
    return tuple(dict.fromkeys(float(ratio) for ratio in ratios))


def cells_of(config: RunConfig, grid: Grid) -> list[SweepCell]:
    """Build every cell, an uncompressed one first. Raises MarathonError.

    Each model gets all of them as `cells`; the first that loads shares its weights and encodings with the others.
    """
    for name in ("press", "ratio", "layer"):
        if name in config.model_args:
            raise MarathonError(
                f"--model_args: {name}= is what a sweep varies: use --presses, --ratios, --layers"
            )
    registry = Registry(config.include_path, config.trust_task_code)
    model_settings = set(registry.model_class(config.model).Settings.model_fields)
    model_args = {name: value for name, value in config.model_args.items() if name in model_settings}
    press_args = {name: value for name, value in config.model_args.items() if name not in model_settings}
    unused = dict(press_args)
    cells = []
    for press in sorted(dict.fromkeys(grid.presses), key=lambda name: name != NO_PRESS):
        if press == NO_PRESS:
            cells.append(_cell(registry, config, model_args, {}, NO_PRESS))
            continue
        if not grid.ratios:
            raise MarathonError(f"--ratios: holds no ratio for the press '{press}'")
        parameters = _press_parameters(registry, press)
        accepted = {name: value for name, value in press_args.items() if name in parameters}
        unused = {name: value for name, value in unused.items() if name not in parameters}
        for varied in _layers_and_ratios(grid, "layer" in parameters):
            label = " ".join(
                [
                    press,
                    *(f"{name[0].upper()}{value}" for name, value in varied.items() if name != "ratio"),
                    f"{varied['ratio']:g}",
                ]
            )
            cells.append(_cell(registry, config, model_args, {**accepted, "press": press, **varied}, label))
    if unused:
        name = next(iter(unused))
        raise MarathonError(
            f"--model_args: neither the model nor any of the presses takes '{name}'.{did_you_mean(name, model_settings)}"
        )
    if not cells:
        raise MarathonError("--presses: names no press")
    models = [cell.model for cell in cells if isinstance(cell.model, HFAudio)]
    for model in models:
        model.cells = models
    return cells


def _press_parameters(registry: Registry, press: str) -> set[str]:
    """Return the names of the arguments that a press accepts."""
    from marathon_eval.backends.hf.kvpress import PREFIX, KVPress

    press_class: type[Press] = KVPress if press.startswith(PREFIX) else registry.press_class(press)
    return set(press_class.arguments())


def _layers_and_ratios(grid: Grid, has_layer: bool) -> Iterator[dict[str, Any]]:
    """Yield the press arguments of each combination of layer and ratio."""
    for layer in grid.layers if has_layer and grid.layers else (None,):
        for ratio in grid.ratios:
            yield {"ratio": ratio} if layer is None else {"layer": layer, "ratio": ratio}


def _cell(
    registry: Registry,
    config: RunConfig,
    model_args: Mapping[str, Any],
    press_args: Mapping[str, Any],
    label: str,
) -> SweepCell:
    arguments = {**model_args, **press_args}
    model = build_model(registry, config.model, arguments)
    return SweepCell(
        label=label,
        press=press_args.get("press"),
        ratio=press_args.get("ratio"),
        config=replace(config, model_args=arguments),
        model=model,
        fingerprint_sha256="",
        uncached={},
    )
