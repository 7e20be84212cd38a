"""Tests the figure of what presses cost: it draws the paired differences that sweep.json holds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from marathon_eval.errors import MarathonError
from marathon_eval.report.cost import PressCost, sweep_costs
from marathon_eval.report.cost_table import costs_latex, costs_markdown
from marathon_eval.report.plots import cost_by_task
from marathon_eval.report.runs import ReportRun
from marathon_eval.results.directions import LOWER_NOTE


def entry(points: float | None, ci95: list[float] | None) -> dict[str, Any]:
    metric = {"difference": points, "ci95": ci95}
    headline = {"reading": "strict", "metric": "accuracy", "scale": 100.0}
    return {"difference": {"headline": headline, "readings": {"strict": {"metrics": {"accuracy": metric}}}}}


SWEEP: dict[str, Any] = {
    "cells": [
        {"label": "none", "press": None, "ratio": None},
        {"label": "dart 0.9 K=3", "press": "dart", "ratio": 0.9},
        {"label": "dart 0.3 K=3", "press": "dart", "ratio": 0.3},
        {"label": "knorm 0.3", "press": "knorm", "ratio": 0.3},
    ],
    "tasks": {
        "gtzan": {
            "none": {"difference": None},
            "dart 0.9 K=3": entry(-0.25, [-0.5, 0.0]),
            "dart 0.3 K=3": entry(0.0, None),
            "knorm 0.3": entry(None, None),
        }
    },
}


def runs(folder: Path, sweep: Any = SWEEP) -> list[ReportRun]:
    (folder / "sweep.json").write_text(sweep if isinstance(sweep, str) else json.dumps(sweep))
    run = SimpleNamespace(
        folders={"gtzan": folder / "nano_dart-0.3__00000000" / "2026-01-01T00-00-00"},
        fingerprint_sha256="0",
        tasks={},
    )
    return [cast("ReportRun", run)]


def test_costs_are_the_headlines_differences_by_press_and_rising_ratio(tmp_path: Path) -> None:
    assert sweep_costs(runs(tmp_path)) == {
        "gtzan": {"dart K=3": (PressCost(0.3, 0.0, None, None), PressCost(0.9, -25.0, -50.0, 0.0))}
    }


def test_a_star_needs_an_interval_without_0_whatever_the_sign_of_the_scale(tmp_path: Path) -> None:
    cell = entry(0.25, [-0.125, 0.5])
    cell["difference"]["headline"]["scale"] = -100
    (cost,) = sweep_costs(runs(tmp_path, {**SWEEP, "tasks": {"gtzan": {"knorm 0.3": cell}}}))["gtzan"][
        "knorm"
    ]
    assert (cost.points, cost.low, cost.high, cost.starred) == (-25.0, -50.0, 12.5, False)


def test_the_papers_table_marks_what_is_certain_and_what_is_best() -> None:
    costs = {
        "gtzan": {
            "dart": (PressCost(0.5, -4.0, -6.5, -1.5),),
            "knorm": (PressCost(0.5, -1.0, -3.0, 1.0), PressCost(0.9, -9.0, None, None)),
        }
    }
    lines = costs_latex(costs).splitlines()
    assert r"dart & 0.5 & $-$4.0$^{*}$ [$-$6.5, $-$1.5] \\" in lines
    assert r"knorm & 0.5 & \textbf{$-$1.0} [$-$3.0, +1.0] \\" in lines
    assert r"knorm & 0.9 & $-$9.0 \\" in lines, "the only press of its ratio is not the best of several"
    assert costs_latex({}) == costs_markdown({}) == ""
    markdown = costs_markdown(costs).splitlines()
    assert r"| dart | 0.5 | -4.0\* [-6.5, -1.5] |" in markdown
    assert "| knorm | 0.5 | **-1.0** [-3.0, +1.0] |" in markdown


def test_the_papers_table_has_the_numbers_of_documents() -> None:
    same = (PressCost(0.3, -1.0, None, None, n=24), PressCost(0.5, -2.0, None, None, n=24))
    fewer = (PressCost(0.3, -1.0, None, None, n=24), PressCost(0.5, -2.0, None, None, n=20))
    costs = {"gtzan": {"dart": same}, "desed": {"dart": fewer}}
    markdown = costs_markdown(costs).splitlines()
    assert "| press | ratio | gtzan (n=24) | desed |" in markdown
    assert "| dart | 0.5 | -2.0 | -2.0 n=20 |" in markdown
    assert r"press & ratio & gtzan (n=24) & desed \\" in costs_latex(costs).splitlines()


def test_equal_presses_are_not_bold_and_of_error_rates_the_lowest_is_best() -> None:
    def at(points: float, falls: bool) -> tuple[PressCost, ...]:
        return (PressCost(0.5, points, None, None, falls=falls),)

    costs = {
        "gtzan": {"dart": at(-1.0, False), "knorm": at(-1.0, False)},
        "librispeech": {"dart": at(2.0, True), "knorm": at(5.0, True)},
    }
    markdown = costs_markdown(costs)
    assert "| press | ratio | gtzan | librispeech ↓ |" in markdown
    assert "| dart | 0.5 | -1.0 | **+2.0** |" in markdown
    assert "| knorm | 0.5 | -1.0 | +5.0 |" in markdown
    assert "↓ lower is better." in markdown
    latex = costs_latex(costs)
    assert r"librispeech $\downarrow$ \\" in latex
    assert r"dart & 0.5 & $-$1.0 & \textbf{+2.0} \\" in latex


def test_where_lower_is_better_the_head_is_marked_and_the_least_rise_is_best() -> None:
    costs = {
        "slue": {
            "dart": (PressCost(0.5, 4.0, 1.5, 6.5, falls=True),),
            "knorm": (PressCost(0.5, 1.0, -1.0, 3.0, falls=True),),
        },
        "gtzan": {"dart": (PressCost(0.5, -4.0, None, None),)},
    }
    markdown = costs_markdown(costs)
    assert markdown.splitlines()[2] == "| press | ratio | slue ↓ | gtzan |"
    assert r"| dart | 0.5 | +4.0\* [+1.5, +6.5] | -4.0 |" in markdown
    assert "| knorm | 0.5 | **+1.0** [-1.0, +3.0] | -- |" in markdown
    assert LOWER_NOTE in markdown
    latex = costs_latex(costs)
    assert r"press & ratio & slue $\downarrow$ & gtzan \\" in latex
    assert LOWER_NOTE in latex
    assert [axes.get_title() for axes in cost_by_task(costs).axes][:2] == ["slue ↓", "gtzan"]


def test_a_star_follows_the_corrected_p_where_there_is_one(tmp_path: Path) -> None:
    assert PressCost(0.5, -4.0, -6.5, 1.5, holm_p=0.01).starred
    assert not PressCost(0.5, -4.0, -6.5, -1.5, holm_p=0.2).starred
    assert PressCost(0.5, -4.0, -6.5, -1.5).starred
    tested = entry(-0.25, [-0.5, 0.0])
    tested["difference"]["readings"]["strict"]["discordance"] = {"holm_p": 0.03}
    sweep = {**SWEEP, "tasks": {"gtzan": {"dart 0.9 K=3": tested}}}
    assert sweep_costs(runs(tmp_path, sweep))["gtzan"]["dart K=3"][0].holm_p == 0.03


def test_only_the_cells_that_were_named_are_shown(tmp_path: Path) -> None:
    cells = [{**cell, "fingerprint_sha256": str(place)} for place, cell in enumerate(SWEEP["cells"], -1)]
    (cost,) = sweep_costs(runs(tmp_path, {**SWEEP, "cells": cells}))["gtzan"]["dart K=3"]
    assert cost.ratio == 0.9


def test_runs_of_no_sweep_have_none(tmp_path: Path) -> None:
    cells = runs(tmp_path)
    (tmp_path / "sweep.json").unlink()
    assert sweep_costs(cells) == {}


@pytest.mark.parametrize(
    ("sweep", "reason"),
    [
        ("{", "not readable as JSON"),
        ("[]", "the file: is missing"),
        ({"cells": [{"label": "x", "press": None, "ratio": "0.3"}], "tasks": {}}, "cells: 0: ratio"),
        ({**SWEEP, "tasks": {"gtzan": {"none": {"difference": 3}}}}, "tasks: gtzan: none: difference"),
    ],
)
def test_a_damaged_file_is_one_line_with_its_place(tmp_path: Path, sweep: Any, reason: str) -> None:
    with pytest.raises(MarathonError, match=f"sweep.json: {reason}"):
        sweep_costs(runs(tmp_path, sweep))


def test_presses_of_one_ratio_stand_side_by_side() -> None:
    series = {
        name: (PressCost(0.3, 0.0, -5.0, 5.0), PressCost(0.5, 0.0, -5.0, 5.0)) for name in ("dart", "fastv")
    }
    figure = cost_by_task({"gtzan": series})
    axes = figure.axes[0]
    first, second = [list(line.get_xdata()) for line in axes.lines[:2]]
    assert max(first[0], second[0]) < 0.4 < min(first[1], second[1])
    assert first[0] != second[0]
    assert [len(collection.get_segments()) for collection in axes.collections] == [2, 2]
