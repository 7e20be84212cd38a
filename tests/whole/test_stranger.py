"""Tests one run against a stranger who is the hub, the API and the judge at once, and a user who named nothing else.

Every command runs in a process whose files, sockets and programs are watched. What the user has in the home folder, in
the environment and in other caches is neither read, sent nor changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.stranger import HUBS, Stranger, clip

TASK = """\
dataset_path: someone/{hub}
dataset_kwargs: {{revision: main, {files}}}
doc_to_text: q
doc_to_audio: path
doc_to_target: a
generation_kwargs: {{max_new_tokens: 8}}
judge:
  grade:
    readings: judged
    labels: {{CORRECT: 1, INCORRECT: 0}}
    prompt: "{{{{ reference }}}} and {{{{ response }}}}: {{{{ form }}}}"
filter_list:
  - {{name: strict, filter: [{{function: take_first}}]}}
  - {{name: judged, filter: [{{function: judge_grade}}]}}
metric_list:
  - {{metric: exact_match, filter_list: strict}}
  - {{metric: grade, filter_list: judged}}
"""
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-7a0c3f",
    "GEMINI_API_KEY": "AIzaTestGemini91",
    "DATABASE_PASSWORD": "pw-61bd77",
}
KEY = "sk-test-0123456789abcdef0123456789abcdef"
#: Reading a listing is what asks for its pages.
TREES = ("names", "pages")


@pytest.fixture
def trap() -> Iterator[str]:
    """Return the address of a server that nobody named; a connection to it stays in its queue and is seen in the log."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a user's home with secrets, one of them for the stranger's own address."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text("a private key 5d0e")
    (home / ".netrc").write_text("machine 127.0.0.1 login me password netrc-93ab\n")
    (home / ".bashrc").write_text("true\n")
    (home / "secret.wav").write_bytes(clip(0.5))
    (tmp_path / "other" / "cache").mkdir(parents=True)
    (tmp_path / "other" / "cache" / "answers.sqlite").write_bytes(b"another cache")
    return home


def hashes(*folders: Path) -> dict[str, str]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def watched(folder: Path, stranger: Stranger, commands: list[list[str]]) -> tuple[list[list[str]], str]:
    """Run commands in one watched process, and return its log and all that it printed."""
    (folder / "commands.json").write_text(json.dumps(commands))
    env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    folders = {"HF_HOME": "hf", "MARATHON_EVAL_CACHE": "cache", "TMPDIR": "tmp", "MPLCONFIGDIR": "tmp"}
    env |= {name: str(folder / place) for name, place in folders.items()}
    env |= {
        "HOME": str(folder / "home"),
        "HF_ENDPOINT": stranger.url,
        "HF_HUB_DISABLE_XET": "1",
        "OPENAI_API_KEY": KEY,
    }
    (folder / "tmp").mkdir(exist_ok=True)
    script = Path(__file__).parents[1] / "helpers" / "watched_commands.py"
    done = subprocess.run(
        [sys.executable, "-B", script, folder / "log.jsonl", folder / "commands.json"],
        env={**env, **SECRETS},
        cwd=folder / "desk",
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()], printed


def commands(folder: Path, stranger: Stranger) -> list[list[str]]:
    """Write a task for each dataset, and return a run of each, then what a user does with a run's folder."""
    desk = folder / "desk"
    desk.mkdir()
    for hub in (*HUBS, "rows"):
        files = "file_tree: ['{q}.{a}']" if hub in TREES else "data_files: rows.jsonl"
        (desk / f"{hub}.yaml").write_text(TASK.format(hub=hub, files=files))
    asked = [
        "--model_args",
        f"model=m,base_url={stranger.url}/v1,retries=0,timeout=20,audio_tokens_per_second=25",
    ]
    judge = [
        "--judge_model",
        "openai_audio",
        "--judge_args",
        f"model=j,base_url={stranger.url}/judge,retries=0,timeout=20",
    ]
    made = [
        ["--model", "dummy", "--judge_model", "dummy", "--tasks", f"{hub}.yaml", "--no_cache"] for hub in HUBS
    ]
    made.append(
        [
            "--model",
            "openai_audio",
            *asked,
            *judge,
            "--tasks",
            "rows.yaml",
            "-o",
            "out",
            "--use_cache",
            "answers",
        ]
    )
    return made


@pytest.mark.slow  # a dozen commands in a watched process, 15 s
@pytest.mark.timeout(900)
def test_a_stranger_gets_nothing_and_leaves_nothing(tmp_path: Path, home: Path, trap: str) -> None:
    before = hashes(home, tmp_path / "other")
    with Stranger(home, trap) as stranger:
        log, printed = watched(tmp_path, stranger, commands(tmp_path, stranger))
        codes = [int(argument) for _, event, argument in log if event == "exit"]
        assert codes == [2] * len(HUBS) + [3], printed
        (results,) = (tmp_path / "desk" / "out").rglob("results.json")
        stored = spoiled(results, stranger, trap, tmp_path)
        (tmp_path / "log.jsonl").unlink()
        later, told = watched(tmp_path, stranger, stored)
        heard = bytes(stranger.heard)
    assert {argument for _, event, argument in later if event == "exit"} <= {"0", "2", "3"}, told
    assert "Traceback" not in printed + told
    assert "\x1b]" not in printed + told
    named = json.dumps(["127.0.0.1", stranger.server_port])
    assert {argument for _, event, argument in log if event == "connect"} == {named}
    assert [entry for entry in later if entry[1] == "connect"] == []
    assert {argument for _, event, argument in log + later if event == "start"} <= {"git"}
    allowed = tuple(f"{tmp_path / name}{os.sep}" for name in ("desk", "hf", "cache", "tmp"))
    written = {argument for _, event, argument in log + later if event == "write"}
    outside = {path for path in written if not f"{path}{os.sep}".startswith((*allowed, "/dev/"))}
    assert outside == set()
    assert {argument for _, event, argument in log + later if event == "read"} <= {str(home / ".netrc")}
    assert hashes(home, tmp_path / "other") == before
    assert not (tmp_path / "touched").exists()
    for secret in (*SECRETS.values(), "netrc-93ab", "private key 5d0e"):
        assert secret.encode() not in heard
    kept = [path for name in ("desk", "cache") for path in (tmp_path / name).rglob("*") if path.is_file()]
    assert len(kept) > 3
    for path in kept:
        content = path.read_bytes()
        assert all(secret.encode() not in content for secret in (*SECRETS.values(), KEY)), path


def spoiled(results: Path, stranger: Stranger, trap: str, folder: Path) -> list[list[str]]:
    """Make the run's folder a stranger's, and return the verbs that read it."""
    evil = folder / "desk" / "evil" / "models"
    evil.mkdir(parents=True)
    (evil / "evil.py").write_text(f"from pathlib import Path\nPath({str(folder / 'touched')!r}).touch()\n")
    content: dict[str, Any] = json.loads(results.read_text())
    asked = {"model": "m", "base_url": f"{trap}/v1"}
    content["config"] |= {"judge_args": asked, "model_args": asked, "include_path": [str(evil.parent)]}
    content["config"] |= {"judge_model": "evil", "data_dir": str(folder / "home")}
    results.write_text(json.dumps(content))
    run = str(results.parent)
    return [
        ["score", run],
        ["compare", run, run],
        ["report", run, "-o", "page.html", "--embed_audio"],
        ["leaderboard", run],
        ["ls", "runs", "out"],
        ["pack", run, "-o", "run.tar.gz"],
    ]
