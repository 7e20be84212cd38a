"""Tests what is sent to a server (audio) and what must not appear in messages (keys)."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.api_server import FAULTS, FakeServer
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.api.secrets import checked_url, key_from_environment, redacted
from marathon_eval.backends.http.payload import EncodedClips, encode
from marathon_eval.errors import MarathonError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("kind", ["wav", "mp3"])
def test_a_clip_arrives_whole(kind: str) -> None:
    samples = np.sin(np.arange(16000 * 7 + 123) / 9).astype(np.float32) * 0.5
    clip = encode(samples, 16000, kind)  # type: ignore[arg-type]  # parametrised
    decoded, rate = soundfile.read(io.BytesIO(clip.data), dtype="float32")
    assert (rate, clip.seconds) == (16000, pytest.approx(7.0077, abs=1e-3))
    assert len(decoded) == pytest.approx(len(samples), abs=0.1 * rate)
    if kind == "wav":
        np.testing.assert_allclose(decoded, samples, atol=1e-4)
    else:
        assert len(clip.data) < 0.3 * 2 * len(samples)


def test_questions_on_one_clip_encode_it_once(
    make_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    real = Audio.samples
    monkeypatch.setattr(Audio, "samples", lambda self, rate: (decoded.append(self.path), real(self, rate))[1])
    first, second = Audio(str(make_wav("a.wav"))), Audio(str(make_wav("b.wav")))

    async def ask() -> list[int]:
        clips = EncodedClips(16000, "wav")
        got = await asyncio.gather(*(clips.get(audio) for audio in [first, first, second, first]))
        return [len(clip.data) for clip in got]

    assert asyncio.run(ask()) == [32044] * 4
    assert sorted(decoded) == sorted([first.path, second.path])


def test_keys_come_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    monkeypatch.setenv("B_KEY", " secret ")
    assert key_from_environment(("A_KEY", "B_KEY"), "--model x") == "secret"
    monkeypatch.delenv("B_KEY")
    assert key_from_environment(("A_KEY", "B_KEY"), None) == "no-key"
    with pytest.raises(MarathonError, match="--model x needs a key: set A_KEY or B_KEY in the environment"):
        key_from_environment(("A_KEY", "B_KEY"), "--model x")


def test_no_key_survives_in_an_error_text() -> None:
    text = "bad my/odd+key, sk-proj-abc123def, AIzaSyA1234567890abc, Bearer ey.J.x at https://h/p?key=zzz&a=1"
    clean = redacted(text, "my/odd+key")
    assert clean == (
        "bad <redacted>, <redacted>, <redacted>, Bearer <redacted> at https://h/p?key=<redacted>&a=1"
    )
    assert len(redacted("x" * 9000, "")) == 600


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "localhost:8000",
        "http://user:secret@host/v1",
        "https://host/v1?key=secret",
        "http://",
        "http://[::1",
        "http://host:99999/v1",
        "http://host/sk-secret123456/v1",
    ],
)
def test_a_base_url_that_is_none_or_carries_a_secret_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(MarathonError, match="--model m: base_url must") as caught:
        checked_url(url, "--model m")
    assert "secret" not in str(caught.value)


def test_adapters_log_no_key(
    make_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where everything that the SDKs say is shown."""
    from marathon_eval.api.registry import Registry

    key = "sk-secret-0123456789"
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, key)
    request = Request("q", (Audio(str(make_wav(seconds=2))),))
    with caplog.at_level(logging.DEBUG), FakeServer(key="another") as server:
        for name, path in (("openai_audio", "/v1"), ("gemini", "")):
            args = {"model": "m", "base_url": server.url + path, "retries": 0}
            with pytest.raises(
                MarathonError, match="HTTP 401: Incorrect API key provided: <redacted>"
            ) as caught:
                list(Registry().model_class(name).from_args(args).generate([request]))
            assert key not in str(caught.value)
            assert caught.value.__cause__ is None
    assert server.calls[0].headers["authorization"] == f"Bearer {key}"
    assert server.calls[1].headers["x-goog-api-key"] == key
    assert key not in caplog.text


def test_the_adapters_know_their_settings_without_an_sdk() -> None:
    code = (
        "import sys, marathon_eval.models.openai_audio, marathon_eval.models.gemini\n"
        "print(sorted({'openai', 'google.genai', 'httpx2', 'numpy', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_pairs_of_faults_do_not_meet() -> None:
    """The fake finds faults by their brackets: none may hold another's name."""
    for one, other in itertools.permutations(FAULTS, 2):
        assert f"[{one}]" not in f"[{other}]"
