"""Tests models/dummy.py, on which other tests depend."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import MakeWav
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.errors import MarathonError
from marathon_eval.models.dummy import Dummy


def answers(requests: list[Request], **args: Any) -> list[Response]:
    return [response for _, response in Dummy.from_args(args).generate(requests)]


def asked(count: int) -> list[Request]:
    return [Request(f"question {number}") for number in range(count)]


def test_constant_and_echo() -> None:
    assert [r.text for r in answers(asked(2), answer="The answer is C.")] == ["The answer is C."] * 2
    assert [r.text for r in answers(asked(2), mode="echo")] == ["question 0", "question 1"]


def test_random_depends_on_request_and_seed_alone(make_wav: MakeWav) -> None:
    requests = asked(200)
    first = [r.text for r in answers(requests, mode="random")]
    assert first == [r.text for r in answers(requests[::-1], mode="random")][::-1]
    assert first != [r.text for r in answers(requests, mode="random", seed=1)]
    assert all(30 <= first.count(letter) <= 70 for letter in "ABCD")
    here, copied = make_wav("a.wav"), make_wav("b/a.wav")
    other = [make_wav(f"{hz}.wav", hz=hz) for hz in (100, 200, 300, 400, 500, 600)]
    by_audio = [Request("q", (Audio(str(path)),)) for path in (here, copied, *other)]
    texts = [r.text for r in answers(by_audio, mode="random")]
    assert texts[0] == texts[1], "the path is not the content"
    assert len(set(texts)) > 1


def test_cycle_goes_by_the_requests_seed() -> None:
    requests = [Request("q", generation=Generation(temperature=1.0, seed=seed)) for seed in (0, 1, 5)]
    assert [r.text for r in answers(requests, mode="cycle")] == ["A", "B", "B"]


def test_failures_strike_where_told_and_are_not_in_the_fingerprint() -> None:
    statuses = [r.status for r in answers(asked(6), fail_every=3, fail_at=1)]
    assert statuses == ["error", "ok", "error", "ok", "ok", "error"]
    assert answers(asked(1), fail_at=1)[0].error == "dummy failed at request 1, as told"
    plain = Dummy.from_args({}).fingerprint
    assert Dummy.from_args({"fail_every": 2, "fail_at": 1, "sleep": 1.0}).fingerprint == plain
    for change in ({"answer": "B"}, {"mode": "echo"}, {"seed": 1}, {"choices": "AB"}, {"listen": True}):
        assert Dummy.from_args(change).fingerprint != plain


def test_reports_hearing_only_when_it_listens(make_wav: MakeWav) -> None:
    request = Request("q", (Audio(str(make_wav(seconds=2.5))),))
    assert answers([request])[0].usage.heard_seconds is None
    assert answers([request], listen=True)[0].usage.heard_seconds == 2.5
    missing = answers([Request("q", (Audio("nowhere.wav"),))], listen=True)[0]
    assert missing.status == "error"
    assert "no such audio file" in str(missing.error)


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(MarathonError, match="dummy takes no 'anser'. Did you mean answer"):
        Dummy.from_args({"anser": "B"})
    with pytest.raises(MarathonError, match="mode"):
        Dummy.from_args({"mode": "gold"})
