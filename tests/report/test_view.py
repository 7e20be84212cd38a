"""Tests `marathon-eval view` as a whole process: token, byte ranges, several runs, a run that goes on, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser

from helpers import make_result_folders
from helpers.chromium import wait_until
from helpers.make_result_folders import Made
from helpers.viewed_runs import viewed
from marathon_eval.api.audio import Audio
from marathon_eval.cli.main import main
from marathon_eval.report.served_page import peaks_of
from marathon_eval.report.view_server import byte_range
from marathon_eval.results.unfinished import PartialSamples

ROWS = {"gtzan": 6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewed")
    (folder / "audio" / "gtzan").mkdir(parents=True)
    for doc_id in range(ROWS["gtzan"]):
        soundfile.write(folder / "audio" / "gtzan" / f"{doc_id:05}.wav", [0.1, -0.1] * 4000, 8000)
    for model in ("qwen_omni", "whisper"):
        make_result_folders.write(
            Made(model=model, rows=ROWS, audio_root=str(folder / "audio")), folder / "runs" / model
        )
    return folder / "runs"


def test_the_token_opens_pages_and_parts_of_clips(runs: Path) -> None:
    with viewed(runs / "qwen_omni", runs / "whisper") as server:
        page = server.get("")
        assert page.status == 200
        assert page.headers["Referrer-Policy"] == "no-referrer"
        text = page.body.decode()
        assert "connect-src 'self'" in text
        assert '"qwen_omni"' in text
        assert '"whisper"' in text
        file = (runs.parent / "audio" / "gtzan" / "00002.wav").read_bytes()
        whole = server.get("clip/2")
        assert (whole.status, whole.body, whole.headers["Content-Type"]) == (200, file, "audio/wav")
        part = server.get("clip/2", Range="bytes=100-199")
        assert (part.status, part.body) == (206, file[100:200])
        assert part.headers["Content-Range"] == f"bytes 100-199/{len(file)}"
        assert server.get("clip/2", Range=f"bytes={len(file)}-").status == 416
        assert server.get("clip/99").status == 404
        assert server.get("clip/../../etc/passwd").status == 404
        assert server.get(f"clip/{'9' * 5000}").status == 404
        assert json.loads(server.get("peaks/2").body)["seconds"] == 1.0
        refused = [server.get(name, token="x") for name in ("", "clip/2", "status.json")]
        refused += [
            server.get("", Host="evil.example"),
            server.get("", token=""),
            server.get_path("status.json"),
        ]
        assert {reply.status for reply in refused} == {403}
        assert all(b"gtzan" not in reply.body for reply in refused)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) in (0, 143)
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()


def test_a_run_that_goes_on_is_counted_and_its_end_shown(tmp_path: Path) -> None:
    run = make_result_folders.fabricate(Made(rows=ROWS))
    facts = {
        "model": "qwen_omni",
        "started": "2026-11-21T05:00:00Z",
        "tasks": {"gtzan": {"headline": make_result_folders.HEADLINE, "readings": ["strict"], "n_loaded": 6}},
    }
    live = PartialSamples(tmp_path, facts)
    for sample in run.samples["gtzan"][:2]:
        live.add("gtzan", sample.line())
    with viewed(tmp_path) as server:
        assert b"No run is finished yet" in server.get("").body
        (found,) = server.status()["runs"]
        assert (found["goes_on"], found["tasks"][0]["rows"], found["tasks"][0]["of"]) == (True, 2, 6)
        # the run is killed: its folder is that of a process that is no more
        ended = subprocess.run(
            [sys.executable, "-c", "import os; print(os.getpid())"],
            capture_output=True,
            text=True,
            check=True,
        )
        name = live.folder.name.removesuffix(str(os.getpid())) + ended.stdout.strip()
        live.folder.rename(live.folder.with_name(name))
        before = server.status()
        assert before["runs"][0]["goes_on"] is False
        make_result_folders.write(Made(rows=ROWS), tmp_path)
        assert server.status()["version"] != before["version"]
        assert b"Leaderboard" in server.get("").body
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    live.close()


def test_the_served_page_plays_and_asks_nobody_else(runs: Path, browser: Browser) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    with viewed(runs) as server:
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.address)
        page.click("#s-row-1")
        wait_until(page, "document.querySelector('#s-detail audio')?.duration === 1")
        assert [text for text in complaints if "favicon" not in text and "403" not in text] == []
        assert all(
            url.startswith((server.address, "data:", "blob:")) for url in asked if "favicon" not in url
        )


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, (0, 9)),
        ("bytes=0-", (0, 9)),
        ("bytes=2-3", (2, 3)),
        ("bytes=8-99", (8, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=10-", None),
        ("bytes=3-2", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        (f"bytes={9 * 10**4000}-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
    ],
)
def test_ranges(header: str | None, wanted: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == wanted


def test_peaks_are_the_loudest_samples_of_each_part(tmp_path: Path) -> None:
    wave = np.zeros(16_000, dtype="float32")
    wave[8_000:8_010] = 0.5
    soundfile.write(tmp_path / "x.wav", wave, 16_000, subtype="FLOAT")
    found = peaks_of(Audio(str(tmp_path / "x.wav")))
    assert found["seconds"] == 1.0
    assert max(found["peaks"]) == 127
    assert found["peaks"].index(127) == pytest.approx(600, abs=1)


@pytest.mark.parametrize(
    ("flags", "message"), [(["nowhere"], "no results.json"), (["--port", "70000", "nowhere"], "--port")]
)
def test_mistakes_of_view_are_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
