"""Makes one result of the rounds of `--retry`: the last round's answers, and what all rounds together took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from marathon_eval.api.results import RunResult, Sample
from marathon_eval.results.compressed_samples import CompressedSamples, rows_of

#: What `spent` does not count.
_PRICES = "prices"


class Rounds:
    """Adds up the rounds of one command."""

    def __init__(self, first: RunResult) -> None:
        #: The last round as it was, and with the sums of all.
        self.last = self.result = first
        self._asked: dict[str, set[int]] = {}

    def add(self, later: RunResult) -> None:
        """Add a round, which asked again what failed in those before it."""
        before = self.result
        # not earlier: most commands have one round, and its rows need not be read again then
        self._note_asked(self.last)
        samples = {
            name: _asked_here(rows, self._asked.get(name, set())) for name, rows in later.samples.items()
        }
        self.last = later
        self.result = replace(
            later,
            samples=samples,
            started=before.started,
            wall_s=round(before.wall_s + later.wall_s, 3),
            # what later rounds found in the cache, earlier ones have put there
            cache={
                "hits": before.cache["hits"],
                "misses": before.cache["misses"] + later.cache["misses"],
            },
            spent=None if before.spent is None or later.spent is None else _sums(before.spent, later.spent),
            manifests={
                name: _judged(before.manifests.get(name, {}), facts)
                for name, facts in later.manifests.items()
            },
        )

    def _note_asked(self, result: RunResult) -> None:
        """Remember which rows were not in the cache: they are in a later round."""
        for name, rows in result.samples.items():
            asked = self._asked.setdefault(name, set())
            asked.update(row["doc_id"] for row in rows_of(rows) if not row["cached"])


def _asked_here(rows: Sequence[Sample], asked: set[int]) -> Sequence[Sample]:
    """Return the rows, of which those asked by an earlier round are not from the cache."""
    if not asked:
        return rows
    marked: Iterator[Sample] = (replace(row, cached=row.cached and row.doc_id not in asked) for row in rows)
    return CompressedSamples(marked) if isinstance(rows, CompressedSamples) else list(marked)


def _sums(before: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return `spent` of two rounds: sums of counts and cost, the later one's prices and limit."""
    found = {**before, **later}
    for name, value in later.items():
        if isinstance(value, Mapping) and name != _PRICES:
            found[name] = _sums(before.get(name, {}), value)
        elif isinstance(value, int | float):
            found[name] = round(before.get(name, 0) + value, 6)
    return found


def _judged(before: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's facts with the judge's requests of both rounds."""
    if not later.get("judge") or not before.get("judge"):
        return dict(later)
    first, second = before["judge"], later["judge"]
    counts = {"n_cached": first["n_cached"], "n_asked": first["n_asked"] + second["n_asked"]}
    return {**later, "judge": {**second, **counts}}
