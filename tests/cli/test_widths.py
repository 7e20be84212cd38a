"""Tests that no verb's table cuts a number or hides a column, in a terminal or pipe of any width."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from helpers.terminal_stream import Terminal
from marathon_eval.cli import fitted_table
from marathon_eval.cli.fitted_table import FittedTable
from marathon_eval.cli.main import main
from marathon_eval.cli.plain_output import plain_console
from marathon_eval.cli.terminal import print_run
from marathon_eval.cli.verbs.durations import print_durations
from marathon_eval.cli.verbs.sweep import print_sweep
from marathon_eval.corpus.audit.durations import Lengths, TimedFile, analysed
from marathon_eval.evaluator.sweep_cells import SweepCell
from marathon_eval.evaluator.sweep_table import SweepTable

ROWS = {"race": 400, "librispeech": 3, "air_bench_synthesized_voice": 40}
#: Two runs that differ, with names longer than a column.
PLAIN, PRESSED = Made(rows=ROWS), Made(rows=ROWS, press="dart", ratio=0.5, skill=0.4)
#: Wider than any table, which shows each of them as it is.
WIDE = 400
Verb = Callable[[], Any]


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verb]:
    """The printing half of every verb with a table, on the same two invented runs."""
    folder = tmp_path_factory.mktemp("runs")
    a, b = (make_result_folders.write(made, folder / name) for made, name in ((PLAIN, "a"), (PRESSED, "b")))
    run, pressed = make_result_folders.fabricate(PLAIN), make_result_folders.fabricate(PRESSED)
    table = SweepTable()
    for result, label, press in ((run, "none", None), (pressed, "dart 0.5", "dart")):
        model: Any = None
        table.add(SweepCell(label, press, PRESSED.ratio, model, model, "", {}), result, None)
    table.finish()
    summary = {**table.as_json(), "interrupted": False, "wall_s": 1.0}
    files = [TimedFile(f"{name}_{'long' * 8}", "x.wav", 1234.5 * n) for name in "ab" for n in range(1, 9)]
    return {
        "run": lambda: print_run(run),
        "run --readings all": lambda: print_run(run, every_reading=True),
        "sweep": lambda: print_sweep(table, summary, None, False),
        "compare": lambda: main(["compare", str(a), str(b), "--flips", "0"]),
        "durations": lambda: print_durations(analysed(Lengths(files, [])), False, False),
        "ls": lambda: main(["ls", "runs", str(folder)]),
    }


NAMES = ("run", "run --readings all", "sweep", "compare", "durations", "ls")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def printed_by(verb: Verb, terminal: bool = False, **env: str) -> str:
        with monkeypatch.context() as patch:
            for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
                patch.delenv(name, raising=False)
            patch.setenv("TERM", "xterm-256color")
            for name, value in env.items():
                patch.setenv(name, value)
            stream = Terminal(terminal)
            patch.setattr(sys, "stdout", stream)
            verb()
        return stream.getvalue()

    return printed_by


def tables(text: str) -> list[str]:
    """The lines of tables and blocks: not the sentences around them, which a terminal wraps at words."""
    return [
        line for line in text.splitlines() if re.match(r" (?! *$)(?!  ?\d+ failed)|\s*\w+ s +\d+  ", line)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [30, 80, 120, 200])
def test_every_number_and_heading_of_the_widest_is_in_the_narrow(
    verbs: dict[str, Verb], printed: Callable[..., str], name: str, width: int
) -> None:
    whole, narrow = (printed(verbs[name], COLUMNS=str(columns)) for columns in (WIDE, width))
    numbers = re.compile(r"(?<![\d.])[-+]?\d[\d.]*%?")
    for line in tables(whole):
        for word in numbers.findall(line):
            assert re.search(rf"(?<![\d.]){re.escape(word)}(?![\d])", narrow), (word, narrow)
    headings = next((line for line in tables(whole) if line.split()[:1] == ["task"]), "")
    if width > 30:  # there every row is a block, and an empty cell has no line
        assert all(word in narrow for word in re.split(r"\s{2,}", headings.strip())), narrow
        assert [line for line in tables(narrow) if len(line.rstrip()) > width and name != "ls"] == []
    assert "…" not in narrow


@pytest.mark.parametrize("name", NAMES)
def test_a_dumb_or_colourless_terminal_gets_the_same_text(
    verbs: dict[str, Verb], printed: Callable[..., str], name: str
) -> None:
    pipe = printed(verbs[name], COLUMNS="80")
    assert "\x1b" not in pipe
    assert printed(verbs[name], terminal=True, TERM="dumb", COLUMNS="80") == pipe
    colourless = printed(verbs[name], terminal=True, NO_COLOR="1", COLUMNS="80")
    assert re.search(r"\x1b\[[\d;]*3[0-7]", colourless) is None
    assert re.sub(r"\x1b\[[\d;]*m", "", colourless) == pipe


EIGHTY = """\
qwen_omni

  task         reading  metric           value        95 % CI  accuracy  chance
 ──────────────────────────────────────────────────────────────────────────────
  race         strict   accuracy *      0.7231  0.673 - 0.773
  librispeech  strict   wer_accuracy *  0.6991  0.649 - 0.749

more columns of the same rows:

  task         reading    n  coverage  parsed    time
 ────────────────────────────────────────────────────
  race         strict   390     97.5%   95.9%   7 min
  librispeech  strict     3    100.0%  100.0%  3.72 s

Not shown: readings paper (--readings all shows them).
"""


def test_a_run_at_eighty_columns(printed: Callable[..., str]) -> None:
    run = make_result_folders.fabricate(Made(rows={"race": 400, "librispeech": 3}))
    text = printed(lambda: print_run(run), COLUMNS="80")
    assert [line.rstrip() for line in text.splitlines()][:15] == EIGHTY.splitlines()


def test_wide_characters_and_broken_names_keep_the_columns(printed: Callable[..., str]) -> None:
    table = FittedTable(("task", "value"), 1, 1)
    table.add_row("日本語の長い課題の名前", "0.1234567")
    for width in (22, 40):
        text = printed(lambda columns=width: table.print(plain_console(width=columns)))
        assert "0.1234567" in text
        assert set("日本語の長い課題の名前") <= set(text)


def test_a_table_of_too_many_parts_becomes_blocks(printed: Callable[..., str]) -> None:
    table = FittedTable(("name", *(f"column {n}" for n in range(8))), 1, 1)
    table.add_row("first", *(str(n) * 9 for n in range(8)))
    text = printed(lambda: table.print(plain_console(width=24)))
    assert fitted_table.CONTINUED not in text
    assert "first\n  column 0: 000000000\n  column 1: 111111111\n" in text


@pytest.mark.parametrize("width", [80, 120])
def test_sentences_wrap_at_words_where_there_is_a_width_and_nowhere_else(
    verbs: dict[str, Verb], printed: Callable[..., str], width: int
) -> None:
    for name in ("run", "sweep"):
        whole = printed(verbs[name], COLUMNS=str(WIDE * 5)).splitlines()
        long_lines = [line for line in whole if len(line) > width and line == line.lstrip()]
        assert long_lines, "a sentence is longer than the terminal is wide"
        narrow = printed(verbs[name], terminal=True, TERM="dumb", COLUMNS=str(width))
        wrapped = [line for line in narrow.splitlines() if line == line.lstrip()]
        assert max(map(len, wrapped)) <= width
        words = " ".join(narrow.split())
        assert all(" ".join(line.split()) in words for line in long_lines), "broken between words alone"
        piped = printed(verbs[name]).splitlines()
        assert all(line in piped for line in long_lines)


def test_a_path_that_is_wider_than_the_terminal_stays_whole(printed: Callable[..., str]) -> None:
    path = "/somewhere/" + "deep/" * 20
    text = f"results of {path} are kept"
    shown = printed(lambda: fitted_table.print_sentences(fitted_table.table_console(40), text), COLUMNS="40")
    assert shown.split() == text.split()
