"""Tests the whole command against a real server: `transformers serve` with tiny checkpoints on loopback.

Qwen2-Audio hears 30 s there and says nothing of it, whatever is sent: the truncation guard must find out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers import make_audiomarathon_data
from helpers.tiny_qwen2_audio import make_qwen2_audio, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = (95, 300)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each of two shipped tasks, 95 s and 300 s long."""
    root = make_audiomarathon_data.build(tmp_path_factory.mktemp("released"), {"gtzan": 2, "vox_age": 2})
    rng = np.random.default_rng(0)
    for folder in ("GTZAN", "VoxCeleb"):
        clips = sorted((root / folder).rglob("*.wav"))
        assert len(clips) == 2
        for path, seconds in zip(clips, SECONDS, strict=True):
            soundfile.write(path, rng.standard_normal(seconds * 16000).astype(np.float32) / 20, 16000)
    return root


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "30 s": make_qwen2_audio(folder / "hears_30"),
        "300 s": make_qwen2_audio(folder / "hears_300", window=300),
    }


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("server") / "log") as address:
        yield address


def run(
    url: str, checkpoint: Path, data: Path, **args: Any
) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """The exit code, results.json and the sample lines of both tasks."""
    model_args = json.dumps(
        {"model": str(checkpoint), "base_url": url, "retries": 0, "concurrency": 2, **args}
    )
    out = checkpoint.parent / "out"
    flags = ["--model", "openai_audio", "--model_args", model_args, "--tasks", "gtzan,vox_age"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "marathon_eval",
            *flags,
            "--data_dir",
            str(data),
            "--output_path",
            str(out),
            "--json",
        ],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    newest = max(out.rglob("results.json"), key=lambda path: path.stat().st_mtime).parent
    lines = [line for path in newest.glob("samples_*.jsonl") for line in path.read_text().splitlines()]
    return done.returncode, json.loads(done.stdout), [json.loads(line) for line in lines]


@pytest.mark.parametrize("part", ["input_audio", "audio_url"])
def test_a_server_that_hears_all_is_scored(
    url: str, checkpoints: dict[str, Path], data: Path, part: str
) -> None:
    code, results, samples = run(url, checkpoints["300 s"], data, audio_part=part)
    assert code == 0
    assert [task["n_scored"] for task in results["tasks"].values()] == [2, 2]
    assert len(samples) == 4
    for sample in samples:
        usage, seconds = sample["usage"], sample["audio"][0]["seconds"]
        assert sample["status"] == "ok"
        assert usage["heard_seconds"] == pytest.approx(seconds)
        assert usage["input_tokens"] > 25 * seconds
        assert 0 < usage["output_tokens"] <= 6  # max_tokens reaches the model
        assert 0 < usage["prefill_s"] <= usage["details"]["total_s"]  # streamed
    assert sorted(sample["audio"][0]["seconds"] for sample in samples) == [95, 95, 300, 300]


def test_a_server_that_hears_30_seconds_gives_error_rows(
    url: str, checkpoints: dict[str, Path], data: Path
) -> None:
    code, results, samples = run(url, checkpoints["30 s"], data)
    assert code == 3
    assert [task["n_scored"] for task in results["tasks"].values()] == [0, 0]
    for sample in samples:
        seconds = sample["audio"][0]["seconds"]
        assert sample["status"] == "error"
        assert f"of {seconds:.1f} s" in sample["error"]
        assert f"25 per second make {25 * seconds:.0f}" in sample["error"]
        assert sample["usage"]["heard_seconds"] < 60
