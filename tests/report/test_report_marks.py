"""Tests places in the clip on the report's page: what rows name by times, and gold and answered times along the clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
from playwright.sync_api import Browser, Locator, expect

from helpers.chromium import opened, wait_until
from helpers.minimal_task import write_task
from helpers.report_page_parser import parsed
from marathon_eval import simple_evaluate
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import read_samples

SECONDS = 10.0
HOSTILE = "<img src=x onerror=hacked()>"
ROWS: list[dict[str, Any]] = [
    {
        "q": "when does the bell ring?",
        "gold": "0:02 - 0:04",
        "path": "a.wav",
        "bell_start": 2.0,
        "bell_stop": "4.0",
        "other_starts": [1, 9.5],
        "words": [{"start": 5, "end": 5.5, "word": HOSTILE}, {"start": 6, "stop": 7, "word": "two"}],
    },
    {
        "q": "and here?",
        "gold": "0:08 - 0:09",
        "path": "a.wav",
        "bell_start": 8,
        "bell_stop": 9,
        "other_starts": [],
    },
]
TASK = """doc_to_text: q
doc_to_target: gold
gold_is: any_text
doc_to_audio: path
breakdown: q
sample_fields: [bell_start, bell_stop, other_starts, words]
filter_list: [{name: strict, filter: [{function: take_first}]}]
metric_list: [{metric: interval_iou, name: overlap}]
headline: {reading: strict, metric: overlap, scale: 100}
"""
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marked")
    soundfile.write(folder / "a.wav", [0.1, -0.1] * round(4000 * SECONDS), 8000)
    task = write_task(folder, TASK, ROWS)
    answer = {"answer": "From 0:03 to 0:05."}
    simple_evaluate(
        "dummy", [str(task)], answer, data_dir=str(folder), no_cache=True, output_path=str(folder / "runs")
    )
    return folder / "runs"


def places(track: Locator) -> list[tuple[str | None, float, float]]:
    """Return each bar's class, and its left edge and width in seconds of the clip."""
    return [
        (
            bar.get_attribute("class"),
            *(
                SECONDS / 100 * percent
                for percent in bar.evaluate(
                    "bar => [parseFloat(bar.style.left), parseFloat(bar.style.width)]"
                )
            ),
        )
        for bar in track.locator("i").all()
    ]


def test_samples_keep_the_fields_that_a_task_names(runs: Path) -> None:
    (cell,) = read_cells([runs])
    first, second = read_samples(cell.folders["own"], "own")
    assert first["fields"] == {
        name: ROWS[0][name] for name in ("q", "bell_start", "bell_stop", "other_starts", "words")
    }
    assert second["fields"]["words"] is None
    results = cell.tasks["own"]
    assert list(results.breakdown) == ["q"], "a kept field has no figures of its own"
    block = parsed(runs).tasks()["own"]
    assert sorted(block["times"].values()) == [[[2.0, 4.0]], [[3.0, 5.0]], [[8.0, 9.0]]]


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_marks_lie_along_the_clip(browser: Browser, runs: Path, width: int, scheme: str) -> None:
    file = runs / "report.html"
    file.write_text(
        render_page(make_report(read_cells([runs])), file, False, 200_000, [str(runs.parent)]),
        encoding="utf-8",
    )
    with opened(browser, file, width, scheme) as seen:
        page = seen.page
        page.click("#s-row-0")
        tracks = page.locator("#s-detail .track")
        expect(tracks).to_have_count(5)
        bell, other, words, gold, answer = tracks.all()
        assert places(bell) == [("", pytest.approx(2.0), pytest.approx(2.0))]
        assert places(other) == [("", pytest.approx(1.0), 0.0), ("", pytest.approx(9.5), 0.0)]
        assert [place[1] for place in places(words)] == pytest.approx([5.0, 6.0])
        assert places(gold) == places(bell)
        assert places(answer) == [
            ("other", pytest.approx(2.0), pytest.approx(2.0)),
            ("", pytest.approx(3.0), pytest.approx(2.0)),
        ]
        assert HOSTILE in (words.get_attribute("aria-label") or "")
        page.get_by_role("button", name="Play bell from 0:02.0").click()
        wait_until(page, "document.querySelector('#s-detail audio').currentTime >= 2")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.serious_faults() == []
        page.click("#s-row-1")
        expect(tracks).to_have_count(3)
        assert page.locator("#b-out").inner_text().count("bell_start") == 0
        assert seen.complaints == []
        assert seen.outside == []
