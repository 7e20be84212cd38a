"""Tests every verb's --help at 80 columns, its example, and the scripts that complete it in a shell."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from marathon_eval.api.registry import Registry
from marathon_eval.cli.help_text import EXAMPLES, HELP_WIDTH
from marathon_eval.cli.main import main, overview, verb_parser, verbs
from marathon_eval.cli.verbs import cache
from marathon_eval.cli.verbs.completion import SHELLS, whole_parser

HELPS = [[verb] for verb in verbs()] + [["cache", name] for name in cache.VERBS]


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_fits(
    words: list[str], columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    if columns != "60":  # there a long flag may stand alone on a longer line
        assert [line for line in text.splitlines() if len(line) > HELP_WIDTH] == []
    if len(words) == 1:
        assert f"example: {EXAMPLES[words[0]]}" in text.replace("\n    ", " ")


def test_each_verb_has_an_example_that_its_parser_takes() -> None:
    assert set(EXAMPLES) == set(verbs())
    for verb, example in EXAMPLES.items():
        words = shlex.split(example.partition(" >>")[0])
        assert words[0] == "marathon-eval"
        rest = words[2:] if words[1] == verb else words[1:]
        verb_parser(verb).parse_args(rest)


def test_the_overview_fits_and_names_each_verb() -> None:
    lines = overview().splitlines()
    assert max(map(len, lines)) <= HELP_WIDTH
    assert set(verbs()) <= {line.split()[0] for line in lines if line.startswith("  ")}
    verb_parser("run").parse_args(shlex.split(lines[-1])[1:])


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_a_script_with_flags_and_names(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("unpack_verify", "num_fewshot", "qwen_omni", "vox_age", "dart", "tasks"):
        assert word in script
    checker = shutil.which(shell)
    if checker is not None:
        subprocess.run([checker, "-n"], input=script, text=True, check=True)


def test_bash_completes_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    asked = """
COMP_WORDS=(marathon-eval run --tasks vox_a); COMP_CWORD=3
_shtab_marathon_eval; echo "${COMPREPLY[@]}"
COMP_WORDS=(marathon-eval swe); COMP_CWORD=1
_shtab_marathon_eval; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash"], input=script + asked, text=True, check=True, capture_output=True)
    assert done.stdout.split() == ["vox_age", "sweep"], done.stderr


def test_the_whole_parser_knows_each_verb() -> None:
    text = whole_parser(Registry()).format_help()
    assert all(verb in text for verb in verbs())


def test_a_list_in_a_description_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cache", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ls       list every model") for line in lines)
    assert any(line.startswith("prune    delete cached") for line in lines)
