"""Tests a model behind an HTTP API: whether it hears long clips, answers at once and alone alike, thinks, and stops."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.backends.http.adapter import APIAudio
from marathon_eval.evaluator.selftest.clips import HEARD_LENGTHS, rustle_file
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, SelfTestResult, require

SHORT = Generation(max_new_tokens=16)
#: The number of requests that are sent at once and one by one.
SENT_AT_ONCE = 6
#: Tokens that end a turn in common chat templates; none may stand in an answer.
END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>", "<eos>")


def check_server(model: APIAudio, folder: Path, result: SelfTestResult) -> None:
    """Add the lines of a server to `result`; sounds are written into `folder`. Raises MarathonError when it is not there."""
    # the first call is made outside the checks, so that a server that is not there ends the self-test
    begun = _answers(model, [Request("What is heard?", (rustle_file(folder, 5.0),), SHORT)])[0]
    result.setting = {"server": model.shown_url, "server_model": begun.usage.details.get("server_model")}
    result.check("answers", lambda: _answered(begun))
    for seconds in HEARD_LENGTHS:
        result.check(f"hears {seconds:g} s", partial(_heard, model, folder, seconds))
    result.check(f"{SENT_AT_ONCE} at once = one by one", lambda: _at_once(model, folder))
    result.check("thinking that is cut", lambda: _cut_thinking(model))
    result.check("stop tokens", lambda: _stops(model, begun))


def _answers(model: APIAudio, requests: Sequence[Request]) -> list[Response]:
    found = dict(model.generate(requests))
    return [found[request] for request in requests]


def _answered(response: Response) -> str:
    require(response.status in ("ok", "unverified"), f"{response.error}")
    return f"{response.text[:60]!r}, finish {response.finish_reason}"


def _heard(model: APIAudio, folder: Path, seconds: float) -> str:
    """See by the server's token counts that a clip of this length is heard whole."""
    (response,) = _answers(model, [Request("What is heard?", (rustle_file(folder, seconds),), SHORT)])
    usage = response.usage
    if response.status == "unverified":
        raise NotApplicable(f"answered, but {usage.details.get('unverified')}")
    require(response.status == "ok", f"{response.error}")
    return f"{usage.heard_seconds:g} s by {usage.audio_tokens or usage.input_tokens} tokens of the prompt"


def _at_once(model: APIAudio, folder: Path) -> str:
    """Send requests at once and one by one, and compare the texts."""
    requests = [
        Request(f"What is heard? {n}", (rustle_file(folder, 5.0),), SHORT) for n in range(SENT_AT_ONCE)
    ]
    alone = [_answers(model, [request])[0] for request in requests]
    began = time.monotonic()
    together = _answers(model, requests)
    seconds = time.monotonic() - began
    for response in (*alone, *together):
        require(response.status in ("ok", "unverified"), f"{response.error}")
    differ = sum(a.text != b.text for a, b in zip(alone, together, strict=True))
    require(
        differ == 0,
        f"{differ} of {SENT_AT_ONCE} texts differ at temperature 0: the server's batches change its answers; concurrency=1 avoids it",
    )
    return f"equal texts; {SENT_AT_ONCE} at once took {seconds:.2f} s"


def _cut_thinking(model: APIAudio) -> str:
    """Ask a question that invites thinking with few tokens: an empty or thinking text must not count as an answer."""
    question = (
        "A train leaves at 9:40 and arrives at 13:05. How long does it take? Answer with the time only."
    )
    (response,) = _answers(model, [Request(question, (), SHORT)])
    thinking = response.usage.details.get("thinking_tokens")
    if response.status == "error":
        require("no answer: " in str(response.error), f"{response.error}")
        require(False, f"the model thinks, and {SHORT.max_new_tokens} tokens are too few: {response.error}")
    text = response.text.strip()
    require(bool(text) and not text.startswith("<think>"), f"{response.text[:60]!r} counts as an answer")
    return f"answered {text[:30]!r}" + (
        f" after {thinking} tokens of thinking" if thinking else ", without thinking"
    )


def _stops(model: APIAudio, begun: Response) -> str:
    """See that no end token stands in a text, and that a stop string ends one."""
    left = [token for token in END_TOKENS if token in begun.text]
    require(not left, f"the text contains {', '.join(left)}: the server does not stop at it")
    stopping = Generation(max_new_tokens=64, stop=("3",))
    (response,) = _answers(model, [Request("Count from 1 to 9, with spaces.", (), stopping)])
    require(response.status == "ok", f"a request with stop='3' failed: {response.error}")
    require("3" not in response.text, f"stop='3' did not end {response.text[:60]!r}")
    return f"no end token in the text; stop='3' gave {response.text[:30]!r}"
