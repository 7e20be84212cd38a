"""Tests the blind comparison of two runs' answers on the report's page."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from helpers import make_result_folders
from helpers.chromium import opened
from helpers.make_result_folders import Made
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import write_run

RUNS = ("alpha", "beta")
N = 12
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs whose answers say which run gave them; the second failed at the last row."""
    folder = tmp_path_factory.mktemp("blind")
    for model in RUNS:
        run = make_result_folders.fabricate(Made(model=model, rows={"gtzan": N}))
        rows = [
            replace(row, response=f"{model[0]} says {row.doc_id}", status="ok", error=None)
            for row in run.samples["gtzan"]
        ]
        if model == "beta":
            rows[-1] = replace(rows[-1], status="error", error="out of memory", readings={}, response=None)
        (folder / model).mkdir()
        write_run(replace(run, samples={"gtzan": rows}), folder / model)
    file = folder / "report.html"
    file.write_text(render_page(make_report(read_cells([folder])), file), encoding="utf-8")
    return file


def answers(page: Page) -> list[str]:
    return page.locator("#s-detail .answer pre").all_inner_texts()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
def test_names_appear_after_the_choice(browser: Browser, page_file: Path, width: int, scheme: str) -> None:
    with opened(browser, page_file, width, scheme) as seen:
        page = seen.page
        button = page.locator("#s-blind")
        expect(button).to_be_disabled()
        page.select_option("#s-b", "1")
        page.evaluate("let n = 0; crypto.getRandomValues = (bytes) => { bytes[0] = n++; return bytes; }; 0")
        button.click()
        page.click("#s-row-0")
        detail = page.locator("#s-detail")
        expect(detail.locator(".answer h3")).to_have_text(["Answer 1", "Answer 2"])
        shown = detail.inner_text() + page.locator("#s-row-0").inner_text()
        assert not any(word in shown for word in (*RUNS, "right", "wrong", "gold", "Gold"))
        assert seen.serious_faults() == []
        preferred = answers(page)[0]
        page.get_by_role("button", name="Answer 1 is better (1)").click()
        expect(detail.locator(".answer h3 bdi")).to_have_text(list(RUNS))
        winner = RUNS[0] if preferred.startswith("a") else RUNS[1]
        expect(page.locator("#s-tally span")).to_contain_text(f"{winner} 1")
        # by keys alone: the next sample, alike; then always alpha
        page.focus("#s-list")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("0")
        expect(page.locator("#s-tally span")).to_contain_text("alike 1")
        orders = set()
        for _ in range(N - 3):
            page.keyboard.press("ArrowDown")
            place = next(i for i, text in enumerate(answers(page), 1) if text.startswith("a"))
            orders.add(place)
            page.keyboard.press(str(place))
        assert orders == {1, 2}, "the order is drawn for each sample anew"
        page.keyboard.press("ArrowDown")
        expect(detail).to_contain_text("One of the runs has no answer here")
        page.keyboard.press("1")
        expect(page.locator("#s-tally span")).to_contain_text(f"{N - 1} chosen")
        rows = saved(page, "CSV")
        assert [row["row"] for row in rows] == [str(n) for n in range(N - 1)]
        assert rows == [{name: str(value) for name, value in row.items()} for row in saved(page, "JSON")]
        assert rows[0]["preferred"] == winner
        assert rows[1]["preferred"] == "alike"
        assert {row["preferred"] for row in rows[2:]} == {"alpha"}
        button.click()
        page.click(f"#s-row-{N - 1}")
        expect(detail.locator(".answer h3 bdi")).to_have_text(list(RUNS))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.complaints == []
        assert seen.outside == []


def saved(page: Page, kind: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Choices as {kind}").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    if kind == "JSON":
        loaded: list[dict[str, str]] = json.loads(text)
        return loaded
    return list(csv.DictReader(io.StringIO(text)))
