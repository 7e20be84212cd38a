"""Names what the rows of a leaderboard can be chosen by: model, press, condition, seed, and settings in which runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from marathon_eval.report.leaderboard import LeaderboardRow
from marathon_eval.report.runs import ReportRun
from marathon_eval.report.tables import one_line
from marathon_eval.results.label import label_words
from marathon_eval.results.run_labels import differing_settings, setting_text

#: The facet that tells runs from published results, and its values by the kind of a row.
SHOWN, KINDS = "results", {"run": "runs", "published": "published", "reference": "references"}
#: A facet with more values is none: its list would be no shorter than the table.
MOST_FACET_VALUES = 60


class Facet(NamedTuple):
    """Holds a name and the values of it that occur, in order."""

    name: str
    values: tuple[str, ...]


class BoardFacets(NamedTuple):
    """Holds the facets of a leaderboard, and the values of each row by its kind and name."""

    facets: tuple[Facet, ...]
    by_row: Mapping[tuple[str, str], Mapping[str, str]]


def board_facets(rows: Sequence[LeaderboardRow], cells: Sequence[ReportRun]) -> BoardFacets:
    """Return the facets with at least two values in these rows. Published rows have one facet: that they are published."""
    of_runs = {cell.label: run_facets(cell, cells) for cell in cells}
    by_row = {
        (row.kind, row.name): {SHOWN: KINDS[row.kind], **(of_runs[row.name] if row.kind == "run" else {})}
        for row in rows
    }
    values: dict[str, dict[str, None]] = {}
    for found in by_row.values():
        for name, value in found.items():
            values.setdefault(name, {})[value] = None
    facets = [Facet(name, tuple(sorted(found, key=_natural))) for name, found in values.items()]
    return BoardFacets(
        tuple(facet for facet in facets if 2 <= len(facet.values) <= MOST_FACET_VALUES), by_row
    )


def run_facets(cell: ReportRun, cells: Sequence[ReportRun]) -> dict[str, str]:
    """Return a run's value of each facet; a setting is one if runs of the same model differ in it."""
    condition = None if cell.condition is None else {k: v for k, v in cell.condition.items() if k != "seed"}
    press: Mapping[str, Any] = cell.fingerprint.get("press") or {}
    facets = {
        "model": str(cell.fingerprint["model"]),
        "press": cell.press or "no press",
        "ratio": f"{cell.ratio:g}",
        "condition": ", ".join(label_words(condition, {})) or "tasks as they are",
        "selection": ", ".join(label_words({}, cell.selection)) or "all rows",
        "seed": str((cell.condition or {}).get("seed", 0)),
        "started": cell.started[:10],
    }
    for key in differing_settings(cell.model, [other.fingerprint for other in cells]):
        # a setting that nobody gave is in no fingerprint
        of_model = setting_text(cell.fingerprint[key]) if key in cell.fingerprint else "not set"
        for name, text in ((key, of_model), (f"press {key}", setting_text(press.get(key)))):
            if text is not None:
                facets.setdefault(name, text)
    return {one_line(name): one_line(value) for name, value in facets.items()}


def _natural(value: str) -> tuple[int, float, str]:
    """Return a key that puts numbers first, by size, and then texts."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
