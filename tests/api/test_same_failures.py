"""Tests that a run whose requests all fail for one reason stops with it, and that other failures stay error rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from marathon_eval.api.complete import complete
from marathon_eval.api.model import Model, Request, Response, Usage
from marathon_eval.errors import MarathonError


class Scripted(Model):
    """Fails or answers each prompt as `script` says; a reason that begins with "raise " is an exception."""

    script: Callable[[int], str | None]
    calls = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        type(self).calls += 1
        for request in requests:
            reason = type(self).script(int(request.prompt))
            if reason is not None and reason.startswith("raise "):
                raise ValueError(reason.removeprefix("raise "))
            yield request, Response("A") if reason is None else Response.failed(reason)


def run(script: Callable[[int], str | None], number: int = 40) -> tuple[list[Response], MarathonError | None]:
    """Return the responses in order, and what stopped them."""

    class Model(Scripted):
        pass

    Model.script = staticmethod(script)
    found: list[Response] = []
    try:
        for _, response in complete(Model.from_args({}), [Request(str(n)) for n in range(number)]):
            found.append(response)
    except MarathonError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("reason", ["no such kernel", "raise no such kernel"])
def test_ten_failures_with_one_reason_stop_the_run(reason: str) -> None:
    found, error = run(lambda n: reason)
    assert len(found) == 10
    assert "10 requests in a row failed with the same reason: " in str(error)
    assert "no such kernel (answers before them are kept" in str(error)


def test_answers_before_them_are_yielded() -> None:
    found, error = run(lambda n: "out of cheese" if n >= 5 else None)
    assert [response.status for response in found] == ["ok"] * 5 + ["error"] * 10
    assert error is not None


@pytest.mark.parametrize("raised", ["", "raise "])
def test_failures_with_reasons_of_their_own_or_answers_between_them_do_not(raised: str) -> None:
    for script in (lambda n: f"{raised}clip {n}", lambda n: None if n % 10 == 9 else f"{raised}the same"):
        found, error = run(script)
        assert (len(found), error) == (40, None)


def test_fewer_than_ten_requests_are_error_rows() -> None:
    found, error = run(lambda n: "raise broken", 9)
    assert ([response.status for response in found], error) == (["error"] * 9, None)


def test_requests_that_a_server_was_not_sent_do_not_count() -> None:
    found, error = run(lambda n: "not asked: 3 requests before it failed")
    assert (len(found), error) == (40, None)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("at_once", [1, 4, 16, 40])
def test_only_the_request_that_raises_fails(order: int, at_once: int) -> None:
    sent: list[int] = []

    class Batches(Model):
        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
            ordered = list(requests)[::order]
            for first in range(0, len(ordered), at_once):
                batch = ordered[first : first + at_once]
                sent.append(len(batch))
                if any(int(request.prompt) in (20, 33) for request in batch):
                    raise ValueError("bad clip")
                yield from ((request, Response("A")) for request in batch)

    found = dict(complete(Batches.from_args({}), [Request(str(n)) for n in range(40)]))
    assert {int(request.prompt) for request, response in found.items() if response.error} == {20, 33}
    assert len(found) == 40
    assert sum(sent) <= 40 + 2 * 40 * 6, "each bad request is sought in halves"


def test_what_no_cache_entry_can_hold_is_an_error_that_names_it() -> None:
    import numpy as np

    given: dict[str, Any] = {
        "text": Response(None),  # type: ignore[arg-type]  # what a model's code may do
        "str as response": "A",
        "float32 as heard_seconds": Response("A", usage=Usage(heard_seconds=np.float32(1))),  # type: ignore[arg-type]  # as above
        "details": Response("A", usage=Usage(details={"p": np.float32(1)})),
        "finish_reason": Response("A", finish_reason=None),  # type: ignore[arg-type]  # as above
        "": Response("A", usage=Usage(heard_seconds=1, details={"p": [0.5, None]})),
    }

    class Careless(Model):
        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
            yield from ((request, given[request.prompt]) for request in requests)

    for request, response in complete(Careless.from_args({}), [Request(name) for name in given]):
        assert (response.status == "ok") == (request.prompt == "")
        assert request.prompt in (response.error or "")
