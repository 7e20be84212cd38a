"""Tests `--model vllm` and `sglang` with programs that stand for theirs: the flags, the end, and each failure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.stand_in_server import write_server, write_transformers_server
from helpers.tiny_qwen2_audio import make_qwen2_audio
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Model, Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with weights; no server may be left at the end."""
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/elsewhere")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"1")
    yield tmp_path
    assert [path.name for path in tmp_path.glob("marks/*") if os.path.exists(f"/proc/{path.name}")] == []


def model_of(place: Path, name: str = "vllm", **args: Any) -> Model:
    fixed = {"pretrained": str(place / "weights"), "env": str(place), "stream": False, "retries": 0}
    return Registry().model_class(name).from_args({**fixed, **args})


def request(place: Path, seconds: float, question: str = "Is it raining?", clips: int = 1) -> Request:
    path = place / f"{seconds}.wav"
    soundfile.write(path, np.random.default_rng(0).normal(size=round(seconds * 16000)) / 9, 16000)
    return Request(question, (Audio(str(path)),) * clips, Generation(max_new_tokens=4))


def asked(model: Model, *requests: Request) -> list[Response]:
    try:
        by_request = dict(complete(model, requests))
    finally:
        model.close()
    return [by_request[one] for one in requests]


def flags_of_the_server(place: Path) -> list[str]:
    (mark,) = (place / "marks").iterdir()
    flags: list[str] = json.loads(mark.read_text())[1]
    return flags


def test_vllm_is_started_asked_and_ended(place: Path) -> None:
    write_server(place)
    model = model_of(
        place, tensor_parallel_size=2, max_model_len=4096, server_args="--enforce-eager --seed '1 2'"
    )
    first, second = asked(model, request(place, 2.0), request(place, 40.0, clips=2))
    assert (first.status, first.text) == ("ok", str(place / "weights"))
    assert (first.usage.heard_seconds, second.usage.heard_seconds) == (2.0, 80.0)
    flags = flags_of_the_server(place)
    port = flags[flags.index("--port") + 1]
    assert flags == [
        *("serve", str(place / "weights"), "--host", "127.0.0.1", "--port", port),
        *("--served-model-name", str(place / "weights"), "--dtype", "auto", "--tensor-parallel-size", "2"),
        *(
            "--max-model-len",
            "4096",
            "--limit-mm-per-prompt",
            '{"audio": 2}',
            "--enforce-eager",
            "--seed",
            "1 2",
        ),
    ]
    assert len(list((place / "cache" / "logs").glob("server-vllm-*.log"))) == 1


def test_sglang_has_flags_of_its_own(place: Path) -> None:
    write_server(place, name="sglang")
    model = model_of(place, "sglang", model="speech", gpu_memory=0.8, trust_remote_code=True)
    (response,) = asked(model, request(place, 2.0))
    assert (response.status, response.text) == ("ok", "speech")
    flags = flags_of_the_server(place)
    assert flags[:3] == ["serve", "--model-path", str(place / "weights")]
    assert flags[-2:] == ["--enable-multimodal", "--trust-remote-code"]
    assert "--served-model-name" not in flags
    assert flags[flags.index("--mem-fraction-static") + 1] == "0.8"


def test_answers_are_filed_under_weights_and_release_not_under_an_address(place: Path) -> None:
    write_server(place)
    model = model_of(place)
    before = model.fingerprint
    assert before["engine"] == "vllm 0.11.2"
    assert "base_url" not in before
    asked(model, request(place, 2.0))
    assert model.fingerprint == before
    assert model_of(place, executable=str(place / "bin" / "vllm"), gpu_memory=0.5).fingerprint == before
    (place / "weights" / "model.safetensors").write_bytes(b"2")
    assert model_of(place).fingerprint != before


@pytest.mark.parametrize(
    ("args", "file"),
    [
        ("--chat-template {place}/template.jinja", "template.jinja"),
        ("--chat-template={place}/template.jinja", "template.jinja"),
        ("--lora-modules mine={place}/lora other=someone/lora", "lora/adapter_model.safetensors"),
        ("""--lora-modules '{{"name": "mine", "path": "{place}/lora"}}'""", "lora/adapter_model.safetensors"),
        ("--config {place}/server.yaml", "server.yaml"),
        ("--config {place}/server.yaml", "template.jinja"),
    ],
)
def test_files_that_the_servers_flags_name_are_known_by_content(place: Path, args: str, file: str) -> None:
    write_server(place)
    (place / "lora").mkdir()
    for name in (
        "template.jinja",
        "lora/adapter_config.json",
        "lora/adapter_model.safetensors",
        "unnamed.jinja",
    ):
        (place / name).write_text("one")
    (place / "server.yaml").write_text(f"chat-template: {place}/template.jinja\n")
    model = model_of(place, server_args=args.format(place=place))
    before = model.fingerprint
    (place / "unnamed.jinja").write_text("two")
    assert model_of(place, server_args=args.format(place=place)).fingerprint == before
    (place / file).write_text((place / file).read_text() + "# two")
    after = model_of(place, server_args=args.format(place=place)).fingerprint
    assert {**after, "server_files": 0} == {**before, "server_files": 0}
    assert after["server_files"] != before["server_files"]


def test_flags_that_name_no_file_add_nothing(place: Path) -> None:
    write_server(place)
    (place / "empty").mkdir()
    for args in (
        "",
        "--enforce-eager --seed 1",
        f"--download-dir {place}/empty --log-file {place}/absent.log",
    ):
        assert "server_files" not in model_of(place, server_args=args).fingerprint


def test_weights_that_change_until_the_server_is_ready_are_refused(place: Path) -> None:
    write_server(place)
    model = model_of(place)
    assert model.fingerprint["weights"]
    (place / "weights" / "model.safetensors").write_bytes(b"2")
    with pytest.raises(
        MarathonError, match=r"--model vllm: weights: changed while the model was loaded \(weights\)"
    ):
        asked(model, request(place, 2.0))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("dies", 'the server exited with code 1. Its last line was "ValueError: no kernel for this GPU".'),
        ("killed", "the server was killed by SIGKILL, as the system does where memory runs out"),
        ("hangs", "the server was not ready in 2 s (start_timeout=)."),
        ("no_audio", "the server takes no audio: "),
    ],
)
def test_a_server_that_fails_is_one_line(mode: str, words: str, place: Path) -> None:
    write_server(place, mode)
    start = 2.0 if mode == "hangs" else 60.0
    with pytest.raises(MarathonError) as error:
        asked(model_of(place, start_timeout=start), request(place, 2.0), request(place, 3.0))
    assert str(error.value).startswith("--model vllm: ")
    assert words in str(error.value)
    assert "Log: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_dies_later_loses_no_answer(place: Path) -> None:
    write_server(place, "dies_later")
    requests = [request(place, 2.0, f"Question {n}?") for n in range(6)]
    responses = asked(model_of(place, concurrency=1), *requests)
    kept = [response for response in responses if response.status == "ok"]
    assert 0 < len(kept) < 6
    assert all(response.status == "error" for response in responses[len(kept) :])
    assert "the server exited with code 3" in str(responses[-1].error)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"base_url": "http://127.0.0.1:1/v1"}, "takes no base_url= and identity="),
        ({"env": "none"}, "no program none/bin/vllm: install vllm in an environment"),
        ({"executable": "no-such-program"}, "no program no-such-program"),
        ({"revision": "abc"}, "a folder has no revisions"),
    ],
)
def test_mistakes_are_one_line_before_anything_starts(args: dict[str, Any], words: str, place: Path) -> None:
    write_server(place)
    with pytest.raises(MarathonError, match=words):
        _ = model_of(place, **args).fingerprint
    assert list((place / "marks").iterdir()) == []


@pytest.mark.slow
def test_transformers_serve_stands_in_for_vllm(tmp_path: Path) -> None:
    weights = make_qwen2_audio(tmp_path / "tiny", window=60)
    write_transformers_server(tmp_path)
    model = model_of(tmp_path, pretrained=str(weights), stream=True)
    assert str(model.fingerprint["engine"]).startswith("vllm 5.")
    responses = asked(model, request(tmp_path, 2.0), request(tmp_path, 41.0))
    assert [response.error for response in responses] == [None, None]
    assert [response.usage.heard_seconds for response in responses] == [2.0, 41.0]
