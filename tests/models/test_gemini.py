"""Tests the Gemini adapter against a server on loopback that really decodes the audio it receives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.genai.types import GenerateContentResponse

from helpers.api_server import FakeServer
from helpers.http_requests import answers, make_clips, one
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Model, Request
from marathon_eval.backends.http.attempts import AttemptClock
from marathon_eval.errors import MarathonError
from marathon_eval.models import gemini
from marathon_eval.models.gemini import Gemini


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(rate=32, split=True) as fake:
        yield fake


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Audio]:
    return make_clips(tmp_path_factory.mktemp("clips"))


def model(server: FakeServer, **args: Any) -> Model:
    return Gemini.from_args({"model": "gemini-2.5-flash", "base_url": server.url, "retries": 0, **args})


def test_what_version_1_sends(server: FakeServer, clips: dict[int, Audio]) -> None:
    """A change here needs a new `version`, or old answers stand for new questions."""
    made = model(server, audio_tokens_per_second=32, extra_config={"candidate_count": 1})
    generation = Generation(max_new_tokens=7, stop=("\n",), temperature=0.5, top_p=0.9, seed=3)
    one(made, Request("which?", (clips[5],), generation, system="Listen."))
    [call] = server.calls
    assert call.path.endswith("/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
    audio = call.body["contents"][0]["parts"][0].pop("inlineData")
    assert audio["mimeType"] == "audio/wav"
    assert made.version == 1
    assert call.body == {
        "contents": [{"role": "user", "parts": [{}, {"text": "which?"}]}],
        "systemInstruction": {"role": "user", "parts": [{"text": "Listen."}]},
        "generationConfig": {
            "maxOutputTokens": 7,
            "temperature": 0.5,
            "topP": 0.9,
            "stopSequences": ["\n"],
            "seed": 3,
            "thinkingConfig": {"thinkingBudget": 0},
            "candidateCount": 1,
        },
    }
    assert call.seconds == [5.0]


@pytest.mark.parametrize(
    ("args", "limit", "thinking"),
    [
        ({"model": "gemini-2.5-flash-lite"}, 16, {"thinkingBudget": 0}),
        ({"model": "gemini-2.5-pro"}, 16, None),
        ({"model": "gemini-2.0-flash"}, 16, None),
        ({"model": "gemini-2.5-pro", "thinking_budget": 128}, 144, {"thinkingBudget": 128}),
    ],
)
def test_thinking_is_paid_beside_the_answer(
    server: FakeServer, args: dict[str, Any], limit: int, thinking: dict[str, int] | None
) -> None:
    one(model(server, **args), Request("q"))
    sent = server.calls[-1].body["generationConfig"]
    assert (sent["maxOutputTokens"], sent.get("thinkingConfig")) == (limit, thinking)


def test_of_several_streamed_answers_the_first_is_taken() -> None:
    chunks = [
        {"content": {"parts": [{"text": "The "}]}, "index": 0},
        {"content": {"parts": [{"text": "A dog"}]}, "index": 1, "finishReason": "MAX_TOKENS"},
        {"content": {"parts": [{"text": "cat"}]}, "index": 0, "finishReason": "STOP"},
    ]
    read = gemini._Streamed(AttemptClock())
    for candidate in chunks:
        read.take(GenerateContentResponse.model_validate({"candidates": [candidate]}))
    reply = read.reply()
    assert (reply.text, reply.finish_reason) == ("The cat", "stop")


def test_thinking_counts_as_output_because_it_is_paid_as_such(server: FakeServer) -> None:
    usage = one(model(server), Request("[think]")).usage
    assert usage.details["thinking_tokens"] == 16
    assert usage.output_tokens == 1 + 16
    assert one(model(server), Request("q")).usage.output_tokens == 1


def test_the_sdk_asks_again_and_the_clock_counts_the_last_attempt(
    server: FakeServer, clips: dict[int, Audio]
) -> None:
    server.delay, server.rejections = 0.15, 1
    usage = one(model(server, retries=1, audio_tokens_per_second=32), Request("q [429]", (clips[5],))).usage
    assert server.asked("q [429]") == 2
    assert usage.details["retries"] == 1
    assert usage.prefill_s is not None
    assert 0.14 < usage.prefill_s < 0.6
    assert usage.details["server_model"] == "fake-1"


@pytest.mark.parametrize(
    ("seconds", "hears", "split"),
    [
        (95, 1e9, True),
        (300, 1e9, False),
        (330, 1e9, True),
        (95, 30.0, False),
        (300, 30.0, True),
        (330, 300.0, False),
    ],
)
def test_what_was_heard(clips: dict[int, Audio], seconds: int, hears: float, split: bool) -> None:
    with FakeServer(rate=32, hears=hears, split=split) as server:
        response = one(model(server), Request("What is being said here, and by whom?", (clips[seconds],)))
        assert server.calls[-1].seconds == [float(seconds)]
    if hears > seconds:
        assert (response.status, response.usage.heard_seconds) == ("ok", pytest.approx(seconds))
        assert response.usage.audio_tokens == (32 * seconds if split else None)
    else:
        assert response.status == "error"
        assert f"of {seconds}.0 s" in (response.error or "")
        assert f"make {32 * seconds}" in (response.error or "")


def test_what_is_too_long_for_one_request_is_uploaded_and_deleted(
    server: FakeServer, clips: dict[int, Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini, "INLINE_BYTES", 2_000_000)
    monkeypatch.setattr(gemini, "_UPLOAD_POLL_S", 0.01)
    response = one(model(server, audio_tokens_per_second=32), Request("q", (clips[95], clips[5])))
    assert (response.status, response.usage.heard_seconds) == ("ok", 100.0)
    [call] = server.calls
    assert call.seconds == [95.0, 5.0]
    assert all("fileData" in part for part in call.body["contents"][0]["parts"][:2])
    assert sorted(server.deleted) == ["f0", "f1"]
    assert response.usage.prefill_s is not None


def test_keys(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MarathonError, match="gemini needs a key: set GEMINI_API_KEY or GOOGLE_API_KEY"):
        answers(Gemini.from_args({"model": "m"}), Request("q"))
    with pytest.raises(MarathonError, match="takes no 'api_key'"):
        model(server, api_key="AIzaMine")
    monkeypatch.setenv("GOOGLE_API_KEY", "second")
    one(model(server), Request("q"))
    monkeypatch.setenv("GEMINI_API_KEY", "first")
    one(model(server), Request("q"))
    assert [call.headers["x-goog-api-key"] for call in server.calls] == ["second", "first"]


def test_a_wrong_key_stops_with_one_line(clips: dict[int, Audio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "AIzaWrong")
    with FakeServer(key="right") as server:
        with pytest.raises(MarathonError, match="HTTP 401: Incorrect API key provided: <redacted>"):
            answers(model(server), *(Request(f"q{n}", (clips[5],)) for n in range(20)))
        assert len(server.calls) == 1


def test_the_environment_does_not_decide_who_answers(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    assert one(model(server), Request("q")).status == "ok"
    assert "projects" not in server.calls[-1].path


def test_fingerprint(server: FakeServer) -> None:
    plain = model(server).fingerprint
    assert (plain["adapter"], plain["base_url"]) == ("gemini", server.url)
    assert model(server, rpm=1, tpm=1, concurrency=1, timeout=1, retries=3, stream=False).fingerprint == plain
    changes: list[dict[str, Any]] = [{"model": "n"}, {"thinking_budget": 1}, {"extra_config": {"a": 1}}]
    assert len({str(model(server, **change).fingerprint) for change in [{}, *changes]}) == 4
