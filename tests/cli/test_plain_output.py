"""Tests that names and answers from files cannot steer the terminal, whichever verb prints them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers.minimal_task import KEYS, write_task
from marathon_eval.cli.main import EXIT_WHOLE, main
from marathon_eval.cli.plain_output import escaped_output, plain_console, printable

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"


def test_every_control_character_is_escaped_and_text_stays() -> None:
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        kept = chr(code) in "\t\n"
        assert printable(chr(code)) == (chr(code) if kept else ascii(chr(code))[1:-1])
    assert printable("schön 日本語 עברית [bold] \\x1b") == "schön 日本語 עברית [bold] \\x1b"


def test_print_and_rich_escape_and_the_stream_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    before = sys.stdout
    with escaped_output():
        print("one", EVIL, end="!\n")
        sys.stdout.writelines([EVIL, "\n"])
        table = Table("name")
        table.add_row(EVIL)
        plain_console(width=200).print(table)
    assert sys.stdout is before
    out = capsys.readouterr().out
    assert out.count("owned") == 3
    assert out.startswith("one \\x1b]0;owned\\x07")
    assert [character for character in out if character != "\n" and printable(character) != character] == []


def test_colours_of_a_terminal_stay() -> None:
    import io

    console = plain_console(width=80, force_terminal=True, color_system="standard")
    console.file = io.StringIO()
    console.print("plain", style="bold")
    assert console.file.getvalue().startswith("\x1b[1mplain")


@pytest.fixture
def hostile_runs(tmp_path: Path) -> list[str]:
    """Return two runs whose results.json names a model, a metric and a press with control characters."""
    path = write_task(tmp_path, KEYS, [{"q": "What?", "a": f"a dog {number}"} for number in range(3)])
    folders = []
    for answer in ("a dog 1", "a dog 2"):
        out = tmp_path / answer[-1]
        flags = ["--model", "dummy", "--model_args", f"answer={answer}", "--tasks", str(path), "--no_cache"]
        assert main([*flags, "-o", str(out)]) == EXIT_WHOLE
        file = next(out.rglob("results.json"))
        results = json.loads(file.read_text())
        results["model"] = results["fingerprint"]["model"] = f"model{EVIL}"
        results["fingerprint"]["press"] = {"press": EVIL, "ratio": 0.5}
        task = results["tasks"]["own"]
        task["none"][f"metric{EVIL}"] = task["none"]["exact_match"]
        task["readings"].append(f"more{EVIL}")
        task[f"more{EVIL}"] = {"exact_match": {"value": 1.0, "ci95": None}}
        file.write_text(json.dumps(results))
        folders.append(str(file.parent))
    return folders


@pytest.mark.parametrize("verb", ["compare", "leaderboard", "leaderboard --markdown", "ls runs"])
def test_a_strangers_run_prints_no_control_character(
    hostile_runs: list[str], capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    capsys.readouterr()
    folders = [str(Path(hostile_runs[0]).parents[2])] if verb == "ls runs" else hostile_runs
    main([*verb.split(), *folders])
    out, err = capsys.readouterr()
    assert out or "error" in err
    assert [
        character for character in out + err if character != "\n" and printable(character) != character
    ] == []
