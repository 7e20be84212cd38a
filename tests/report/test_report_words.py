"""Tests the words that went wrong most often on the report's page, in a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from helpers import make_result_folders
from helpers.chromium import opened
from helpers.make_result_folders import Made
from marathon_eval.report import sample_columns
from marathon_eval.report.addresses import address
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells

ROWS = [("the red fox runs", "the bed fox runs so"), ("a red hen", "a bed hen"), ("the end", "end")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of transcripts, and one of another task."""
    make_result_folders.write(Made(press="dart", ratio=0.5, rows={"gtzan": 4}), tmp_path)
    make_result_folders.write(Made(rows={"librispeech": len(ROWS)}), tmp_path)
    samples = next(tmp_path.rglob("samples_librispeech.jsonl"))
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row, (gold, heard) in zip(rows, ROWS, strict=True):
        row["target"], row["response"], row["status"], row["error"] = gold, heard, "ok", None
        for reading in row["readings"].values():
            reading["answer"] = heard
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = samples.with_name("results.json")
    found = json.loads(results.read_text())
    task = found["tasks"]["librispeech"]
    task["metrics"] = {task["headline"]["reading"]: {"wer": {"metric": "wer", "language": "en"}}}
    results.write_text(json.dumps(found))
    return tmp_path


def written(folder: Path) -> Path:
    file = folder / "report.html"
    file.write_text(render_page(make_report(read_cells([folder])), file))
    return file


def test_the_page_lists_the_words_that_went_wrong(browser: Browser, folder: Path) -> None:
    with opened(browser, written(folder)) as seen:
        page = seen.page
        page.evaluate("href => { location.hash = href; }", address(task="librispeech"))
        page.click("#s-words summary")
        words = page.locator("#s-words-out")
        expect(words.locator("h3")).to_have_text(["librispeech", "Replaced: 2", "Left out: 1", "Added: 1"])
        expect(words.locator("table").nth(0).locator("tbody tr")).to_have_text(["redbed2"])
        expect(words).to_contain_text("Of 9 words in all 3 scored rows of the run")
        page.select_option("#s-task", label="gtzan")
        expect(page.locator("#s-words")).to_be_hidden()
        assert seen.complaints == []
        assert seen.serious_faults() == []


def test_rows_that_are_too_many_for_a_page_are_told(
    browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_columns, "MOST_COUNTED_CHARS", 20)
    with opened(browser, written(folder)) as seen:
        page = seen.page
        page.evaluate("href => { location.hash = href; }", address(task="librispeech"))
        page.click("#s-words summary")
        expect(page.locator("#s-words-out")).to_contain_text("2 more rows are too long for this page")


def test_an_error_rate_of_one_is_shown_and_counted(browser: Browser, folder: Path) -> None:
    samples = next(folder.rglob("samples_librispeech.jsonl"))
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row, rate in zip(rows, (1.0, 0.5, 1.0), strict=True):
        for reading in row["readings"].values():
            reading["scores"] = {"wer": rate}
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with opened(browser, written(folder)) as seen:
        page = seen.page
        page.evaluate("href => { location.hash = href; }", address(task="librispeech"))
        expect(page.locator("#s-list .row").first).to_contain_text("graded 1 ")
        expect(page.locator("#s-figures")).to_contain_text("mean of the rows' scores 83.3")


def test_an_unanswered_transcript_counts_in_the_mean_as_it_does_in_the_score(
    browser: Browser, folder: Path
) -> None:
    samples = next(folder.rglob("samples_librispeech.jsonl"))
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row, rate in zip(rows, (0.5, 0.0, 1.0), strict=True):
        for reading in row["readings"].values():
            reading["scores"] = {"wer": rate}
            if rate == 1:
                reading["answer"] = None
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with opened(browser, written(folder)) as seen:
        page = seen.page
        page.evaluate("href => { location.hash = href; }", address(task="librispeech"))
        expect(page.locator("#s-figures")).to_contain_text("mean of the rows' scores 50.0")
        expect(page.locator("#s-figures")).to_contain_text("n = 3")
        page.click("#s-positions summary")
        along = page.locator("#s-positions-out")
        expect(along).to_contain_text(
            "55.6 errors per hundred of 9 in 3 transcripts: 2 substituted, 2 deleted, 1 inserted"
        )
        page.select_option("#s-outcome", label="unanswered")
        expect(page.locator("#s-figures")).to_contain_text("mean of the rows' scores 100.0")
        page.locator("#s-list .row").first.click()
        expect(page.locator("#s-detail")).to_contain_text("unanswered")
        assert seen.complaints == []
