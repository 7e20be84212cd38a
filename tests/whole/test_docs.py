"""Tests that the documents are true: every package is named, and every command in them runs."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
from pathlib import Path

import pytest

from helpers import (
    documented_files,
    documented_output,
    make_audiomarathon_data,
    make_source_corpora,
    tiny_checkpoints,
)
from helpers.called_command import called
from marathon_eval.cli.main import verbs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Commands about weights, data or packages that are not here end with the line that says how to get them.
WANTING = ("pretrained=", "--data_dir", "pip install", "env=DIR", "--source")


def commands(path: Path) -> list[str]:
    """Every `marathon-eval …` line of a document's code blocks, continuation lines joined, and those that unpack an archive."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^(?:    )?((?:marathon-eval|mkdir|tar xzf) [^\n]*)$", text, flags=re.MULTILINE)
    return [re.sub(r"\s+", " ", command.split("  #")[0]).strip() for command in found]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as scripts/run leaves it, only smaller: data, weights, and a run to look at."""
    folder = tmp_path_factory.mktemp("docs")
    make_audiomarathon_data.build(folder / "demo" / "data", 6, seconds=0.5)
    make_audiomarathon_data.build(folder / "demo" / "nano", {"gtzan": 2, "desed": 2}, seconds=0.5)
    (folder / "data").symlink_to(folder / "demo" / "data")
    make_source_corpora.needle(folder / "demo" / "needle_sources" / "sounds")
    tiny_checkpoints.make_whisper(folder / "demo" / "whisper-tiny.en")
    for document in DOCUMENTS:
        documented_files.write_files(document, folder)
    for answer in ("A", "B"):
        run(
            folder,
            f"marathon-eval --model dummy --model_args answer={answer} --tasks gtzan,race --data_dir demo/data -o demo/results",
        )
    return folder


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    env = {"MARATHON_EVAL_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    return called([each for word in shlex.split(command)[1:] for each in expanded(word, folder)], folder, env)


def expanded(word: str, folder: Path) -> list[str]:
    """Return the names that a shell makes of a word with a star, or the word where there are none."""
    found = sorted(folder.glob(word)) if "*" in word and not word.startswith("-") else []
    return [str(path.relative_to(folder)) for path in found] or [word]


def whole_codes(command: str) -> tuple[int, ...]:
    """Return the exit codes of a command that did its work."""
    # doctor finds the tiny clips too short, and a gate the few rows, and both say so by their exit code
    return (0, 3) if " doctor " in command else (0, 4, 5) if " --gate " in command else (0,)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_runs_in_order(workplace: Path, document: Path) -> None:
    """A later command may look at what an earlier one made, as for a reader who types them in."""
    for command in commands(document):
        if command.startswith(("mkdir ", "tar ")):
            subprocess.run(shlex.split(command), cwd=workplace, check=True)
            continue
        typed = command.replace("KEY", a_key(workplace)) if command.endswith(" KEY") else command
        done = run(workplace, typed)
        assert "Traceback" not in done.stderr, typed
        if done.returncode == 2:
            assert any(word in done.stderr for word in WANTING), f"{typed}: {done.stderr}"
        else:
            assert done.returncode in whole_codes(typed), f"{typed}: {done.stderr}"
            printed = documented_output.Printed(shlex.split(typed)[1:], done.stdout, done.stderr, workplace)
            assert documented_output.wrong(printed) is None, (
                f"{typed}: {documented_output.wrong(printed)}\n{done.stdout}"
            )


def a_key(workplace: Path) -> str:
    with sqlite3.connect(workplace / "cache" / "answers.sqlite") as connection:
        (key,) = connection.execute("SELECT key FROM entries WHERE key LIKE 'response/%'").fetchone()
    return str(key).removeprefix("response/")


RUN_OUTPUT = """\
  task   reading  metric      value   95 % CI        accuracy  chance  n  coverage  parsed  time
  race   strict   macro_f1 *  0.1250  0.000 - 0.400  0.333     0.250   6  100.0%    100.0%
0 answers from the cache, 6 asked, 0.1 s.
"""


@pytest.mark.parametrize(
    ("command", "stdout", "reason"),
    [
        ("--model dummy --tasks race", RUN_OUTPUT, None),
        ("--model dummy --tasks race", RUN_OUTPUT.replace("0.1250", "nan"), "nothing printed"),
        ("--model dummy --tasks race", "done", "nothing printed"),
        ("--model dummy --tasks race --predict_only", RUN_OUTPUT, "nothing printed"),
        ("--model dummy --tasks race -o gone", RUN_OUTPUT, "holds no"),
        ("--model dummy --tasks race --json", RUN_OUTPUT, "no JSON"),
        ("--model dummy --tasks race --json", "{}", "lacks"),
        ("validate", "gtzan: broken", "nothing printed"),
        ("cache export rows.jsonl", "", "not there"),
        ("sing", "la", "does not say"),
    ],
)
def test_output_of_another_shape_is_told(
    tmp_path: Path, command: str, stdout: str, reason: str | None
) -> None:
    found = documented_output.wrong(documented_output.Printed(command.split(), stdout, "", tmp_path))
    assert found is None if reason is None else reason in (found or "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_script_that_a_document_names_can_be_run(document: Path) -> None:
    for name in re.findall(r"\bbash (scripts/\w+)", document.read_text(encoding="utf-8")):
        assert os.access(ROOT / name, os.X_OK), name


def test_every_verb_has_a_shape() -> None:
    known = {name.split()[0] for name in documented_output.SHAPES}
    assert set(verbs()) <= known, "tests/helpers/documented_output.py lacks them"


def test_the_readme_has_commands_to_run() -> None:
    assert len(commands(ROOT / "README.md")) >= 8


def test_the_readme_names_every_package() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    packages = [path for path in (ROOT / "marathon_eval").iterdir() if (path / "__init__.py").is_file()]
    own = [path.name for path in packages if not path.is_symlink()]
    assert own
    assert [name for name in own if f"marathon_eval/{name}/" not in readme] == []
    assert readme.count("\n") <= 150


def test_documents_name_no_machine() -> None:
    for path in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(?:work|root|tmp)/", text), path.name
