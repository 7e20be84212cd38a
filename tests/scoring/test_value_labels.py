"""Tests that a breakdown keeps null, true and false apart from texts that look like them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from helpers.chromium import opened
from helpers.minimal_task import write_task
from marathon_eval import simple_evaluate
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells
from marathon_eval.scoring.value_labels import value_key, value_labels

KEYS = """doc_to_text: q
doc_to_target: a
filter_list:
  - {name: said, filter: [{function: take_first}]}
metric_list: [{metric: accuracy}]
headline: {reading: said, metric: accuracy, scale: 100}
breakdown: [g]
"""
VALUES = [None, "None", "none", True, "True", False, 1, "1", [1]]
COUNTS = {
    "None (null)": 1,
    "None": 1,
    "none": 1,
    "True (true)": 1,
    "True": 1,
    "False": 1,
    "1": 2,
    "[1]": 1,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose column `g` has each of VALUES three times."""
    folder = tmp_path_factory.mktemp("values")
    rows = [{"q": f"{i}?", "a": "xy"[i % 2], "g": value} for i, value in enumerate(VALUES * 3)]
    path = write_task(folder, KEYS, rows)
    simple_evaluate("dummy", [str(path)], {"answer": "x"}, no_cache=True, output_path=str(folder / "out"))
    return folder / "out"


def names(values: list[Any], null: str = "None") -> list[str]:
    keys = [value_key(value) for value in values]
    return [value_labels(keys, null)[key] for key in keys]


def test_words_say_what_they_are_only_beside_a_text_that_looks_alike() -> None:
    assert names([None, True, False, 0, 1.5, "a"]) == ["None", "True", "False", "0", "1.5", "a"]
    assert names([None, "None"]) == ["None (null)", "None"]
    assert names([None, "None"], "none") == ["none", "None"]
    assert names([False, "False", True]) == ["False (false)", "False", "True"]
    assert names([1, "1"]) == ["1", "1"]


def test_a_breakdown_counts_each_value_alone(run: Path) -> None:
    results = json.loads(next(run.rglob("results.json")).read_text())
    breakdown = results["tasks"]["own"]["breakdown"]["g"]
    assert {name: part["n"] for name, part in breakdown.items()} == {
        name: 3 * n for name, n in COUNTS.items()
    }


def test_the_report_counts_as_the_results_do_and_opens_as_many_rows(run: Path, browser: Browser) -> None:
    file = run / "report.html"
    file.write_text(render_page(make_report(read_cells([run])), file), encoding="utf-8")
    with opened(browser, file) as seen:
        page = seen.page
        expect(page.locator("#b-out")).to_contain_text("By g")
        heading = page.get_by_role("heading", name="By g", exact=True)
        rows = page.locator("#b-out .parts > *", has=heading).locator("tr", has=page.locator("a"))
        shown = {row.locator("td,th").first.inner_text(): row.locator("a") for row in rows.all()}
        assert {name: int(link.inner_text()) for name, link in shown.items()} == {
            name: 3 * n for name, n in {**COUNTS, "none (null)": 1}.items() if name != "None (null)"
        }
        links = [(link.inner_text(), link.get_attribute("href")) for link in shown.values()]
        for count, href in links:
            page.evaluate("href => { location.hash = href; }", href)
            expect(page.locator("#s-count")).to_contain_text(f"{count} of")
