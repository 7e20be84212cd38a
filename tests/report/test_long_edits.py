"""Tests the errors along transcripts that are too long for the page's own alignment, in Python and in a browser."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from jiwer import process_words
from playwright.sync_api import Browser, expect

from helpers import make_result_folders
from helpers.chromium import opened
from helpers.make_result_folders import Made
from marathon_eval.report import long_edits
from marathon_eval.report.addresses import address
from marathon_eval.report.gather import make_report
from marathon_eval.report.long_edits import LongEdits, edits_along
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells

WORDS = [f"word{number}" for number in range(900)]


def talk(seed: int, length: int) -> tuple[str, str]:
    """Return a text, and it with errors that grow towards its end and one long insertion."""
    noise = random.Random(seed)
    gold = noise.choices(WORDS, k=length)
    heard = [
        noise.choice(WORDS) if noise.random() < 0.4 * n / length else word for n, word in enumerate(gold)
    ]
    heard[length // 2 : length // 2] = ["more"] * 8
    return " ".join(gold), " ".join(heard)


def test_counts_are_jiwer_s() -> None:
    gold, heard = talk(1, 7000)
    *counts, runs = edits_along(gold, heard, "words")
    found = process_words(gold, heard)
    sums = [sum(counts[kind::4]) for kind in range(4)]
    assert sums == [7000, found.substitutions, found.deletions, found.insertions]
    assert runs == 1
    errors = [sum(counts[4 * part + 1 : 4 * part + 4]) / counts[4 * part] for part in range(10)]
    assert errors[0] < 0.05
    assert errors[9] > 0.3


@pytest.mark.parametrize(
    ("unit", "heard", "length"), [("words", "ABC dÉfg, more", 2), ("characters", "a-b-c dÉfgh", 7)]
)
def test_case_punctuation_and_marks_are_compared_as_on_the_page(unit: str, heard: str, length: int) -> None:
    *counts, _ = edits_along("ＡBC, de\u0301fg!", heard, unit)
    assert [sum(counts[kind::4]) for kind in range(4)] == [length, 0, 0, 1]


def test_only_what_the_page_cannot_align_is_aligned_and_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gold, heard = talk(2, 6000)
    short, _ = talk(3, 900)
    assert LongEdits("words").of(short, short) is None
    assert LongEdits("").of(gold, heard) is None
    edits = LongEdits("words", left=50_000_000)
    assert edits.of(gold, heard) is not None
    assert edits.of(gold, heard) is None
    monkeypatch.setattr(long_edits, "MOST_CELLS", 31_000_000)
    assert LongEdits("words").of(gold, heard) is None


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three transcripts of the second run, of which two are too long for the page; the first run has another task."""
    folder = tmp_path_factory.mktemp("long")
    make_result_folders.write(Made(rows={"gtzan": 4}), folder)
    make_result_folders.write(Made(press="dart", ratio=0.5, rows={"librispeech": 3}), folder)
    samples = next(folder.rglob("samples_librispeech.jsonl"))
    rewrite(samples)
    file = folder / "report.html"
    file.write_text(render_page(make_report(read_cells([folder])), file))
    return file


def rewrite(samples: Path) -> None:
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for number, row in enumerate(rows[:2]):
        row["target"], row["response"] = talk(number, 6000)
        for reading in row["readings"].values():
            reading["answer"] = row["response"]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_page_draws_errors_along_long_transcripts(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as seen:
        page = seen.page
        page.evaluate("href => { location.hash = href; }", address(task="librispeech", doc="0"))
        expect(page.locator("#s-detail .edits")).to_contain_text("of 6000 words")
        assert page.locator("#s-detail .tenths span").count() == 10
        expect(page.locator("#s-a")).to_have_value(
            "1"
        )  # the first run that has the task of a link without one
        page.click("#s-positions summary")
        expect(page.locator("#s-positions-out")).to_contain_text("in 3 transcripts")
        page.select_option("#b-run", "1")
        page.select_option("#b-task", label="librispeech")
        expect(page.locator("#b-out")).to_contain_text("By clip duration")
        expect(page.locator("#b-out")).to_contain_text("mean of the rows' wer")
        pairs = [talk(seed, 700) for seed in range(6)]
        for gold, heard in pairs:
            shown = page.evaluate(
                "([gold, heard]) => { const found = editsOf(gold, heard, 'words');"
                " return [tenthsOf([found]).flatMap((s) => [s.n, s.s, s.d, s.i]), insertedRuns(found.steps).length]; }",
                [gold, heard],
            )
            assert (*shown[0], shown[1]) == edits_along(gold, heard, "words")
        assert seen.complaints == []


def test_transcripts_too_long_for_any_alignment_are_counted(
    browser: Browser, page_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_edits, "MOST_CELLS", 31_000_000)
    file = page_file.with_name("none.html")
    file.write_text(render_page(make_report(read_cells([page_file.parent])), file))
    with opened(browser, file) as seen:
        page = seen.page
        page.evaluate("href => { location.hash = href; }", address(task="librispeech", doc="0"))
        expect(page.locator("#s-detail")).to_contain_text("too long to be aligned here")
        page.click("#s-positions summary")
        expect(page.locator("#s-positions-out")).to_contain_text(
            "2 transcripts are too long to be aligned here"
        )
