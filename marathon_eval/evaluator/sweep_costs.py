"""Measures what the responses of one sweep cell cost: kept tokens, seconds, and the speed-up over the uncompressed model.

Responses of an earlier run come from the cache with the seconds of that time, perhaps of another GPU or batch size. So a
speed-up compares only documents that one session (one loading of the weights) timed in both cells, in batches of one size:
an answer's seconds are those of its batch divided by the batch's size.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from marathon_eval.scoring.usage import STAGES, sounding_tokens


class Timed(NamedTuple):
    """Holds the seconds of a response over all stages, and how they were measured.

    That is in which session, whether it was warming up, and among how many requests; None where the model has no batches.
    """

    seconds: float
    session: str
    warm_up: bool
    batch: int | None


class Costs:
    """Sums the kept tokens and the seconds of a cell's responses; warm-up responses are counted separately."""

    def __init__(self) -> None:
        self._audio = self._kept = 0
        self._kv_bytes = array("d")
        self._gains = array("d")
        self._stages: dict[bool, dict[str, array[float]]] = {}
        self._timed: dict[int, Timed] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of one sample; rows without a response are skipped."""
        if row["status"] not in ("ok", "unverified"):
            return
        usage = row["usage"]
        details = usage.get("details") or {}
        if usage.get("kept_tokens") is not None:  # servers report audio tokens, but not what they keep
            audio, kept = sounding_tokens(usage)
            self._audio += audio or 0
            self._kept += kept or 0
        if usage.get("kv_bytes") is not None:
            self._kv_bytes.append(usage["kv_bytes"])
        if details.get("theoretical_speedup") is not None:
            self._gains.append(details["theoretical_speedup"])
        warm_up = bool(details.get("warm_up"))
        columns = self._stages.setdefault(warm_up, {stage: array("d") for stage in STAGES})
        seconds = {stage: usage[stage] for stage in STAGES if usage.get(stage) is not None}
        for stage, value in seconds.items():
            columns[stage].append(value)
        if seconds and details.get("session"):
            self._timed[row["doc_id"]] = Timed(
                sum(seconds.values()), details["session"], warm_up, details.get("batch")
            )

    def passing(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, after adding each."""
        for row in rows:
            self.add(row)
            yield row

    def kept_share(self) -> float | None:
        """Return the share of audio tokens that stayed; None if no response counts them."""
        return self._kept / self._audio if self._audio else None

    def mean_kv_bytes(self) -> float | None:
        """Return the mean size of the KV cache of a response; None if no response tells it."""
        return _mean(self._kv_bytes)

    def mean_seconds(self) -> dict[str, float | None]:
        """Return each stage's mean over the responses (warm-up ones if there are no others); None where not measured."""
        stages = self._stages.get(False) or self._stages.get(True) or {}
        return {stage: _mean(stages.get(stage, ())) for stage in STAGES}

    def theoretical_speedup(self) -> float | None:
        """Return the mean speed-up of the prefill by the FLOP model."""
        return _mean(self._gains)

    def speedup(self, base: Costs) -> float | None:
        """Return the seconds of the uncompressed responses over this cell's, on the same documents.

        Both responses must be of one session and of batches of one size. Pairs with a warm-up count only if there are no
        others. None without a pair.
        """
        pairs = [pair for pair in self._of_one_session(base) if pair[0].batch == pair[1].batch]
        pairs = [pair for pair in pairs if not any(timed.warm_up for timed in pair)] or pairs
        seconds = sum(timed.seconds for _, timed in pairs)
        return sum(without.seconds for without, _ in pairs) / seconds if seconds else None

    def unlike_batches(self, base: Costs) -> str | None:
        """Return the sizes of the batches, if they alone leave `speedup` without a pair, as `1 at once, without a press 4`."""
        pairs = self._of_one_session(base)
        if not pairs or any(without.batch == timed.batch for without, timed in pairs):
            return None
        without, own = (sorted({pair[side].batch or 1 for pair in pairs}) for side in (0, 1))
        return f"{'/'.join(map(str, own))} at once, without a press {'/'.join(map(str, without))}"

    def _of_one_session(self, base: Costs) -> list[tuple[Timed, Timed]]:
        """Return each document's uncompressed response and this cell's, where one session timed both."""
        return [
            (without, timed)
            for doc_id, timed in self._timed.items()
            if (without := base._timed.get(doc_id)) is not None and without.session == timed.session
        ]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
