"""Tests the way from a number of the report to its rows, in a browser: links, conditions, groups, intervals, files."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from jiwer import process_words
from playwright.sync_api import Browser, Page, expect

from helpers import make_result_folders
from helpers.chromium import Opened, opened
from helpers.make_result_folders import Made
from marathon_eval.report.addresses import address
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import write_run
from marathon_eval.scoring.intervals import metric_interval, paired, paired_interval
from marathon_eval.scoring.stats import sign_flip

ROWS = {"gtzan": 30, "librispeech": 6}
FAILED = 4
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with clips; the second one has failures of two reasons, options, and a judge's texts."""
    folder = tmp_path_factory.mktemp("drilled")
    for task, count in ROWS.items():
        (folder / "audio" / task).mkdir(parents=True)
        for doc_id in range(count):
            soundfile.write(folder / "audio" / task / f"{doc_id:05}.wav", [0.1, -0.1] * 4000, 8000)
    audio = str(folder / "audio")
    make_result_folders.write(Made(rows=ROWS, audio_root=audio), folder)
    run = make_result_folders.fabricate(Made(press="dart", ratio=0.5, skill=0.4, rows=ROWS, audio_root=audio))
    samples = {task: list(rows) for task, rows in run.samples.items()}
    for place in range(FAILED):
        error = f"cannot read /data/{place}.wav" if place else "out of memory"
        samples["gtzan"][place] = replace(
            samples["gtzan"][place], status="error", error=error, readings={}, response=None
        )
    samples["gtzan"][10] = replace(
        samples["gtzan"][10],
        choices=["a long first option", "می‌خواهم 👩‍🔬"],
        letters=["A", "B"],
        judge={"quality": [["first try", "8 of 10"]]},
    )
    (folder / "pressed").mkdir()
    result = run.tasks["gtzan"]
    n_errors = sum(sample.status == "error" for sample in samples["gtzan"])
    counted = replace(result, n_errors=n_errors, n_scored=ROWS["gtzan"] - n_errors)
    tasks = {**run.tasks, "gtzan": counted}
    write_run(replace(run, samples=samples, tasks=tasks), folder / "pressed")
    file = folder / "report.html"
    file.write_text(render_page(make_report(read_cells([folder])), file), encoding="utf-8", errors="replace")
    return file


def labels_of(page: Page) -> list[str]:
    return page.locator("#s-a option").all_inner_texts()


@pytest.mark.parametrize(("width", "scheme"), [(800, "light"), (1400, "dark")])
def test_three_clicks_lead_from_a_score_to_its_sound(
    browser: Browser, page_file: Path, width: int, scheme: str
) -> None:
    with opened(browser, page_file, width, scheme) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#leaderboard td a").first.click()
        page.click("#s-row-2")
        expect(page.locator("#s-detail audio")).to_have_js_property("duration", 1.0)
        page.locator("#s-detail audio").evaluate("player => player.play()")
        expect(page.locator("#s-detail audio")).to_have_js_property("paused", False)
        assert seen.serious_faults() == []
        assert_quiet(seen)


def test_a_link_brings_a_view_back(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.select_option("#s-b", "1")
        page.select_option("#s-task", label="gtzan")
        page.select_option("#s-outcome", "lost")
        page.select_option("#s-by", "f.source")
        page.click("#s-row-1")
        count, heading = page.inner_text("#s-count"), page.inner_text("#s-detail h3 >> nth=0")
        link = page.evaluate("location.href")
        page.goto("about:blank")
        page.goto(link)
        page.wait_for_selector("#s-row-0")
        expect(page.locator("#s-count")).to_have_text(count)
        expect(page.locator("#s-detail h3").first).to_have_text(heading)
        expect(page.locator("#s-groups table")).to_be_visible()
        expect(page.locator("#s-row-1")).to_have_attribute("aria-selected", "true")
        assert_quiet(seen)


def test_an_open_sample_stays_open_beside_a_second_run(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, 1400) as seen:
        page = seen.page
        page.select_option("#s-task", label="gtzan")
        page.click("#s-row-3")
        expect(page.locator("#s-detail .answer")).to_have_count(1)
        heading = page.locator("#s-detail h3").first.inner_text()
        page.select_option("#s-b", index=2)
        expect(page.locator("#s-detail .answer")).to_have_count(2)
        assert page.locator("#s-detail h3").first.inner_text() == heading
        assert "doc=3" in page.url
        expect(page.locator("#s-row-3")).to_have_attribute("aria-selected", "true")
        page.fill("#s-search", "no row has this text")
        expect(page.locator("#s-detail")).to_have_text("Choose a sample.")
        assert "doc=" not in page.url
        assert_quiet(seen)


def test_a_clip_plays_on_while_rows_are_filtered(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, 1400) as seen:
        page = seen.page
        page.select_option("#s-task", label="gtzan")
        page.click("#s-row-3")
        page.locator("#s-detail audio").evaluate("player => { player.loop = true; return player.play(); }")
        page.select_option("#s-sort", "worst")
        expect(page.locator("#s-list [aria-selected=true]")).to_contain_text("#3")
        expect(page.locator("#s-detail audio")).to_have_js_property("paused", False)
        assert_quiet(seen)


def test_the_number_of_failed_rows_opens_them(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, 1400) as seen:
        link = seen.page.locator("#leaderboard small a", has_text="failed")
        count = int(link.inner_text().split()[0])
        assert count >= FAILED
        link.click()
        expect(seen.page.locator("#s-count")).to_contain_text(f"{count} of")
        assert_quiet(seen)


def test_a_run_is_not_compared_with_itself(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, 1400) as seen:
        page = seen.page
        page.select_option("#s-b", index=2)
        page.select_option("#s-a", index=1)
        expect(page.locator("#s-b")).to_have_value("")
        assert page.locator("#s-b option:disabled").all_inner_texts() == [labels_of(page)[1]]
        assert_quiet(seen)


def test_a_point_of_a_curve_opens_its_run(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        points = page.locator("#ratio .figure svg a")
        assert points.count() >= 2
        assert "dart" in (points.last.get_attribute("aria-label") or "")
        points.last.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#s-a")).to_have_value("1")


def test_failures_stand_first_and_open_their_rows(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        reasons = page.locator("#failures li")
        expect(reasons.filter(has_text="cannot read")).to_contain_text(f"{FAILED - 1}×")
        reasons.filter(has_text="cannot read").locator("a").first.click()
        expect(page.locator("#s-count")).to_contain_text(f"{FAILED - 1} of")
        expect(page.locator("#s-conditions button")).to_have_count(1)
        page.click("#s-conditions button")
        expect(page.locator("#s-conditions button")).to_have_count(0)


def test_the_keyboard_alone_leads_to_the_sound(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.locator("#leaderboard td a").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#s-list")).to_be_focused()
        page.keyboard.press("End")
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        expect(page.locator("#s-detail audio")).to_have_js_property("paused", False)
        page.keyboard.press("/")
        expect(page.locator("#s-search")).to_be_focused()


def test_counts_of_the_breakdown_open_as_many_rows(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.select_option("#b-task", label="gtzan")
        links = page.locator("#b-out td a")
        assert links.count() > 8
        for place in range(links.count()):
            counted = int(links.nth(place).inner_text())
            page.evaluate("href => { location.hash = href; }", links.nth(place).get_attribute("href"))
            expect(page.locator("#s-count")).to_contain_text(f"{counted} of")


def test_options_judges_and_joiners_are_shown(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.evaluate(
            "href => { location.hash = href; }", address(run=labels_of(page)[1], task="gtzan", doc="10")
        )
        detail = page.locator("#s-detail")
        expect(detail).to_contain_text("A. a long first option")
        expect(detail).to_contain_text("می‌خواهم 👩‍🔬")
        expect(detail).to_contain_text("[quality, call 1, attempt 2]\n8 of 10", use_inner_text=True)


def test_the_selection_is_saved_whole(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.select_option("#s-task", label="gtzan")
        texts = {}
        for kind in ("csv", "json"):
            with page.expect_download() as saved:
                page.click(f"#s-{kind}")
            texts[kind] = Path(saved.value.path()).read_text(encoding="utf-8")
        rows = json.loads(texts["json"])
        lines = list(csv.DictReader(io.StringIO(texts["csv"])))
        assert len(rows) == len(lines) == ROWS["gtzan"]
        assert [row["response"] or "" for row in rows] == [line["response"] for line in lines]
        assert page.evaluate("csvCell('=1+1')") == "'=1+1"


def test_intervals_and_p_are_those_of_the_package(browser: Browser, page_file: Path) -> None:
    noise = random.Random(5)
    with opened(browser, page_file) as seen:
        for n, clips, rate in ((40, 40, 0.5), (200, 60, 0.8), (30, 7, 0.9), (12, 12, 1.0), (900, 300, 0.97)):
            first = [float(noise.random() < rate) for _ in range(n)]
            second = [value if noise.random() < 0.8 else 1.0 - value for value in first]
            clusters = [str(noise.randrange(clips)) if clips < n else str(place) for place in range(n)]
            shown = seen.page.evaluate(
                "([a, b, c]) => [estimate(a, c, true), difference(a, b, c, true), signFlip(a, b, c)]",
                [first, second, clusters],
            )
            assert_same(
                shown, *(np.array([[value, 1.0] for value in side]) for side in (first, second)), clusters
            )


def assert_same(shown: list[Any], first: Any, second: Any, clusters: list[str]) -> None:
    def share(sums: Any) -> Any:
        return sums[:, 0] / sums[:, 1]

    wanted = metric_interval(first, clusters, share, True, True).ci95
    assert shown[0][1:3] == pytest.approx(wanted, abs=2e-6)
    wanted = paired_interval(paired(first, second, clusters, share, True, True)).ci95
    assert shown[1][1:3] == pytest.approx(wanted, abs=2e-6)
    gains: dict[str, int] = {}
    for name, gain in zip(clusters, (second - first)[:, 0], strict=True):
        gains[name] = gains.get(name, 0) + int(gain)
    assert shown[2] == pytest.approx(sign_flip(gains.values()), rel=1e-9)


def test_words_are_aligned_as_jiwer_does(browser: Browser, page_file: Path) -> None:
    noise = random.Random(3)
    pairs = [
        [" ".join(noise.choices("abcde", k=noise.randrange(1, 40))) for _ in range(2)] for _ in range(150)
    ]
    with opened(browser, page_file) as seen:
        shown = seen.page.evaluate(
            "pairs => pairs.map(([gold, heard]) => editCounts(editsOf(gold, heard, 'words').steps))", pairs
        )
        for (gold, heard), counts in zip(pairs, shown, strict=True):
            found = process_words(gold, heard)
            wanted = found.hits, found.substitutions, found.deletions, found.insertions
            assert tuple(counts[kind] for kind in "=sdi") == wanted, (gold, heard)
        page = seen.page
        page.evaluate(
            "href => { location.hash = href; }",
            address(run=labels_of(page)[0], task="librispeech", sort="worst", doc="2"),
        )
        expect(page.locator("#s-detail .edits")).to_contain_text("of 380 words")
        assert page.locator("#s-detail .diff del").count() > 20
        scores = [float(text.split()[2]) for text in page.locator("#s-list .row").all_inner_texts()]
        assert scores == sorted(scores)
        page.click("#s-positions summary")
        expect(page.locator("#s-positions-out")).to_contain_text("6 transcripts")


def test_print_keeps_bars_and_texts(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, 800) as seen:
        page = seen.page
        page.emulate_media(media="print", color_scheme="dark")
        assert (
            page.locator(".bar i").first.evaluate("bar => getComputedStyle(bar).printColorAdjust") == "exact"
        )
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        expect(page.locator("#s-controls")).to_be_hidden()


def assert_quiet(seen: Opened) -> None:
    assert seen.complaints == []
    assert seen.outside == []
