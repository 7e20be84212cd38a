"""Presses x ratios over one loaded model, clip by clip: a whole compression table in one pass.

A cell is what a run with the same `--model_args` would be: same fingerprint, same keys in the cache, so a sweep after
a run reuses it, a run after a sweep asks nothing, and a killed sweep goes on where it stopped. What the cells of a clip
share is heard, encoded and prefilled once (hf/sharing.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import CachedResponse
from marathon_eval.api.press import EvictionPress
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.cache.answers import AT_ONCE, ResponseCache
from marathon_eval.cache.entry import cacheable, response_from
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.evaluator.compressed_responses import Responses
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import (
    ScoringPlan,
    build_model,
    concluded,
    judge_with,
    pinned_pool,
    run_parts,
)
from marathon_eval.evaluator.preflight import RunBeforeStart, refuse_missing
from marathon_eval.evaluator.requests import Progress, RunResponses, cache_folder, ordered, seconds_of
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.api.model import Model, Request, Response
    from marathon_eval.api.press import Press
    from marathon_eval.api.results import RunResult

#: The uncompressed model's name in --presses.
NO_PRESS = "none"


@dataclass(frozen=True)
class Grid:
    """`--presses`, `--ratios`, `--layers`; no layers: each press's own default."""

    presses: tuple[str, ...]
    ratios: tuple[float, ...]
    layers: tuple[int, ...] = ()


@dataclass
class SweepCell:
    """One press with one ratio (or none): a run of its own but for what it shares."""

    label: str
    press: str | None
    ratio: float | None
    config: RunConfig
    model: Model
    fingerprint_sha256: str
    #: What this pass asked: failures whole, for the cache keeps none; of answers only that they were asked.
    asked: dict[Request, CachedResponse | None]
    seconds: float = 0.0

    @property
    def evict(self) -> str | None:
        """When an eviction press evicts."""
        press = self.model.press
        return press.evict if isinstance(press, EvictionPress) else None

    def keep(self, item: CachedResponse) -> None:
        """Note that this was asked; what the cache does not keep, whole."""
        self.asked[item.request] = None if cacheable(item.request, item.response) else item


#: What asks the cells' missing requests, as `ask_here` does.
FillCells = Callable[
    [
        Sequence[SweepCell],
        Sequence["Request"],
        Sequence[set["Request"]],
        Mapping["Audio", "AudioFacts"],
        ResponseCache,
        Progress,
    ],
    Iterator[None],
]


def parse_ratios(text: str) -> tuple[float, ...]:
    """`0.1:0.9:0.2` (both ends included) or `0.1,0.5`; raises MarathonError."""
    try:
        if ":" not in text:
            ratios = [Decimal(part.strip()) for part in text.split(",") if part.strip()]
        else:
            first, last, step = (Decimal(part.strip()) for part in text.split(":"))
            if step <= 0:
                raise ValueError
            ratios = [first + step * number for number in range(int((last - first) / step) + 1)]
    except (InvalidOperation, ValueError):
        raise MarathonError(
            f"--ratios: '{text}' is neither first:last:step, as 0.1:0.9:0.2, nor a list, as 0.1,0.5"
        ) from None
    wrong = [ratio for ratio in ratios if not (ratio.is_finite() and 0 < ratio < 1)]
    if wrong:
        raise MarathonError(f"--ratios: {wrong[0]}: must be above 0 and below 1 (--presses none is ratio 0)")
    return tuple(dict.fromkeys(float(ratio) for ratio in ratios))


def cells_of(config: RunConfig, grid: Grid) -> list[SweepCell]:
    """Every cell, uncompressed first, with models that share their weights. Raises MarathonError."""
    for name in ("press", "ratio", "layer"):
        if name in config.model_args:
            raise MarathonError(
                f"--model_args: {name}= is what a sweep varies: use --presses, --ratios, --layers"
            )
    registry = Registry(config.include_path)
    settings = set(registry.model_class(config.model).Settings.model_fields)
    plain = {name: value for name, value in config.model_args.items() if name in settings}
    own = {name: value for name, value in config.model_args.items() if name not in settings}
    unused = dict(own)
    cells = []
    for press in sorted(dict.fromkeys(grid.presses), key=lambda name: name != NO_PRESS):
        if press == NO_PRESS:
            cells.append(_cell(registry, config, plain, {}, NO_PRESS))
            continue
        takes = _takes(registry, press)
        given = {name: value for name, value in own.items() if name in takes}
        unused = {name: value for name, value in unused.items() if name not in takes}
        for varied in _varied(grid, "layer" in takes):
            label = " ".join(
                [
                    press,
                    *(f"{name[0].upper()}{value}" for name, value in varied.items() if name != "ratio"),
                    f"{varied['ratio']:g}",
                ]
            )
            cells.append(_cell(registry, config, plain, {**given, "press": press, **varied}, label))
    if unused:
        name = next(iter(unused))
        raise MarathonError(
            f"--model_args: neither the model nor any of the presses takes '{name}'.{did_you_mean(name, settings)}"
        )
    if not cells:
        raise MarathonError("--presses: names no press")
    models = [cell.model for cell in cells if isinstance(cell.model, HFAudio)]
    for model in models:
        model.cells = models
    return cells


def _takes(registry: Registry, press: str) -> set[str]:
    """The names of a press's own settings."""
    from marathon_eval.backends.hf.kvpress import PREFIX, KVPress

    press_class: type[Press] = KVPress if press.startswith(PREFIX) else registry.press_class(press)
    return set(press_class.arguments())


def _varied(grid: Grid, layered: bool) -> Iterator[dict[str, Any]]:
    for layer in grid.layers if layered and grid.layers else (None,):
        for ratio in grid.ratios:
            yield {"ratio": ratio} if layer is None else {"layer": layer, "ratio": ratio}


def _cell(
    registry: Registry, config: RunConfig, plain: Mapping[str, Any], press: Mapping[str, Any], label: str
) -> SweepCell:
    arguments = {**plain, **press}
    model = build_model(registry, config.model, arguments)
    return SweepCell(
        label=label,
        press=press.get("press"),
        ratio=press.get("ratio"),
        config=replace(config, model_args=arguments),
        model=model,
        fingerprint_sha256="",
        asked={},
    )


def sweep(
    config: RunConfig,
    grid: Grid,
    on_result: Callable[[SweepCell, RunResult], None],
    progress: Progress | None = None,
    through: FillCells | None = None,
) -> bool:
    """Ask what the cache lacks, clip by clip; then score each cell. False where Ctrl-C ended the asking.

    `on_result` hears each cell's result as soon as it is scored, uncompressed first. Raises MarathonError.
    """
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    cells = cells_of(config, grid)
    tasks, groups, _, judge = run_parts(config, cells[0].model)
    with ResponseCache(cache_folder(config)) as cache:
        for cell in cells:
            cell.model.cache = cache
            cell.fingerprint_sha256 = sha256_of(cell.model.fingerprint)
        pool = pinned_pool(tasks, config, cells[0].model.name(), cache)
        requests, facts = ordered(pool, cache)
        planned = RunBeforeStart(tasks, pool, tuple(cell.model for cell in cells), judge, config, cache)
        before = partial(refuse_missing, planned)
        whole = fill_cells(
            cells,
            requests,
            facts,
            cache,
            progress or Progress(),
            through or ask_here,
            before,
            config.retry_errors,
        )
        plan = ScoringPlan(tasks, groups, pool, judge_with(judge, cache, config.judge_gen_kwargs))
        for cell in cells:
            clock = time.monotonic() - cell.seconds
            found = Responses(cell_responses(cell, requests, cache, facts))
            cached = {request for request in found if request not in cell.asked}
            answers = RunResponses(found, cached, facts, not whole)
            on_result(cell, concluded(plan, cell.config, cell.model, answers, started, clock))
    return whole


def fill_cells(
    cells: Sequence[SweepCell],
    requests: Sequence[Request],
    facts: Mapping[Audio, AudioFacts],
    cache: ResponseCache,
    progress: Progress,
    through: FillCells,
    before: Callable[[int], None] = lambda misses: None,
    retry_errors: bool = False,
) -> bool:
    """Every cell's missing answers into the cache; False when Ctrl-C came between. `before` as in `ask`."""
    missing = [
        {request for request, entry in _stored(cell, requests, cache, facts) if entry is None}
        for cell in cells
    ]
    if not any(missing):
        return True
    count = sum(map(len, missing))
    before(count)
    cells[0].model.check()
    heard = sum(seconds_of(request, facts) for waiting in missing for request in waiting)
    progress.start(len(cells) * len(requests) - count, count, heard)
    try:
        for _ in through(cells, requests, missing, facts, cache, progress):
            pass
        failed = [_failed(cell, waiting) for cell, waiting in zip(cells, missing, strict=True)]
        if retry_errors and any(failed):
            for _ in through(cells, requests, failed, facts, cache, progress):
                pass
    except KeyboardInterrupt:
        return False
    finally:
        progress.stop()
        for cell in cells:
            cell.model.close()
    return True


def ask_here(
    cells: Sequence[SweepCell],
    requests: Sequence[Request],
    missing: Sequence[set[Request]],
    facts: Mapping[Audio, AudioFacts],
    cache: ResponseCache,
    progress: Progress,
) -> Iterator[None]:
    """Every cell's missing requests, a few clips between one yield and the next."""
    for unit in units(cells, requests):
        for cells_alike in alike(cells):
            _ask_unit(cells_alike, unit, cells, missing, facts, cache, progress)
            yield


def _failed(cell: SweepCell, waiting: set[Request]) -> set[Request]:
    items = ((request, cell.asked.get(request)) for request in waiting)
    return {request for request, item in items if item is not None and item.response.status == "error"}


def units(cells: Sequence[SweepCell], requests: Sequence[Request]) -> Iterator[list[Request]]:
    """The requests of one clip after the other; as many clips as fill a batch. A model behind a server takes all at once."""
    local = [cell.model for cell in cells if isinstance(cell.model, HFAudio)]
    if not local:
        yield list(requests)
        return
    widest = max(local, key=HFAudio.requests_at_once)
    waiting = deque(requests)
    while waiting:
        unit = widest.take(waiting)
        while waiting and waiting[0].audios == unit[-1].audios:
            unit.append(waiting.popleft())
        yield unit


def alike(cells: Sequence[SweepCell]) -> list[list[SweepCell]]:
    """Cells that share the same pieces of a clip: one context for all that evict behind it, the encoding for the rest."""
    groups: dict[str | None, list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault(cell.evict, []).append(cell)
    return list(groups.values())


def _ask_unit(
    cells_alike: Sequence[SweepCell],
    unit: Sequence[Request],
    cells: Sequence[SweepCell],
    missing: Sequence[set[Request]],
    facts: Mapping[Audio, AudioFacts],
    cache: ResponseCache,
    progress: Progress,
) -> None:
    """Batch by batch, and each batch by all cells, so that one batch's inputs serve them all."""
    places = {id(cell): place for place, cell in enumerate(cells)}
    model = cells_alike[0].model
    waiting = deque(unit)
    while waiting:
        batch = model.take(waiting) if isinstance(model, HFAudio) else [waiting.popleft() for _ in unit]
        for cell in cells_alike:
            missed = missing[places[id(cell)]]
            todo = [request for request in batch if request in missed]
            if not todo:
                continue
            clock = time.monotonic()
            for item in cache.answer(cell.model, todo):
                cell.keep(item)
                progress.advance(item, seconds_of(item.request, facts))
            cell.seconds += time.monotonic() - clock


def cell_responses(
    cell: SweepCell, requests: Sequence[Request], cache: ResponseCache, facts: Mapping[Audio, AudioFacts]
) -> Iterator[tuple[Request, Response]]:
    """What a cell was answered, from the cache; failures as they came; what was not asked is left out."""
    for request, entry in _stored(cell, requests, cache, facts):
        failure = cell.asked.get(request)
        if failure is not None:
            yield request, failure.response
        elif entry is not None:
            yield request, response_from(entry["response"])


def _stored(
    cell: SweepCell, requests: Sequence[Request], cache: ResponseCache, facts: Mapping[Audio, AudioFacts]
) -> Iterator[tuple[Request, Mapping[str, Any] | None]]:
    """What the cache has of a cell; None for what it lacks, and for audio that cannot be heard."""
    for first in range(0, len(requests), AT_ONCE):
        some = requests[first : first + AT_ONCE]
        keyed, _ = cache.keyed(cell.fingerprint_sha256, some, facts)
        stored = cache.get_many(entry.key for entry in keyed.values())
        yield from ((one, stored.get(keyed[one].key) if one in keyed else None) for one in some)
