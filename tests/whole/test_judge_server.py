"""Tests a judged run against a real server: `transformers serve` with a tiny text model on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data
from helpers.tiny_qwen2_audio import served
from helpers.tiny_text_model import make_text_lm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(url: str, judge: Path, folder: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and results.json."""
    judge_args = json.dumps({"model": str(judge), "base_url": url, "identity": judge.name, "retries": 0})
    flags = ["--model", "dummy", "--model_args", "answer=It buzzes.", "--tasks", "air_bench_chat"]
    flags += ["--data_dir", str(folder / "data"), "--use_cache", str(folder / "cache"), "--json"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "marathon_eval",
            *flags,
            "--judge_model",
            "openai_audio",
            "--judge_args",
            judge_args,
        ],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def judged(results: dict[str, Any], key: str) -> int:
    return sum(manifest["judge"][key] for manifest in results["manifests"].values())


def test_a_taught_judge_and_a_noisy_one(tmp_path: Path) -> None:
    make_air_bench_mmar_data.chat(tmp_path / "data", rows=1)
    taught = make_text_lm(tmp_path / "taught", says="6 8")
    noisy = make_text_lm(tmp_path / "noisy")
    with served(tmp_path / "log") as url:
        code, results = run(url, taught, tmp_path)
        assert code == 0
        assert results["groups"]["air_bench_chat"]["score"] == 7.0
        assert (judged(results, "n_calls"), judged(results, "n_cached")) == (20, 0)
        speech = results["tasks"]["air_bench_chat_speech"]
        assert speech["strict"]["position_bias[taught]"]["value"] == 2.0
        assert speech["strict"]["flip_rate[taught]"]["value"] == 1.0
        code, noise = run(url, noisy, tmp_path)
        assert judged(noise, "n_unparsed") == 20
        assert judged(noise, "n_retries") == 60
        assert noise["groups"]["air_bench_chat"]["score"] is None
    # the server is gone: everything is in the cache
    code, again = run(url, taught, tmp_path)
    assert code == 0
    assert again["tasks"] == results["tasks"]
    assert judged(again, "n_cached") == 20
