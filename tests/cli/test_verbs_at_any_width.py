"""Tests whole commands at 80, 120 and 200 columns, in a pipe, without colours and in a dumb terminal.

Verbs that only print lines look alike at every width; a test holds that each verb with a table is here or in test_widths.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from helpers.minimal_task import write_task
from helpers.terminal_stream import Terminal
from marathon_eval.cli.main import VERBS_FOLDER, main

#: Wider than any table, which shows each of them as it is.
WIDE = 600
KEYS = (
    "doc_to_text: q\ndoc_to_target: a\nbreakdown: kind\n"
    "filter_list:\n- {name: strict, filter: [{function: take_first}]}\n"
    "- {name: first_word, filter: [{function: regex, regex_pattern: '(\\w+)'}]}\n"
    "metric_list: [{metric: exact_match, filter_list: strict}, {metric: parse_rate, filter_list: first_word}]\n"
    "headline: {reading: strict, metric: exact_match, scale: 100}\n"
)
COMMANDS = {
    "run": "--model dummy -a answer=x -t TASK -c CACHE",
    "run --readings all": "--model dummy -a answer=x -t TASK -c CACHE --readings all",
    "run --dry_run": "--model dummy -a answer=x -t TASK -c CACHE --dry_run",
    "run -C SET": "-C SET",
    "score": "score RUN --include_path HOME",
    "show RUN": "show RUN",
    "show RUN --wrong": "show RUN --wrong",
    "show TASK ROW": "show TASK 1 -c CACHE",
    "compare": "compare RUN OTHER --flips 0",
    "leaderboard": "leaderboard RUN OTHER --ci",
    "ls runs": "ls runs OUT",
    "ls models NAME": "ls models qwen_omni",
    "ls metrics NAME": "ls metrics exact_match",
    "cache ls": "cache ls -c CACHE",
    "cache why": "cache why --model dummy -a answer=z -t TASK -c CACHE",
    "validate": "validate TASK",
    "selftest": "selftest --model dummy",
}
#: Verbs with a table whose printing test_widths.py tests without running them.
PRINTED_ELSEWHERE = {"durations", "sweep"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write a task with a long name, and run the dummy on it twice."""
    folder = tmp_path_factory.mktemp("verbs")
    rows = [
        {
            "q": f"question {n}",
            "a": "x" if n % 3 else f"a longer right answer, the one of row {n}",
            "kind": "k",
        }
        for n in range(40)
    ]
    task = write_task(folder, KEYS, rows).rename(folder / "a_task_with_a_rather_long_name.yaml")
    cache, out = folder / "cache", folder / "out"
    for answer in ("x", "y"):
        flags = ["--model", "dummy", "-a", f"answer={answer}", "-t", str(task), "-c", str(cache)]
        assert main([*flags, "-o", str(out / answer)]) == 0
    (folder / "set.yaml").write_text(
        f"tasks: [{task}]\nuse_cache: {cache}\nmodels: [dummy, {{model: dummy, model_args: answer=x}}]\n"
        "conditions: [none, {limit: 20}]\n"
    )
    assert main(["-C", str(folder / "set.yaml")]) == 0  # a second time it asks nothing, and counts so
    runs = {name: str(next((out / name).rglob("results.json")).parent) for name in ("x", "y")}
    found = {"TASK": task, "CACHE": cache, "SET": folder / "set.yaml", "OUT": out, "HOME": folder}
    return {**{name: str(path) for name, path in found.items()}, "RUN": runs["x"], "OTHER": runs["y"]}


@pytest.fixture
def typed(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def printed_by(name: str, columns: int, terminal: bool = False, **env: str) -> str:
        with monkeypatch.context() as patch:
            for variable in ("NO_COLOR", "FORCE_COLOR"):
                patch.delenv(variable, raising=False)
            for variable, value in {"TERM": "xterm-256color", "COLUMNS": str(columns), **env}.items():
                patch.setenv(variable, value)
            screen = Terminal(terminal)
            patch.setattr(sys, "stdout", screen)
            assert main([places.get(word, word) for word in COMMANDS[name].split()]) == 0
        # how long it took is another time every time
        return re.sub(r"\b\d+(\.\d+)? s\b", "? s", screen.getvalue())

    return printed_by


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w.-])[-+]?\d[\d.]*%?(?!\w)", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_number_is_cut_and_no_heading_is_lost(typed: Callable[..., str], name: str) -> None:
    wide = typed(name, WIDE)
    headings = [
        re.split(r"\s{2,}", above.strip())
        for above, rule in zip(wide.splitlines(), wide.splitlines()[1:], strict=False)
        if set(rule.strip()) == {"─"}
    ]
    assert numbers(wide) or name in ("validate", "ls models NAME", "ls metrics NAME"), wide
    for width in (80, 120, 200):
        narrow = typed(name, width)
        joined = re.sub(r"\s+", "", narrow)
        for number in numbers(wide):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", narrow), (width, number, narrow)
        for heading in (word for line in headings for word in line):
            assert heading.replace(" ", "") in joined, (width, heading, narrow)
        if name != "show RUN --wrong":  # where `…` ends a long answer, which --json prints whole
            assert "…" not in narrow.replace("A=B,…", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_a_dumb_and_a_colourless_terminal_get_the_same_text(
    typed: Callable[..., str], name: str
) -> None:
    pipe = typed(name, 80)
    assert "\x1b" not in pipe
    assert typed(name, 80, terminal=True, TERM="dumb") == pipe
    colourless = typed(name, 80, terminal=True, NO_COLOR="1")
    assert re.search(r"\x1b\[[\d;]*3[0-7]", colourless) is None
    assert re.sub(r"\x1b\[[\d;]*m", "", colourless) == pipe


def test_every_verb_whose_output_knows_the_width_is_tested() -> None:
    words = ("table_console", "plain_console", "print_run", "print_results", "get_terminal_size")
    knowing = {
        path.stem
        for path in VERBS_FOLDER.glob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    tested = {command.split()[0] for command in COMMANDS} | {"_set"}  # `run -C SET` is of _set.py
    assert knowing - tested == PRINTED_ELSEWHERE
