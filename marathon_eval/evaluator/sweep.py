"""Runs presses x ratios over one loaded model, clip by clip, so that one pass fills a whole compression table.

A cell equals a run with the same `--model_args`: it has the same fingerprint and the same cache keys. A sweep
therefore reuses the responses of earlier runs and the other way round, and a killed sweep continues where it stopped.
All cells share a clip's decoded sound and its encoding; eviction cells also share the prefilled context, and pruning cells
with the same cut layer the layers below it (shared_clip.py and lower_layers.py in backends/hf/engine).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from marathon_eval.api.complete import complete
from marathon_eval.api.same_failures import SameFailures
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.cache.answers import AT_ONCE, ResponseCache
from marathon_eval.cache.entry import response_from
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget_flags import run_budget
from marathon_eval.evaluator.compressed_responses import Responses
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import judge_with, pinned_pool, run_parts
from marathon_eval.evaluator.preflight import RunBeforeStart, run_checks
from marathon_eval.evaluator.requests import (
    Progress,
    RequestPool,
    RunResponses,
    ask_nothing,
    cache_folder,
    ordered,
    seconds_of,
)
from marathon_eval.evaluator.run_scores import RunScores, ScoringPlan
from marathon_eval.evaluator.score_run import load_scoring
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell, cells_of
from marathon_eval.evaluator.window_answers import combine_answers
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.api.model import CachedResponse, Model, Request, Response, Through
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.judge import Judge

#: Cells of a kind that a line names before it only counts them.
_NAMED = 3
#: Asks each cell's missing requests, and yields each answer, stored, with its cell; `ask_here` does it in this process.
AskCells = Callable[
    [Sequence[SweepCell], Sequence["Request"], Sequence[set["Request"]], ResponseCache],
    Iterator[tuple[SweepCell, "CachedResponse"]],
]


def sweep(
    config: RunConfig,
    grid: Grid,
    on_result: Callable[[SweepCell, RunResult], None],
    progress: Progress | None = None,
    through: AskCells | None = None,
    judge_through: Callable[[Judge, Model], Through] | None = None,
) -> bool:
    """Ask what the cache lacks, clip by clip, then score each cell. Return False if Ctrl-C interrupted the asking.

    `on_result` is called with each cell's result as soon as it is scored; an uncompressed cell comes first. `through` asks
    the cells' missing requests (default: `ask_here`), and `judge_through` a judge's. Raises MarathonError.
    """
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if run_budget(config, None).given:
        raise MarathonError(
            "a sweep keeps no budget: leave out max_requests, max_tokens_total, max_cost and prices"
        )
    cells = cells_of(config, grid)
    tasks, groups, _, judge = run_parts(config, cells[0].model)
    with ResponseCache(cache_folder(config)) as cache:
        for cell in cells:
            cell.model.cache = cache
            cell.fingerprint_sha256 = sha256_of(cell.model.fingerprint)
        pool = pinned_pool(tasks, config, cells[0].model.name(), cache)
        refuse_second_round(pool)
        requests, facts = ordered(pool, cache)
        plan = RunBeforeStart(tasks, pool, tuple(cell.model for cell in cells), judge, config, cache)
        before = partial(run_checks, plan)
        complete = fill_cells(
            cells,
            requests,
            facts,
            cache,
            progress or Progress(),
            through or ask_here,
            before,
            config.retry_errors,
        )
        judging = judge_with(judge, cache, config.judge_gen_kwargs, judge_through)
        scoring = ScoringPlan(tasks, groups, pool.docs, judging)
        for cell in cells:
            clock = time.monotonic() - cell.seconds
            by_request = Responses(cell_responses(cell, requests, cache, facts))
            cached = {request for request in by_request if request not in cell.uncached}
            combine_answers(pool.splits, by_request, cached, pool.asked, ask_nothing)
            responses = RunResponses(by_request, cached, facts, not complete)
            scores = RunScores(scoring, cell.config)
            scores.add(pool, responses)
            on_result(cell, scores.result(cell.model, started, clock))
    return complete


def refuse_second_round(pool: RequestPool) -> None:
    """Raise MarathonError for requests that contain the model's responses, which differ from cell to cell: map_reduce and dialogues."""
    if any(item.dialogue for items in pool.doc_requests.values() for item in items):
        raise MarathonError(
            "doc_to_messages: a sweep cannot run dialogues, because later turns contain the model's earlier responses: "
            "evaluate each press with `run`"
        )
    if any(split.windows.combine == "map_reduce" for split in pool.splits.values()):
        raise MarathonError(
            "long_audio: combine=map_reduce is not supported in a sweep: use vote, last or join, or evaluate each press with `run`"
        )


def fill_cells(
    cells: Sequence[SweepCell],
    requests: Sequence[Request],
    facts: Mapping[Audio, AudioFacts],
    cache: ResponseCache,
    progress: Progress,
    through: AskCells,
    before: Callable[[int], None] = lambda misses: None,
    retry_errors: bool = False,
) -> bool:
    """Store every cell's missing responses in the cache. Return False if Ctrl-C interrupted.

    `before` is called with the number of missing responses before weights load, as in `requests.ask`.
    """
    missing = [
        {request for request, entry in _stored(cell, requests, cache, facts) if entry is None}
        for cell in cells
    ]
    if not any(missing):
        return True
    count = sum(map(len, missing))
    before(count)
    load_scoring()
    cells[0].model.check()
    audio_seconds = sum(seconds_of(request, facts) for cell_missing in missing for request in cell_missing)
    progress.cells(
        cells_told([cell.label for cell in cells], [len(of_cell) for of_cell in missing], len(requests))
    )
    progress.start(len(cells) * len(requests) - count, count, audio_seconds)

    def ask(lacking: Sequence[set[Request]]) -> None:
        # responses go into the cache, from where `cell_responses` reads each cell's own
        for cell, item in through(cells, requests, lacking, cache):
            cell.record(item)
            progress.advance(item, seconds_of(item.request, facts))

    try:
        ask(missing)
        failed = [_failed(cell, requested) for cell, requested in zip(cells, missing, strict=True)]
        if retry_errors and any(failed):
            ask(failed)
    except KeyboardInterrupt:
        return False
    finally:
        progress.stop()
        for cell in cells:
            cell.model.close()
    return True


def cells_told(labels: Sequence[str], missing: Sequence[int], requests: int) -> str:
    """Say which cells lack no response and which lack some: `2 of 9 cells are complete (none, dart 0.3), 1 is begun (dart 0.5)`.

    `missing` counts each cell's missing responses, of as many `requests`. Empty where the cache has none.
    """
    lacking = dict(zip(labels, missing, strict=True))
    complete = [label for label, count in lacking.items() if count == 0]
    begun = [label for label, count in lacking.items() if 0 < count < requests]
    said = []
    if complete:
        said.append(f"{len(complete)} of {len(labels)} cells {_are(complete)} complete ({_first(complete)})")
    if begun:
        whole = "" if complete else f" of {len(labels)} cells"
        said.append(f"{len(begun)}{whole} {_are(begun)} begun ({_first(begun)})")
    return ", ".join(said)


def _are(labels: Sequence[str]) -> str:
    return "is" if len(labels) == 1 else "are"


def _first(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more


def ask_here(
    cells: Sequence[SweepCell],
    requests: Sequence[Request],
    missing: Sequence[set[Request]],
    cache: ResponseCache,
) -> Iterator[tuple[SweepCell, CachedResponse]]:
    """Ask every cell's missing requests in this process, in units of a few clips.

    Raises MarathonError where ten requests in a row fail with one reason and no cell answers between them.
    """
    # one count for all batches and cells: a cell that fails alone, such as `none` without memory, does not end the others
    send = partial(complete, failures=SameFailures.of(cells[0].model))
    for unit in units([cell.model for cell in cells], requests, len(requests)):
        for sharing_cells in alike(cells):
            yield from _ask_unit(sharing_cells, unit, cells, missing, cache, send)


def _failed(cell: SweepCell, requested: set[Request]) -> set[Request]:
    """Return the requests whose response in this pass was an error."""
    items = ((request, cell.uncached.get(request)) for request in requested)
    return {request for request, item in items if item is not None and item.response.status == "error"}


def units(models: Sequence[Model], requests: Iterable[Request], of_server: int) -> Iterator[list[Request]]:
    """Yield the requests in order, in units of whole clips that fill a batch of the model with the largest batches.

    Models behind a server get `of_server` requests in a unit.
    """
    local = [model for model in models if isinstance(model, HFAudio)]
    largest = max(local, key=HFAudio.requests_at_once) if local else None
    waiting = deque(requests)
    while waiting:
        if largest is not None:
            unit = largest.take(waiting)
        else:
            unit = [waiting.popleft() for _ in range(min(of_server, len(waiting)))]
        while waiting and unit[-1].audios and waiting[0].audios == unit[-1].audios:
            unit.append(waiting.popleft())
        yield unit


def alike(cells: Sequence[SweepCell]) -> list[list[SweepCell]]:
    """Group the cells that reuse the same work on a clip.

    Cells that evict from the same prefilled context share that context; the other cells share the audio encoding.
    """
    groups: dict[str | None, list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault(cell.evict, []).append(cell)
    return list(groups.values())


def _ask_unit(
    sharing_cells: Sequence[SweepCell],
    unit: Sequence[Request],
    cells: Sequence[SweepCell],
    missing: Sequence[set[Request]],
    cache: ResponseCache,
    send: Through,
) -> Iterator[tuple[SweepCell, CachedResponse]]:
    """Ask batch by batch; all cells answer a batch before the next one, so that its inputs are built once."""
    places = {id(cell): place for place, cell in enumerate(cells)}
    model = sharing_cells[0].model
    waiting = deque(unit)
    while waiting:
        batch = model.take(waiting) if isinstance(model, HFAudio) else [waiting.popleft() for _ in unit]
        for cell in sharing_cells:
            cell_missing = missing[places[id(cell)]]
            to_ask = [request for request in batch if request in cell_missing]
            if not to_ask:
                continue
            clock = time.monotonic()
            try:
                for item in cache.answer(cell.model, to_ask, through=send):
                    yield cell, item
            finally:
                cell.seconds += time.monotonic() - clock


def cell_responses(
    cell: SweepCell, requests: Sequence[Request], cache: ResponseCache, facts: Mapping[Audio, AudioFacts]
) -> Iterator[tuple[Request, Response]]:
    """Yield a cell's responses: from the cache, and those of this pass that the cache does not store.

    Requests without a response (after Ctrl-C) are left out.
    """
    for request, entry in _stored(cell, requests, cache, facts):
        new = cell.uncached.get(request)
        if new is not None:
            yield request, new.response
        elif entry is not None:
            yield request, response_from(entry["response"])


def _stored(
    cell: SweepCell, requests: Sequence[Request], cache: ResponseCache, facts: Mapping[Audio, AudioFacts]
) -> Iterator[tuple[Request, Mapping[str, Any] | None]]:
    """Yield each request with its cache entry; None if the cache lacks it or its audio cannot be decoded."""
    for first in range(0, len(requests), AT_ONCE):
        chunk = requests[first : first + AT_ONCE]
        keyed, _ = cache.keyed(cell.fingerprint_sha256, chunk, facts)
        stored = cache.get_many(entry.key for entry in keyed.values())
        for request in chunk:
            yield request, stored.get(keyed[request].key) if request in keyed else None
