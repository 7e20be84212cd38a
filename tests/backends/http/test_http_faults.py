"""Tests that every API backend turns a server's faults into one error or refusal per request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from helpers.api_server import FakeServer
from helpers.http_requests import answers, make_clips, one
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Model, Request
from marathon_eval.errors import MarathonError
from marathon_eval.models.gemini import Gemini
from marathon_eval.models.openai_audio import OpenAIAudio

FAULTS = ("500", "drop", "cut", "empty", "think", "slow", "401", "refuse", "filter", "length")
#: Long enough for a healthy reply on a busy machine.
TIMEOUT = 1.5


@dataclass(frozen=True)
class Backend:
    """An adapter, how it is pointed at a server, and what its own words are."""

    adapter: type[Model]
    name: str
    path: str
    sdk: str
    words: dict[str, str]
    counts: dict[str, Any] = field(default_factory=dict)

    def model(self, url: str, **args: Any) -> Model:
        return self.adapter.from_args({"model": self.name, "base_url": url + self.path, "retries": 0, **args})


BACKENDS = {
    "openai_audio": Backend(
        OpenAIAudio,
        "m",
        "/v1",
        "openai",
        {
            "think": "went into thinking",
            "refuse": "I won't listen to this",
            "filter": "the content filter stopped the answer",
        },
    ),
    "gemini": Backend(
        Gemini,
        "gemini-2.5-flash",
        "",
        "google.genai",
        {
            "think": "all 16 tokens went into thinking",
            "refuse": "the prompt was blocked: SAFETY",
            "filter": "PROHIBITED_CONTENT",
        },
        {"rate": 32, "split": True},
    ),
}


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def server(backend: Backend) -> Iterator[FakeServer]:
    with FakeServer(**backend.counts) as fake:
        yield fake


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Audio]:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("stream", [True, False])
def test_one_bad_request_ends_no_other(
    backend: Backend, server: FakeServer, clips: dict[int, Audio], stream: bool
) -> None:
    made = backend.model(server.url, stream=stream, timeout=TIMEOUT)
    missing = Request("q [missing]", (Audio("/nowhere.wav"),))
    asked = [Request(f"q [{fault}]", (clips[5],)) for fault in (*FAULTS, *["stall"] * stream, "good")]
    got = {prompt[3:-1]: response for prompt, response in answers(made, missing, *asked).items()}
    refused, answered = {"refuse", "filter"}, {"length", "good"}
    for name, response in got.items():
        expected = "refused" if name in refused else "ok" if name in answered else "error"
        assert response.status == expected, (name, response)
        # what a filter stopped may stand there: it is not scored
        assert response.text == ("A" if name in answered | {"filter"} else ""), name
    assert len(got) == len(asked) + 1
    assert got["length"].finish_reason == "length"
    reasons = {name: response.error or "" for name, response in got.items()}
    assert "no such audio file" in reasons["missing"]
    assert reasons["500"] == "HTTP 500: out of cheese"
    assert reasons["drop"].startswith("no connection")
    assert ("broke off after 'A'" if stream else "no JSON, or cut short") in reasons["cut"]
    assert reasons["slow"] == f"no answer within {TIMEOUT:g} s"
    assert reasons.get("stall", reasons["slow"]) == reasons["slow"]
    assert reasons["401"] == "HTTP 401: revoked"
    assert "no answer" in reasons["empty"] or "no choices" in reasons["empty"]
    for name, words in backend.words.items():
        assert words in reasons[name]


@pytest.mark.parametrize(
    "retry_after", [{"Retry-After": "1"}, {"Retry-After": "soon"}], ids=["a second", "nonsense"]
)
def test_a_server_that_says_when_to_come_back_is_asked_then(
    retry_after: dict[str, str], clips: dict[int, Audio]
) -> None:
    """OpenAI's SDK reads the header; without one that it can read it comes back within half a second."""
    with FakeServer(rejections=1, retry_after=retry_after) as server:
        made = BACKENDS["openai_audio"].model(server.url, retries=1, audio_tokens_per_second=25)
        response = one(made, Request("q [429]", (clips[5],)))
        first, second = (call.at for call in server.calls)
    assert (response.status, response.usage.details["retries"]) == ("ok", 1)
    if retry_after == {"Retry-After": "1"}:
        assert second - first >= 1.0


def test_a_server_that_stays_busy_is_an_error_row(
    backend: Backend, server: FakeServer, clips: dict[int, Audio]
) -> None:
    server.rejections = 99
    rate = backend.counts.get("rate", 25)
    got = answers(
        backend.model(server.url, audio_tokens_per_second=rate),
        Request("q [429]", (clips[5],)),
        Request("good", (clips[5],)),
    )
    assert (got["q [429]"].status, got["q [429]"].error) == ("error", "HTTP 429: slow down")
    assert got["good"].text == "A"
    assert server.asked("q [429]") == 1


def test_without_usage_a_row_is_unverified(backend: Backend, clips: dict[int, Audio]) -> None:
    with FakeServer(usage=False) as server:
        response = one(backend.model(server.url), Request("q", (clips[95],)))
    assert (response.status, response.text, response.usage.heard_seconds) == ("unverified", "A", None)
    assert response.usage.details["unverified"] == "the server reports no token counts"


def test_no_server_at_all_is_one_line(backend: Backend, clips: dict[int, Audio]) -> None:
    with pytest.raises(MarathonError, match=f"http://127.0.0.1:9{backend.path}: no connection"):
        answers(backend.model("http://127.0.0.1:9"), Request("q", (clips[5],)))


def test_a_missing_sdk_is_named_with_its_extra(
    backend: Backend, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, backend.sdk, None)
    if "." in backend.sdk:
        monkeypatch.delattr(backend.sdk, raising=False)
    with pytest.raises(MarathonError, match=r"needs the extra 'api': pip install 'marathon-eval\[api\]'"):
        answers(backend.model(server.url), Request("q"))
