"""Stores rounds of scripts/benchmarks/bench_presses.py as JSON lines, and computes figures from them.

A long measurement can so be taken in pieces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Setting(NamedTuple):
    """Holds what two rounds must have in common to be counted together."""

    tokens: int
    size: str
    device: str
    layer: int
    clock: str


@dataclass(frozen=True)
class Round:
    """Holds one run of every variant, in seconds; `plain` counts up to the first token, encoder included."""

    setting: Setting
    plain: float | None
    prefill: dict[str, float]
    encode: dict[str, float]
    select: dict[str, float]
    theoretical: dict[str, float]
    peak_mb: dict[str, float]


@dataclass(frozen=True)
class Figures:
    """Holds a variant's figures at one length: medians over the repeats."""

    tokens: int
    variant: str
    seconds: float
    measured: float | None = None
    theoretical: float | None = None
    select_share: float | None = None
    times_plain: float | None = None
    peak_mb: float | None = None
    rounds: int = 0

    @property
    def efficiency(self) -> float | None:
        """Return the measured speed-up divided by the theoretical one."""
        return self.measured / self.theoretical if self.measured and self.theoretical else None


def figures(rounds: Sequence[Round]) -> list[Figures]:
    """Compute one setting's medians. Ratios are taken within a round, so that other load affects both sides."""
    if not rounds:
        return []
    plain = [one.plain for one in rounds if one.plain is not None]
    names = dict.fromkeys(name for one in rounds for name in one.prefill)
    first = [Figures(rounds[0].setting.tokens, "plain", median(plain), rounds=len(plain))] if plain else []
    return first + [_variant([one for one in rounds if name in one.prefill], name) for name in names]


def _variant(ran: Sequence[Round], name: str) -> Figures:
    """Compute one variant's figures from the rounds that ran it."""
    seconds = median(one.prefill[name] for one in ran)
    peak = next((one.peak_mb[name] for one in reversed(ran) if name in one.peak_mb), None)
    tokens, count = ran[0].setting.tokens, len(ran)
    if name == "none":
        beside = [(one.prefill[name] + one.encode[name]) / one.plain for one in ran if one.plain is not None]
        whole = median(beside) if beside else None
        return Figures(tokens, name, seconds, times_plain=whole, peak_mb=peak, rounds=count)
    return Figures(
        tokens,
        name,
        seconds,
        measured=median(one.prefill["none"] / one.prefill[name] for one in ran),
        theoretical=ran[0].theoretical[name],
        select_share=median(one.select[name] / one.prefill[name] for one in ran),
        peak_mb=peak,
        rounds=count,
    )


def kept_rounds(file: Path | None) -> list[Round]:
    """Read the rounds that earlier calls wrote to the file."""
    if file is None or not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Round(**{**line, "setting": Setting(*line["setting"])}) for line in lines]


def table(rows: Sequence[Figures]) -> str:
    def cell(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    head = f"{'tokens':>6}  {'variant':<10}{'s':>9}{'x plain':>9}{'speed-up':>10}{'theory':>8}{'ratio':>7}"
    lines = [f"{head}{'select':>8}{'peak':>7}{'n':>4}"]
    lines += [
        f"{row.tokens:>6}  {row.variant:<10}{row.seconds:9.3f}{cell(row.times_plain, '.3f'):>9}"
        f"{cell(row.measured, '.2f'):>10}{cell(row.theoretical, '.2f'):>8}"
        f"{cell(row.efficiency, '.2f'):>7}{cell(row.select_share, '.1%'):>8}"
        f"{cell(row.peak_mb, '.0f'):>7}{row.rounds:4}"
        for row in rows
    ]
    return "\n".join(lines)
