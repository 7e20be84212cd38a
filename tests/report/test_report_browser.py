"""Tests the report in a real browser: from disk, without network, at phone and desktop width, light and dark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect

from conftest import ROOT
from helpers import make_audiomarathon_data, make_result_folders
from helpers.chromium import Opened, opened
from helpers.hostile_run import hostile_run
from helpers.make_result_folders import Made
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import ReportRun, read_cells
from marathon_eval.results.files import read_samples, write_run

SCREENSHOTS = ROOT / "build" / "screenshots"
VIEWS = [(width, scheme) for width in (390, 1400) for scheme in ("light", "dark")]
ROWS = {"gtzan": 12, "race": 20}
# a machine that runs other tests too may take its time
expect.set_options(timeout=20_000)
#: Times the page's own filter, from the choice to the rows being there.
TIME_A_CHOICE = """([id, value]) => {
    const control = document.getElementById(id);
    control.value = value;
    const began = performance.now();
    filter();
    document.getElementById("s-list").getBoundingClientRect();
    return performance.now() - began;
}"""


def seconds_of(doc_id: int) -> float:
    """No two clips of a task are equally long: a player with a wrong clip shows."""
    return 1.0 + doc_id / 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page beside the results of two presses and the uncompressed run, with clips to play."""
    folder = tmp_path_factory.mktemp("browsed")
    for task, count in ROWS.items():
        (folder / "audio" / task).mkdir(parents=True)
        for doc_id in range(count):
            wave = [0.1, -0.1] * round(4000 * seconds_of(doc_id))
            soundfile.write(folder / "audio" / task / f"{doc_id:05}.wav", wave, 8000)
    audio = str(folder / "audio")
    make_result_folders.write(Made(rows=ROWS, audio_root=audio), folder)
    for press, ratio in (("dart", 0.5), ("dart", 0.9), ("random", 0.5)):
        make_result_folders.write(
            Made(press=press, ratio=ratio, skill=0.4, rows=ROWS, audio_root=audio), folder
        )
    return write_page(folder)


def write_page(folder: Path) -> Path:
    page = folder / "report.html"
    report = make_report(read_cells([folder]), with_published=True)
    page.write_text(render_page(report, page, with_published=True), encoding="utf-8", errors="replace")
    return page


def rows_of(cell: ReportRun) -> dict[tuple[str, int], dict[str, Any]]:
    return {
        (task, row["doc_id"]): row
        for task, folder in cell.folders.items()
        for row in read_samples(folder, task)
    }


def is_right(row: dict[str, Any]) -> bool:
    return row["status"] == "ok" and bool(row["readings"]["strict"]["scores"]["accuracy"])


def is_wrong(row: dict[str, Any]) -> bool:
    return row["status"] == "ok" and not is_right(row) and row["readings"]["strict"]["answer"] is not None


def expect_count(page: Page, count: int) -> None:
    assert count, "nothing to look for"
    expect(page.locator("#s-count")).to_have_text(f"{count} of {sum(ROWS.values())} samples")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_works(browser: Browser, made: Path, width: int, scheme: str) -> None:
    plain, pressed = (rows_of(cell) for cell in read_cells([made.parent])[:2])
    with opened(browser, made, width, scheme) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        photograph(page, f"top_{width}_{scheme}")
        assert seen.serious_faults() == []
        filter_and_search(page, plain)
        play(page)
        flips(page, plain, pressed)
        page.locator("#samples").scroll_into_view_if_needed()
        photograph(page, f"samples_{width}_{scheme}")
        assert seen.serious_faults() == []
        assert_alone(seen, made)


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def filter_and_search(page: Page, rows: dict[tuple[str, int], dict[str, Any]]) -> None:
    expect_count(page, len(rows))
    page.select_option("#s-outcome", "w")
    expect_count(page, sum(map(is_wrong, rows.values())))
    page.select_option("#s-task", label="race")
    expect_count(page, sum(is_wrong(row) for (task, _), row in rows.items() if task == "race"))
    page.select_option("#s-outcome", "all")
    page.select_option("#s-task", label="all tasks")
    page.fill("#s-search", "the ANSWER is")
    expect_count(page, sum("The answer is" in (row["response"] or "") for row in rows.values()))
    expect(page.locator("#s-row-0 .snippet")).to_contain_text("The answer is")
    page.fill("#s-search", "race/00007.wav")
    expect_count(page, 1)
    page.fill("#s-search", "")
    expect_count(page, len(rows))


def play(page: Page) -> None:
    page.select_option("#s-task", label="race")
    for place in (0, 3):
        page.click(f"#s-row-{place}")
        expect(page.locator("#s-detail h3").first).to_contain_text(f"race #{place}")
        player = page.locator("#s-detail audio")
        expect(player).to_have_js_property("duration", seconds_of(place))
        assert not (player.get_attribute("src") or "").startswith(("/", "file:"))
    page.select_option("#s-task", label="all tasks")


def flips(
    page: Page, before: dict[tuple[str, int], dict[str, Any]], after: dict[tuple[str, int], dict[str, Any]]
) -> None:
    page.select_option("#s-b", "1")
    page.select_option("#s-outcome", "lost")
    lost = [key for key, row in before.items() if is_right(row) and not is_right(after[key])]
    expect_count(page, len(lost))
    page.click("#s-row-0")
    task, doc_id = lost[0]
    expect(page.locator("#s-detail h3").first).to_contain_text(f"{task} #{doc_id}")
    shown = page.locator("#s-detail .answer")
    assert shown.count() == 2
    for card, row in enumerate((before[lost[0]], after[lost[0]])):
        wanted = row["response"] if row["status"] == "ok" else row["error"]
        expect(shown.nth(card).locator("pre").first).to_have_text(wanted)
    expect(shown.nth(0).locator(".o-r")).to_have_count(1)
    expect(shown.nth(1).locator(".o-r")).to_have_count(0)


def assert_alone(seen: Opened, page: Path) -> None:
    """No complaint, and nothing asked for but the page and clips beside it."""
    assert seen.complaints == []
    assert seen.outside == []
    assert page.as_uri() in seen.requests


def test_the_keyboard_moves_and_headings_sort(browser: Browser, made: Path) -> None:
    with opened(browser, made) as seen:
        page = seen.page
        page.focus("#s-list")
        for _ in range(3):
            page.keyboard.press("ArrowDown")
        expect(page.locator("#s-row-2")).to_have_attribute("aria-selected", "true")
        table = page.locator("#leaderboard table.sortable").first
        average = table.locator("thead button").last
        average.click()
        column = table.locator("tbody tr td:last-child").all_inner_texts()
        numbers = [float(text.split()[0]) for text in column if text[0].isdigit()]
        assert len(numbers) > 2
        assert numbers == sorted(numbers, reverse=True)
        assert_alone(seen, made)


def test_runs_without_a_score_are_sorted_below_the_others(browser: Browser, tmp_path: Path) -> None:
    for number, skill in enumerate((0.3, 0.5, 0.9)):
        folder = make_result_folders.write(
            Made(model=f"{number} m", skill=skill, rows={"gtzan": 60}), tmp_path
        )
        if number == 1:
            results = json.loads((folder / "results.json").read_text())
            task = results["tasks"]["gtzan"]
            task["strict"]["accuracy"] = {"value": None, "ci95": None}
            task["n_scored"], task["n_errors"] = 0, 60
            (folder / "results.json").write_text(json.dumps(results))
    page = tmp_path / "report.html"
    page.write_text(render_page(make_report(read_cells([tmp_path])), page))
    with opened(browser, page) as seen:
        table = seen.page.locator("#leaderboard table.sortable").first
        for names in (["2 m", "0 m", "1 m"], ["0 m", "2 m", "1 m"]):
            table.locator('th[data-task="gtzan"] button').click()
            expect(table.locator("tbody tr.run th bdi")).to_have_text(names)


def test_hostile_text_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    """What a run says tries `hacked()` everywhere: a call would be an error on the console."""
    hostile_run(tmp_path)
    make_result_folders.write(Made(model="tame", press="dart", ratio=0.5, rows={"gtzan": 5}), tmp_path)
    file = write_page(tmp_path)
    with opened(browser, file) as seen:
        seen.page.select_option("#s-b", "1")
        for place in (0, 1):
            seen.page.click(f"#s-row-{place}")
            expect(seen.page.locator("#s-detail")).to_contain_text("<script>hacked()</script></script><img")
        assert seen.page.locator("img, iframe, [onerror]").count() == 0
        assert_alone(seen, file)


def test_a_swapped_run_plays_the_clip_that_it_heard(browser: Browser, tmp_path: Path) -> None:
    """The run beside it keeps its own clip; what both were asked alike is shown once."""
    for number in range(8):
        wave = [0.1, -0.1] * round(4000 * seconds_of(number))
        soundfile.write(tmp_path / f"{number}.wav", wave, 8000)
    plain = make_result_folders.fabricate(Made(rows={"gtzan": 4}))
    swapped = make_result_folders.fabricate(Made(rows={"gtzan": 4}, flags={"swap_audio": True}))
    for run, shift in ((plain, 0), (swapped, 4)):
        rows = [
            replace(row, audio=[{**row.audio[0], "path": str(tmp_path / f"{n}.wav"), "sha256": f"{n}" * 64}])
            for n, row in enumerate(run.samples["gtzan"], shift)
        ]
        rows[1] = replace(rows[1], target="A" if shift else "B")
        (tmp_path / f"run{shift}").mkdir()
        write_run(replace(run, samples={"gtzan": rows}), tmp_path / f"run{shift}")
    with opened(browser, write_page(tmp_path)) as seen:
        page = seen.page
        player = page.locator("#s-detail audio")
        labels = page.locator("#s-a option").all_inner_texts()
        for run, shift in enumerate((0, 4)):
            assert ("swapped audio" in labels[run]) == bool(shift)
            page.select_option("#s-a", str(run))
            page.click("#s-row-1")
            expect(player).to_have_count(1)
            expect(player).to_have_js_property("duration", seconds_of(1 + shift))
        page.select_option("#s-a", "0")
        page.select_option("#s-b", "1")
        page.click("#s-row-1")
        expect(player).to_have_count(2)
        for place in (0, 1):
            expect(player.nth(place)).to_have_js_property("duration", seconds_of(1 + 4 * place))
            expect(page.get_by_text(f"Heard by {labels[place]}", exact=True)).to_be_visible()
            expect(page.get_by_text(f"Gold for {labels[place]}", exact=True)).to_be_visible()
        expect(page.get_by_text("Prompt and choices", exact=True)).to_be_visible()
        page.click("#s-row-0")
        expect(page.get_by_text("Gold", exact=True)).to_be_visible()
        page.fill("#s-search", "5.wav")
        expect(page.locator("#s-count")).to_have_text("1 of 4 samples")
        assert seen.complaints == []


@pytest.mark.slow
def test_a_filter_answers_within_200_ms_at_the_released_size(browser: Browser, tmp_path: Path) -> None:
    """6,567 documents and 37 cells."""
    make_result_folders.write_released_size(tmp_path, make_audiomarathon_data.NOMINAL)
    with opened(browser, write_page(tmp_path)) as seen:
        choices = [
            ("s-outcome", "w"),
            ("s-search", "river"),
            ("s-search", "zzzz"),
            ("s-search", ""),
            ("s-b", "36"),
            ("s-outcome", "r"),
            ("s-search", "it sounds like"),
            ("s-task", "3"),
        ]
        times = {choice: seen.page.evaluate(TIME_A_CHOICE, list(choice)) for choice in choices}
        assert max(times.values()) <= 200, times
