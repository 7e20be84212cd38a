"""Tests accuracy by two columns of numbers."""

from __future__ import annotations

from typing import Any

import pytest

from marathon_eval.report.crossed import Crossed
from marathon_eval.report.crossed import crossed as crossed_by
from marathon_eval.report.crossed_plot import crossed_plot


def crossed(rows: list[tuple[dict[str, Any], bool]]) -> Crossed | None:
    return crossed_by(rows, ("length", "depth"))


def rows(*values: tuple[Any, Any, bool]) -> list[tuple[dict[str, Any], bool]]:
    return [({"kind": "dog", "length": length, "depth": depth}, right) for length, depth, right in values]


def test_cells_count_right_rows_in_the_order_of_the_numbers() -> None:
    found = crossed(
        rows(("300", 0, True), ("5", 0, False), ("5", 50, True), ("300", 0, False), ("5", 0, True))
    )
    assert found is not None
    assert (found.x, found.y, found.xs, found.ys) == ("length", "depth", ("5", "300"), ("0", "50"))
    assert found.cells == (((1, 2), (1, 2)), ((1, 1), (0, 0)))


@pytest.mark.parametrize("odd", ["long", None, True, "nan", float("inf"), "1" * 400])
def test_a_column_with_anything_but_numbers_has_no_axis(odd: Any) -> None:
    assert crossed(rows((5, 0, True), (60, 50, True), (odd, 0, True))) is None


def test_a_column_with_one_value_or_with_many_has_no_axis() -> None:
    assert crossed(rows((5, 0, True), (5, 50, True))) is None
    assert crossed(rows(*((n, n % 2, True) for n in range(31)))) is None
    assert crossed([]) is None


def test_only_columns_of_the_breakdown_have_axes() -> None:
    kept = [({"event_start": n, "event_stop": n + 1, "depth": n % 2}, True) for n in range(4)]
    assert crossed_by(kept, ()) is None
    assert crossed_by(kept, ("depth",)) is None


def test_a_long_title_is_wrapped_and_not_cut() -> None:
    found = crossed(rows((5, 0, True), (60, 50, True)))
    assert found is not None
    title = "talks_pos, qwen_omni (windows of 600 s, vote)"
    figure = crossed_plot("talks_pos", {"qwen_omni (windows of 600 s, vote)": found})
    shown = figure.axes[0].get_title()
    assert shown.replace("\n", " ") == title
    figure.canvas.draw()
    assert figure.axes[0].title.get_window_extent().width < figure.bbox.width
