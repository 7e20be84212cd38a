"""Runs a whole build: plans it, renders missing files, and writes the metadata and the manifest.

A killed build continues where it stopped; a finished build is checked and repaired. Files get their final name only
when they are complete, and files that no build of this recipe made are never overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from marathon_eval.corpus.build.finalise import metadata_files, row_count, still_used
from marathon_eval.corpus.build.item import Item
from marathon_eval.corpus.build.journal import (
    Journal,
    entries_as_json,
    only_one,
    remove_parts,
    sha256_of_file,
    write_atomic,
)
from marathon_eval.corpus.build.manifest import identity_of, manifest_of, output_line, read_manifest
from marathon_eval.corpus.build.pipeline import Order, plan
from marathon_eval.corpus.build.plan import Left
from marathon_eval.corpus.build.recipe import Recipe
from marathon_eval.corpus.build.rejections import rejected_before
from marathon_eval.corpus.build.render import render_file
from marathon_eval.errors import MarathonError

MANIFESTS = "manifests"
SPOKEN_EVERY_SECONDS = 60.0


class BuildResult(NamedTuple):
    """Holds the outcome of a build; `made` of `files` were rendered now, the others existed and were unchanged."""

    manifest: Path
    files: int
    rows: int
    made: int
    seconds: float
    left: list[Left]
    wall_s: float


def build(
    recipe: Recipe,
    order: Order,
    told: Callable[[str], None] = lambda _: None,
    examine: Callable[[Path, Sequence[str]], None] = lambda _root, _names: None,
) -> BuildResult:
    """Build a recipe's audio, metadata and manifest below `order.output`. Raises MarathonError.

    `told` is called with one line of progress at the start, and at most once a minute after that. `examine` is called
    before a file is rendered, with a folder and the names of the source files in it that new files are made of; what
    it raises ends the build.
    """
    clock = time.monotonic()
    with only_one(order.output / MANIFESTS, recipe.recipe):
        order = with_earlier_rejections(recipe, order, told)
        planned = plan(recipe, order)
        pairs = still_used(recipe, planned.pairs, order.rejected)
        seconds = sum(pair.item.seconds for pair in pairs)
        told(f"{recipe.recipe}: {len(pairs)} files, {seconds / 3600:.2f} h")
        items = [pair.item for pair in pairs]
        examine(planned.root, sources_of_missing(recipe, items, order))
        lines, made = rendered_files(recipe, items, planned.root, order, told)
        metadata = metadata_files(recipe, planned.pairs, order.rejected)
        for name, data in metadata.items():
            write_atomic(order.output / recipe.layout.root / name, data)
        rows = row_count(recipe, planned.pairs, order.rejected)
        content = manifest_of(recipe, pairs, lines, metadata, planned.left, order.rejected, rows)
        path = order.output / MANIFESTS / f"{recipe.recipe}.json"
        write_atomic(path, entries_as_json(content))
        journal_path(order, recipe).unlink(missing_ok=True)
    return BuildResult(path, len(pairs), rows, made, seconds, planned.left, time.monotonic() - clock)


def with_earlier_rejections(recipe: Recipe, order: Order, told: Callable[[str], None]) -> Order:
    """Add the rows that a review of this data set rejected, so that the build does not bring them back.

    Raises MarathonError if they belong to a build of another recipe, or if somebody edited the metadata.
    """
    path = order.output / MANIFESTS / f"{recipe.recipe}.json"
    before = rejected_before(order.output, recipe.recipe, path)
    finished = read_manifest(path)
    if finished is not None:
        changed = finished["recipe"] != recipe.model_dump(mode="json")
        if before and changed and order.replace:
            raise MarathonError(
                f"--replace: a review rejected {len(before)} rows of {path.stem} in {order.output}, which was made with "
                "another recipe; choose another folder, so that the review is kept"
            )
        _check_unedited(finished, recipe, order)
    if before - order.rejected:
        told(f"{recipe.recipe}: {len(before)} rows stay out that a review rejected")
    return replace(order, rejected=order.rejected | before)


def _check_unedited(finished: Mapping[str, Any], recipe: Recipe, order: Order) -> None:
    """Raise MarathonError if a metadata file differs from what the finished build wrote, without --replace."""
    if order.replace or journal_path(order, recipe).exists():
        return
    folder = order.output / finished["root"]
    for name, sha256 in finished["metadata"].items():
        if (folder / name).is_file() and sha256_of_file(folder / name) != sha256:
            raise MarathonError(
                f"--output_path: {folder / name} was edited since it was built; choose another folder, "
                "or --replace to write it anew"
            )


def journal_path(order: Order, recipe: Recipe) -> Path:
    return order.output / MANIFESTS / f"{recipe.recipe}.journal"


def sources_of_missing(recipe: Recipe, items: Sequence[Item], order: Order) -> list[str]:
    """Return the source files of all files that are not there yet, sorted by name."""
    folder = order.output / recipe.layout.root
    missing = [item for item in items if not (folder / item.audio).is_file()]
    return sorted({piece.source for item in missing for piece in item.pieces})


def rendered_files(
    recipe: Recipe, items: Sequence[Item], root: Path, order: Order, told: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], int]:
    """Render missing files; return every file's manifest entry by path, and the number of files rendered now.

    Raises MarathonError.
    """
    folder = order.output / recipe.layout.root
    journal = taken_over(recipe, items, order)
    remove_parts(folder / name for name in journal.planned)
    for stale in sorted(set(journal.planned) - {item.audio for item in items}):
        (folder / stale).unlink(missing_ok=True)
    lines: dict[str, dict[str, Any]] = {}
    made, spoken_at = 0, time.monotonic()
    with ThreadPoolExecutor(max_workers=max(1, order.jobs)) as pool:
        for line, new in _results(pool, items, root, folder, journal.done):
            lines[line["path"]] = line
            made += new
            if new:
                journal.add(line)
            if time.monotonic() - spoken_at > SPOKEN_EVERY_SECONDS:
                spoken_at = time.monotonic()
                told(f"{recipe.recipe}: {len(lines)} of {len(items)} files")
    return lines, made


def taken_over(recipe: Recipe, items: Sequence[Item], order: Order) -> Journal:
    """Return the journal of earlier builds of this recipe, started anew for this plan.

    Raises MarathonError if the build would overwrite files that were made with other settings or by something else.
    """
    journal = Journal(journal_path(order, recipe))
    finished = read_manifest(order.output / MANIFESTS / f"{recipe.recipe}.json")
    if finished is not None:
        _check_same(finished, recipe, items, order)
        journal.planned += [line["path"] for line in finished["audio"]]
        journal.done = {**{line["path"]: line for line in finished["audio"]}, **journal.done}
    _check_ours(order.output / recipe.layout.root, items, set(journal.planned))
    journal.restart([item.audio for item in items])
    return journal


def _check_same(finished: Mapping[str, Any], recipe: Recipe, items: Sequence[Item], order: Order) -> None:
    """Raise MarathonError if a finished build was made with other settings and --replace is not given."""
    gone = {line["path"] for line in finished["audio"]} - {item.audio for item in items}
    rejected = {path.partition("#")[0].removeprefix(f"{recipe.layout.root}/") for path in order.rejected}
    changed = finished["recipe"] != recipe.model_dump(mode="json")
    if (changed or gone - rejected) and not order.replace:
        why = (
            "made with another recipe"
            if changed
            else f"with {len(gone - rejected)} files that this one lacks"
        )
        raise MarathonError(
            f"--output_path: {order.output} holds a finished {recipe.recipe}, {why}; "
            "choose another folder, or --replace"
        )


def _check_ours(folder: Path, items: Sequence[Item], ours: set[str]) -> None:
    """Raise MarathonError if a file with a planned name was not made by a build of this recipe."""
    for item in items:
        if item.audio not in ours and (folder / item.audio).exists():
            raise MarathonError(
                f"--output_path: {folder / item.audio} is there and was not made by this recipe; "
                "choose another folder"
            )


def _results(
    pool: ThreadPoolExecutor,
    items: Sequence[Item],
    root: Path,
    folder: Path,
    done: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every file's manifest entry as soon as it is ready; the first failure cancels the remaining files."""
    sources = Hashes(root)
    futures: list[Future[tuple[dict[str, Any], bool]]] = [
        pool.submit(_render_if_changed, item, root, folder, done.get(item.audio), sources) for item in items
    ]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _render_if_changed(
    item: Item, root: Path, folder: Path, before: Mapping[str, Any] | None, sources: Hashes
) -> tuple[dict[str, Any], bool]:
    """Return a file's manifest entry, and whether it was rendered now.

    A file whose plan, sources and bytes are unchanged is not rendered again.
    """
    used = {piece.source: sources[piece.source] for piece in item.pieces}
    target = folder / item.audio
    identity = identity_of(item, used)
    same = before is not None and before["identity"] == identity and target.is_file()
    if before is not None and same and sha256_of_file(target) == before["sha256"]:
        return dict(before), False
    result = render_file(item, root)
    write_atomic(target, result.data)
    return output_line(item, result, used, identity), True


class Hashes:
    """Computes the sha256 of source files, reading each once per build."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_path: dict[str, str] = {}
        self._lock = Lock()

    def __getitem__(self, path: str) -> str:
        if path not in self._by_path:
            value = sha256_of_file(self.root / path)
            with self._lock:
                self._by_path[path] = value
        return self._by_path[path]
