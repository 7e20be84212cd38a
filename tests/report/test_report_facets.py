"""Tests the facets of the report's leaderboard: which there are, what they hide, and their place in the address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from helpers import make_result_folders
from helpers.chromium import opened
from helpers.make_result_folders import Made
from marathon_eval.api.results import MetricValue
from marathon_eval.report.facets import board_facets
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import write_run

ROWS = {"gtzan": 8, "race": 8, "race~1": 8, "own_task": 8}
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven runs and the published rows: presses, ratios, a control, seeds, and a setting whose value is hostile."""
    folder = tmp_path_factory.mktemp("faceted")
    for number, made in enumerate(
        (
            Made(rows=ROWS),
            Made(rows=ROWS, press="dart", ratio=0.5),
            Made(rows=ROWS, press="dart", ratio=0.9),
            Made(rows=ROWS, press="random", ratio=0.5),
            Made(rows=ROWS, flags={"no_audio": "silence"}),
            Made(rows=ROWS, flags={"seed": 7}),
            Made(rows=ROWS, settings={"dtype": "<b>float16"}),
        )
    ):
        run = make_result_folders.fabricate(made)
        race = run.tasks["race"]
        by_chance = {name: {**values, "chance": MetricValue(0.25)} for name, values in race.readings.items()}
        tasks = {**run.tasks, "race": replace(race, readings=by_chance)}
        (folder / str(number)).mkdir()
        write_run(replace(run, tasks=tasks), folder / str(number))
    file = folder / "report.html"
    report = make_report(read_cells([folder]), with_published=True)
    file.write_text(render_page(report, file, with_published=True), encoding="utf-8")
    return file


def shown(page: Page) -> list[str]:
    return page.locator("#leaderboard .board").first.locator("tbody tr:visible th bdi").all_inner_texts()


def headings(page: Page) -> list[str]:
    texts = page.locator("#leaderboard .board").first.locator("thead th:visible").all_inner_texts()
    return [text.split("\n")[0] for text in texts]


def test_facets_are_what_rows_differ_in(page_file: Path) -> None:
    cells = read_cells([page_file.parent])
    report = make_report(cells, with_published=True)
    found = board_facets(report.board.rows, cells)
    named = {facet.name: facet.values for facet in found.facets}
    assert named["press"] == ("dart", "no press", "random")
    assert named["ratio"] == ("0", "0.5", "0.9")
    assert named["condition"] == ("silence", "tasks as they are")
    assert named["seed"] == ("0", "7")
    assert named["results"] == ("published", "references", "runs")
    assert named["dtype"] == ("<b>float16", "not set")
    assert "model" not in named, "all runs have one model"
    assert all(
        set(found.by_row["published", row.name]) == {"results"}
        for row in report.board.rows
        if row.kind == "published"
    )


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (800, "light")])
def test_rows_and_columns_are_chosen(browser: Browser, page_file: Path, width: int, scheme: str) -> None:
    with opened(browser, page_file, width, scheme) as seen:
        page = seen.page
        everything = shown(page)
        page.select_option("[data-facet=press]", "dart")
        page.select_option("[data-facet=results]", "runs")
        assert sorted(shown(page)) == ["qwen_omni dart 0.5", "qwen_omni dart 0.9"]
        assert page.locator("#leaderboard tr.reference:visible th").all_inner_texts() == ["chance"]
        expect(page.locator("#l-count")).to_have_text(f"2 of {len(everything)} rows shown")
        page.select_option("[data-facet=_columns]", "t:race")
        assert headings(page) == ["model", "SCR"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.serious_faults() == []
        page.click("#l-facets button")
        expect(page.locator("#l-count")).to_have_text("")
        assert shown(page) == everything
        assert "race~1" not in headings(page)
        assert "SCR~1" in headings(page)
        page.fill("[data-facet=_name]", "RANDOM")
        assert shown(page)[0] == "qwen_omni random 0.5"
        assert seen.complaints == []
        assert seen.outside == []


def test_the_address_keeps_the_facets_apart_from_the_samples(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.select_option("[data-facet=press]", "random")
        page.select_option("[data-facet=results]", "runs")
        link = page.evaluate("location.href")
        page.goto("about:blank")
        page.goto(link)
        page.wait_for_selector("#s-row-0")
        assert shown(page) == ["qwen_omni random 0.5"]
        assert page.evaluate("scrollY") == 0, "a link to a leaderboard opens it at its place"
        page.locator("#leaderboard tbody tr:visible td a").first.click()
        expect(page.locator("#s-list")).to_be_focused()
        assert shown(page) == ["qwen_omni random 0.5"]
        page.keyboard.press("ArrowDown")
        again = page.evaluate("location.hash")
        assert "lb.press=random" in again
        assert "doc=0" in again
