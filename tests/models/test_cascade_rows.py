"""Tests the published tables' text pipelines as cascade commands: MMAR's caption + LLM, AIR-Bench's Whisper + LLM."""

from __future__ import annotations

import json
from pathlib import Path

from helpers import make_air_bench_mmar_data
from helpers.api_server import FakeServer
from marathon_eval.cli.main import main

CAPTION = "Describe everything that can be heard in this recording: speech, music and other sounds."


def results(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(next(folder.rglob("results.json")).read_text())
    return found


def test_mmar_by_caption_and_a_language_model(tmp_path: Path) -> None:
    make_air_bench_mmar_data.mmar(tmp_path / "data", rows=3)
    with FakeServer(answer="pigeon") as server:
        arguments = {
            "listener": "dummy",
            "listener_answer": "A bird coos.",
            "listen_prompt": CAPTION,
            "reader": "openai",
            "reader_model": "small-reader",
            "reader_base_url": f"{server.url}/v1",
        }
        run = ["--model", "cascade", "--model_args", json.dumps(arguments), "--tasks", "mmar", "--no_cache"]
        assert main([*run, "--data_dir", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 0
        prompts = [call.prompt for call in server.calls]
    assert len(prompts) == 3
    assert all(
        "A bird coos." in prompt and "Answer with one of these options" in prompt for prompt in prompts
    )
    sample = json.loads(next((tmp_path / "out").rglob("samples_mmar.jsonl")).read_text().splitlines()[0])
    assert sample["response"] == "pigeon"


def test_air_bench_by_transcript_and_a_language_model(tmp_path: Path) -> None:
    make_air_bench_mmar_data.foundation(tmp_path / "data", rows=1)
    with FakeServer(answer="B") as server:
        arguments = f"listener=dummy,listener_answer=hello,reader=openai,reader_model=m,reader_base_url={server.url}/v1"
        run = ["--model", "cascade", "--model_args", arguments, "--tasks", "air_bench_speech", "--no_cache"]
        assert main([*run, "--data_dir", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 0
        assert all("hello" in call.prompt for call in server.calls)
    group = results(tmp_path / "out")["groups"]
    assert isinstance(group, dict)
    assert group["air_bench_speech"]["score"] is not None
