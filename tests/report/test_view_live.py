"""Tests `marathon-eval view` in a browser beside a real run: its progress, its kill, its end, and a second user."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from helpers import make_result_folders
from helpers.chromium import wait_until
from helpers.make_result_folders import Made
from helpers.minimal_task import write_task
from helpers.viewed_runs import Viewed, viewed

N = 40
#: Seconds per answer of the run that is killed: on a busy machine the browser starts slowly.
SLOW = 3.0
#: Another user of this machine; the number is that of `nobody` on Debian and Fedora.
SOMEBODY_ELSE = 65534
GOES_ON = re.compile(rf"dummy, started \S+, goes on: own (\d+) of {N} rows \((.*)\)")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [{"q": f"question {n}", "a": "A" if n % 2 else "B"} for n in range(N)]
    return write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\n", rows)


@contextmanager
def running(task: Path, sleep: float, answer: str = "A") -> Iterator[subprocess.Popen[str]]:
    """Run the dummy over the task, as a process of its own."""
    folder = task.parent
    command = [sys.executable, "-m", "marathon_eval", "--model", "dummy", "--model_args"]
    command += [f"sleep={sleep},answer={answer}"]
    command += ["--tasks", str(task), "--data_dir", str(folder), "--output_path", str(folder / "runs")]
    command += ["--use_cache", str(folder / "cache")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def rows_said(text: str) -> int:
    found = GOES_ON.search(text)
    return int(found.group(1)) if found else 0


def wait_for_rows(server: Viewed, process: subprocess.Popen[str]) -> None:
    """Wait until the run has written samples: before that it loads, which takes long on a busy machine."""
    while not any(task["rows"] for run in server.status()["runs"] for task in run["tasks"]):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.2)


@pytest.mark.slow
def test_a_page_follows_a_run_its_kill_and_the_next_one(task: Path, browser: Browser) -> None:
    runs = task.parent / "runs"
    with running(task, SLOW) as process:
        while not [*runs.glob("unfinished/*/unfinished.json")]:
            assert process.poll() is None, process.communicate()[1]
        with viewed(runs) as server:
            page = browser.new_page()
            page.goto(server.address)
            live = page.locator("#live")
            wait_for_rows(server, process)
            expect(live).to_have_text(GOES_ON, timeout=60_000)
            first = rows_said(live.inner_text())
            wait_until(
                page,
                "before => Number(/own (\\d+) of/.exec(document.getElementById('live').textContent)[1]) > before",
                first,
            )
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            expect(live).to_contain_text("was ended before its results were written", timeout=60_000)
            killed_at = int(re.findall(r"own (\d+) of", live.inner_text())[0])
            assert first <= killed_at < N
            with running(task, 0.05) as again:
                assert again.wait(120) == 0
            # the page that waited shows the run by itself
            page.wait_for_selector("#s-row-0", timeout=60_000)
            expect(page.locator("#leaderboard tbody th bdi").first).to_have_text("dummy")
            expect(page.locator("#s-count")).to_have_text(f"{N} of {N} samples")
            expect(page.locator("#live")).to_be_hidden()
            # a page that shows runs offers the new ones, and does not take the reader's place from him
            with running(task, 0, answer="B") as third:
                assert third.wait(120) == 0
            expect(page.locator("#live button")).to_have_text(
                "Runs were finished since: show them", timeout=60_000
            )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_finds_no_token_and_gets_nothing(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"gtzan": 3}), tmp_path)
    # another user may not be allowed to start this Python, so the process becomes that user afterwards
    asks = (
        "import encodings.idna, http.client, os, sys; os.setgroups([]); os.setgid(int(sys.argv[3]));"
        "os.setuid(int(sys.argv[3])); c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]));"
        "c.request('GET', sys.argv[2]); print(os.getuid(), c.getresponse().status)"
    )
    with viewed(tmp_path) as server:
        token = server.place.path.strip("/")

        def status(path: str) -> str:
            port, user = str(server.place.port), str(SOMEBODY_ELSE)
            command = [sys.executable, "-I", "-c", asks, port, path, user]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return done.stdout.strip().removeprefix(f"{user} ")

        assert [status(path) for path in ("/", "/status.json", f"/{token[:-1]}x/")] == ["403"] * 3
        assert status(f"/{token}/") == "200", "the token alone is what was missing"
        # what the machine tells every user of a process
        told = Path(f"/proc/{server.process.pid}/cmdline")
        assert not told.exists() or token.encode() not in told.read_bytes()
