"""Tests every shape in which OpenAI-compatible servers write an answer, its thinking, and their errors."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.http_requests import one
from helpers.scripted_completions import chunks, completion, replying
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.models.openai_audio import OpenAIAudio

QUESTION = Request("which?", generation=Generation(max_new_tokens=5))


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)


def answered(body: Any, **args: Any) -> Response:
    status, kind = args.pop("status", 200), args.pop("kind", None)
    with replying(body, status, kind) as (url, _):
        made = OpenAIAudio.from_args({"model": "m", "base_url": url, "retries": 0, **args})
        return one(made, QUESTION)


THOUGHTS: list[dict[str, Any]] = [
    {"content": None, "reasoning": "Let me listen"},
    {"content": None, "reasoning_content": "Let me listen"},
    {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "Let me listen"}]},
    {"content": [{"type": "thinking", "thinking": "Let me listen"}]},
    {"content": "<think>Let me listen"},
    {"content": None},
    {"content": " \n"},
    {},
]


@pytest.mark.parametrize("message", THOUGHTS)
@pytest.mark.parametrize("stream", [False, True])
def test_thinking_that_was_cut_is_no_answer(message: dict[str, Any], stream: bool) -> None:
    body = chunks([message], "length") if stream else completion(message, "length")
    response = answered(body, stream=stream)
    assert response.status == "error"
    assert "no answer: " in str(response.error)
    assert "thinking_tokens=" in str(response.error)


@pytest.mark.parametrize(
    "message", [{"content": "B", "reasoning": "a tiger"}, {"content": "<think>x</think>B"}]
)
def test_an_answer_after_thinking_that_is_cut_later_counts(message: dict[str, Any]) -> None:
    response = answered(completion(message, "length"), stream=False)
    assert (response.status, response.text, response.finish_reason) == ("ok", message["content"], "length")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reason", ["abort", "error", "cancelled"])
def test_a_text_that_the_server_gave_up_on_is_no_answer(reason: str, stream: bool) -> None:
    message = {"content": "B because"}
    response = answered(chunks([message], reason) if stream else completion(message, reason), stream=stream)
    assert response.status == "error"
    assert f"the server gave up with the reason '{reason}' after 'B because'" in str(response.error)


@pytest.mark.parametrize("reason", ["model_length", "max_tokens", "MAX_TOKENS"])
@pytest.mark.parametrize("stream", [False, True])
def test_other_names_of_a_cut_are_read_as_one(reason: str, stream: bool) -> None:
    def replied(message: dict[str, Any]) -> Response:
        body = chunks([message], reason) if stream else completion(message, reason)
        return answered(body, stream=stream)

    assert replied({"content": "B"}).finish_reason == "length"
    assert "the reply was cut by its token limit before any text" in str(replied({"content": ""}).error)


def test_of_several_streamed_answers_the_first_is_taken() -> None:
    deltas = [{"content": "The "}, {"content": "A "}, {"content": "cat"}, {"content": "dog"}]
    *texts, end, usage = chunks(deltas)
    for number, chunk in enumerate(texts):
        chunk["choices"][0]["index"] = number % 2
    other_end = {**end, "choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}
    response = answered([*texts, end, other_end, usage])
    assert (response.text, response.finish_reason) == ("The cat", "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_of_another_kind_is_no_empty_answer(stream: bool) -> None:
    spoken = {"content": None, "audio": {"id": "1", "transcript": "B", "data": "AAAA"}}
    body: Any = chunks([spoken]) if stream else completion(spoken)
    assert "the model answered in speech; ask it for text" in str(answered(body, stream=stream).error)
    both = {**spoken, "content": "B"}
    assert answered(chunks([both]) if stream else completion(both), stream=stream).text == "B"
    old = completion({}, choices=[{"index": 0, "text": "B", "finish_reason": "stop"}])
    assert "holds no message" in str(answered([old] if stream else old, stream=stream).error)


def test_a_call_of_a_tool_is_no_answer_unless_there_is_a_text_too() -> None:
    assert answered(completion({"content": "B"}, "tool_calls"), stream=False).text == "B"
    alone = answered(completion({"content": None, "tool_calls": []}, "tool_calls"), stream=False)
    assert "the model called a tool in place of an answer" in str(alone.error)


PARTS: list[Any] = [
    [{"type": "text", "text": "The "}, {"type": "text", "text": "cat"}],
    [{"type": "thinking", "thinking": "meow?"}, {"type": "output_text", "text": "The cat"}],
    [{"text": "The cat"}],
    ["The ", "cat"],
    "The cat",
]


@pytest.mark.parametrize("content", PARTS)
@pytest.mark.parametrize("stream", [False, True])
def test_content_parts_are_read(content: Any, stream: bool) -> None:
    body = chunks([{"content": content}]) if stream else completion({"content": content})
    response = answered(body, stream=stream)
    assert (response.status, response.text) == ("ok", "The cat")


@pytest.mark.parametrize("content", [[{"type": "image_url", "image_url": {}}], {"text": "x"}, 4, [7]])
@pytest.mark.parametrize("stream", [False, True])
def test_content_that_is_no_text_is_an_error_row(content: Any, stream: bool) -> None:
    body = chunks([{"content": content}]) if stream else completion({"content": content})
    response = answered(body, stream=stream)
    assert response.status == "error"
    assert "content" in str(response.error)


def test_json_in_reply_to_a_streaming_request_is_read() -> None:
    response = answered(completion({"content": "A"}), stream=True, kind="application/json; charset=utf-8")
    assert (response.status, response.text, response.usage.input_tokens) == ("ok", "A", 20)


def test_an_error_in_a_body_of_status_200_is_said() -> None:
    response = answered({"error": {"message": "model is loading"}}, stream=True)
    assert "model is loading" in str(response.error)


@pytest.mark.parametrize(
    "said",
    [
        "Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 5 instead.",
        "max_completion_tokens must be at least 16",
    ],
)
def test_a_server_with_a_smallest_limit_names_the_argument(said: str) -> None:
    response = answered({"error": {"message": said}}, status=400)
    assert str(response.error).endswith("allow that many tokens: --gen_kwargs max_new_tokens=16")


def test_thinking_gets_tokens_of_its_own() -> None:
    with replying(completion({"content": "A"})) as (url, received):
        args = {"model": "m", "base_url": url, "stream": False}
        made = OpenAIAudio.from_args({**args, "thinking_tokens": 2000, "reasoning_effort": "low"})
        assert one(made, QUESTION).text == "A"
    assert (received[0]["max_tokens"], received[0]["reasoning_effort"]) == (2005, "low")
    plain = OpenAIAudio.from_args(args).fingerprint
    assert made.fingerprint == {**plain, "thinking_tokens": 2000, "reasoning_effort": "low"}
