"""Tests the OpenAI adapter against a server on loopback that really decodes the audio it receives."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.api_server import TEMPLATE_TOKENS, FakeServer
from helpers.http_requests import answers, make_clips, one
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Model, Request
from marathon_eval.errors import MarathonError
from marathon_eval.models.openai_audio import OpenAIAudio


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Audio]:
    return make_clips(tmp_path_factory.mktemp("clips"))


def model(server: FakeServer, **args: Any) -> Model:
    return OpenAIAudio.from_args({"model": "m", "base_url": f"{server.url}/v1", "retries": 2, **args})


def test_what_version_1_sends(server: FakeServer, clips: dict[int, Audio]) -> None:
    """A change here needs a new `version`, or old answers stand for new questions."""
    made = model(server, audio_tokens_per_second=25)
    generation = Generation(max_new_tokens=7, stop=("\n",), temperature=0.5, top_p=0.9, seed=3)
    one(made, Request("which?", (clips[5],), generation, system="Listen."))
    [call] = server.calls
    assert call.path == "/v1/chat/completions"
    user = call.body["messages"][1]["content"]
    assert user[0]["type"] == "input_audio"
    assert user[0]["input_audio"]["format"] == "wav"
    del user[0]["input_audio"]
    assert made.version == 1
    assert call.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Listen."},
            {"role": "user", "content": [{"type": "input_audio"}, {"type": "text", "text": "which?"}]},
        ],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n"],
        "seed": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert call.seconds == [5.0]


def test_settings_that_change_what_is_sent(server: FakeServer, clips: dict[int, Audio]) -> None:
    made = model(
        server,
        audio_tokens_per_second=25,
        audio_part="audio_url",
        audio_format="mp3",
        audio_first=False,
        stream=False,
        extra_body={"top_k": 1},
    )
    assert one(made, Request("which?", (clips[5],))).status == "ok"
    [call] = server.calls
    text, audio = call.body["messages"][0]["content"]
    assert text == {"type": "text", "text": "which?"}
    assert audio["audio_url"]["url"].startswith("data:audio/mp3;base64,")
    assert call.body["top_k"] == 1
    assert "stream" not in call.body
    assert call.seconds == [pytest.approx(5.0, abs=0.1)]


def test_only_openai_itself_is_told_max_completion_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    made = OpenAIAudio.from_args({"model": "gpt-audio"})
    assert made.body(Request("q"), [])["max_completion_tokens"] == 16  # type: ignore[attr-defined]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    made = OpenAIAudio.from_args({"model": "gpt-audio"})
    assert made.fingerprint["base_url"] == "http://127.0.0.1:9/v1"
    assert made.body(Request("q"), [])["max_tokens"] == 16  # type: ignore[attr-defined]


def test_fingerprint(server: FakeServer) -> None:
    """Transport stays out; base_url is in, unless `identity` says what stands behind it."""
    plain = model(server).fingerprint
    transport = {"concurrency": 1, "rpm": 5, "tpm": 5, "timeout": 5, "retries": 0, "stream": False}
    assert model(server, **transport).fingerprint == plain
    assert plain["base_url"] == f"{server.url}/v1"
    assert plain["adapter"] == "openai_audio"
    changes: list[dict[str, Any]] = [
        {"model": "n"},
        {"base_url": "http://127.0.0.1:1/v1"},
        {"audio_format": "mp3"},
        {"audio_part": "audio_url"},
        {"audio_first": False},
        {"sample_rate": 24000},
        {"audio_tokens_per_second": 25},
        {"extra_body": {"top_k": 1}},
        {"identity": "Qwen2-Audio on vLLM 0.33"},
    ]
    different = [str(model(server, **change).fingerprint) for change in changes]
    assert len({str(plain), *different}) == 1 + len(changes)
    here, there = model(server, identity="x"), model(server, identity="x", base_url="http://127.0.0.1:1/v1")
    assert here.fingerprint == there.fingerprint


def test_time_to_first_token_is_that_of_the_attempt_that_was_answered(
    server: FakeServer, clips: dict[int, Audio]
) -> None:
    server.delay = 0.15
    made = model(server, audio_tokens_per_second=25)
    retried = one(made, Request("q [429]", (clips[5],))).usage
    assert server.asked("q [429]") == 3
    assert retried.details["retries"] == 2
    assert retried.prefill_s is not None
    assert 0.14 < retried.prefill_s < 0.4
    assert retried.decode_s is not None
    assert retried.decode_s < 0.1
    whole = one(model(server, audio_tokens_per_second=25, stream=False), Request("q", (clips[5],))).usage
    assert (whole.prefill_s, whole.decode_s) == (None, None)
    assert whole.details["total_s"] > 0.14


def test_answers_arrive_as_they_finish_within_the_limit(server: FakeServer, clips: dict[int, Audio]) -> None:
    made = model(server, timeout=1.0, retries=0, concurrency=3, audio_tokens_per_second=25)
    requests = [Request("q [slow]", (clips[5],)), *(Request(f"q{n}", (clips[5],)) for n in range(9))]
    order = [request.prompt for request, _ in made.generate(requests)]
    assert order[-1] == "q [slow]"
    assert sorted(order) == sorted(request.prompt for request in requests)
    assert 2 <= server.most_at_once <= 3


def test_requests_per_minute(server: FakeServer) -> None:
    made = model(server, rpm=300)  # one every 0.2 s
    began = time.monotonic()
    answers(made, *(Request(f"q{n}") for n in range(4)))
    assert 0.6 <= time.monotonic() - began < 1.5


@pytest.mark.parametrize(("seconds", "split"), [(95, True), (300, False), (330, False)])
def test_a_long_clip_is_heard_whole(clips: dict[int, Audio], seconds: int, split: bool) -> None:
    with FakeServer(rate=13, split=split) as server:
        response = one(model(server), Request("What is being said here, and by whom?", (clips[seconds],)))
    assert (response.status, response.text) == ("ok", "A")
    assert response.usage.heard_seconds == pytest.approx(seconds)
    assert response.usage.audio_tokens == (13 * seconds if split else None)
    assert response.usage.input_tokens == 13 * seconds + TEMPLATE_TOKENS + 10


@pytest.mark.parametrize(("hears", "seconds", "split"), [(30, 95, False), (30, 300, True), (300, 330, False)])
def test_a_cut_clip_is_an_error_row(clips: dict[int, Audio], hears: int, seconds: int, split: bool) -> None:
    with FakeServer(hears=hears, split=split) as server:
        response = one(model(server), Request("What is being said here, and by whom?", (clips[seconds],)))
    assert (response.status, response.text) == ("error", "")
    assert f"of {seconds}.0 s" in (response.error or "")
    assert f"make {25 * seconds}" in (response.error or "")


def test_calibration_is_two_calls_and_a_given_rate_none(server: FakeServer, clips: dict[int, Audio]) -> None:
    one(model(server), Request("q", (clips[5],)))
    assert [call.seconds for call in server.calls] == [[10.0], [30.0], [5.0]]
    server.calls.clear()
    one(model(server, audio_tokens_per_second=25), Request("q", (clips[5],)))
    one(model(server), Request("text alone"))
    assert [call.seconds for call in server.calls] == [[5.0], []]


def test_one_run_calibrates_once_and_outlives_its_server(clips: dict[int, Audio]) -> None:
    with FakeServer() as server:
        made = model(server, retries=0)
        for prompt in ("q1", "q2"):
            assert one(made, Request(prompt, (clips[5],))).status == "ok"
        assert [call.seconds for call in server.calls] == [[10.0], [30.0], [5.0], [5.0]]
    response = one(made, Request("q3", (clips[5],)))
    assert response.status == "error"
    assert (response.error or "").startswith("no connection")


def test_a_given_rate_that_the_server_does_not_keep_is_an_error(clips: dict[int, Audio]) -> None:
    with FakeServer(rate=12.5) as server:
        response = one(model(server, audio_tokens_per_second=25), Request("q", (clips[95],)))
    assert response.status == "error"


def test_a_server_that_pads_to_windows_needs_a_third_call(clips: dict[int, Audio]) -> None:
    with FakeServer(rate=12.5, window=30) as server:
        response = one(model(server), Request("q", (clips[95],)))
        assert [call.seconds for call in server.calls] == [[10.0], [30.0], [60.0], [95.0]]
    assert response.status == "ok"


def test_a_key_is_needed_by_openai_alone(
    server: FakeServer, clips: dict[int, Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MarathonError, match="--model openai_audio needs a key: set OPENAI_API_KEY"):
        answers(OpenAIAudio.from_args({"model": "m"}), Request("q"))
    assert one(model(server), Request("q", (clips[5],))).status == "ok"
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    one(model(server), Request("q"))
    assert server.calls[-1].headers["authorization"] == "Bearer from-the-environment"


def test_a_key_as_an_argument_is_refused_and_not_repeated(server: FakeServer) -> None:
    with pytest.raises(
        MarathonError, match="takes no 'api_key': .* Set OPENAI_API_KEY in the environment"
    ) as caught:
        model(server, api_key="sk-mine-123456")
    assert "sk-mine" not in str(caught.value)


def test_wrong_arguments_are_named(server: FakeServer) -> None:
    with pytest.raises(MarathonError, match="takes no 'concurency'. Did you mean concurrency"):
        model(server, concurency=3)
    with pytest.raises(MarathonError, match="openai_audio: concurrency"):
        model(server, concurrency=0)
    with pytest.raises(MarathonError, match="base_url must hold no user, password or query"):
        model(server, base_url="http://me:pw@127.0.0.1/v1")


def test_a_wrong_key_stops_at_once_with_one_line(clips: dict[int, Audio]) -> None:
    with FakeServer(key="right") as server:
        requests = [Request(f"q{n}", (clips[5],)) for n in range(20)]
        with pytest.raises(MarathonError, match=r"--model openai_audio: http.*: HTTP 401: Incorrect API key"):
            answers(model(server), *requests)
        assert len(server.calls) == 1
        with pytest.raises(MarathonError, match="HTTP 401"):  # no calibration that could have found out
            answers(model(server, audio_tokens_per_second=25, concurrency=1), *requests)
        assert len(server.calls) == 4


def test_a_server_that_goes_away_keeps_what_it_answered_and_is_not_asked_for_ever(
    clips: dict[int, Audio],
) -> None:
    with FakeServer() as server:
        made = model(server, retries=0, concurrency=1, audio_tokens_per_second=25)
        stream = made.generate([Request(f"q{n}" + " [drop]" * (n >= 5), (clips[5],)) for n in range(40)])
        got = [response for _, response in stream]
        assert len(server.calls) == 5 + 3
    assert [response.status for response in got] == ["ok"] * 5 + ["error"] * 35
    assert (got[-1].error or "").startswith("not asked: 3 requests before it failed with no connection")


def test_a_press_is_refused() -> None:
    from marathon_eval.presses.random import Random

    with pytest.raises(MarathonError, match="openai_audio takes no press"):
        OpenAIAudio.from_args({"model": "m"}, Random(ratio=0.5))


def test_a_clip_is_sent_at_the_rate_asked_for(
    server: FakeServer, make_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    import soundfile

    one(model(server, sample_rate=24000), Request("q", (Audio(str(make_wav(seconds=2)), 0.5, 1.5),)))
    data = server.calls[-1].body["messages"][0]["content"][0]["input_audio"]["data"]
    with soundfile.SoundFile(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.samplerate, file.frames, file.channels) == (24000, 24000, 1)


def test_the_size_that_openai_takes_is_told_before_anything_is_sent() -> None:
    request = Request("?", (Audio("unread.wav"),))
    model = OpenAIAudio.from_args({"model": "m", "base_url": "https://api.openai.com/v1"})
    assert model.misfit(request, 600.0) is None
    assert "22.4 MB of audio: https://api.openai.com/v1 takes clips of 20 MB" in str(
        model.misfit(request, 700.0)
    )
    mp3 = OpenAIAudio.from_args(
        {"model": "m", "base_url": "https://a.openai.azure.com/v1", "audio_format": "mp3"}
    )
    assert mp3.misfit(request, 700.0) is None, "its size is known once it is encoded"
    own = OpenAIAudio.from_args({"model": "m", "base_url": "http://127.0.0.1:1/v1"})
    assert own.misfit(request, 7000.0) is None, "another server's limit is its own"
