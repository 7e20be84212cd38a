"""Tests the store of a run's responses: they come out unchanged, and many of them take less memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from marathon_eval.api.model import Request, Response, Usage
from marathon_eval.evaluator import compressed_responses
from marathon_eval.evaluator.compressed_responses import Responses
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate

ROWS = 1000
TASK = """\
dataset_path: json
dataset_kwargs: {data_files: rows.json}
doc_to_text: q
doc_to_target: a
metric_list:
  - {metric: exact_match}
"""
RESPONSES = [
    Response("A"),
    Response("", "length", "unverified", None, Usage(audio_tokens=750, encode_s=0.1 + 0.2)),
    Response.failed("out of memory: größer \ud83d"),
    Response("a\nb", usage=Usage(details={"batch": 2, "kv_tokens": {"0-3": 9}, "warm_up": True})),
]


@pytest.fixture(params=[0, 2, 8192])
def as_they_are(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, some and all held as objects."""
    monkeypatch.setattr(compressed_responses, "AS_THEY_ARE", request.param)


@pytest.mark.usefixtures("as_they_are")
def test_what_goes_in_comes_out() -> None:
    requests = [Request(str(number)) for number in range(len(RESPONSES))]
    kept = Responses(zip(requests, RESPONSES, strict=True))
    assert list(kept.items()) == list(zip(requests, RESPONSES, strict=True))
    assert kept.get(Request("other")) is None
    kept[requests[0]] = RESPONSES[3]
    assert kept.take(requests[0]) == RESPONSES[3]
    assert kept.take(requests[0]) is None
    del kept[requests[1]]
    assert list(kept) == requests[2:]
    kept.clear()
    assert len(kept) == 0


def test_many_take_half_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = []
    for limit in (0, ROWS):
        monkeypatch.setattr(compressed_responses, "AS_THEY_ARE", limit)
        requests = [Request(str(number)) for number in range(ROWS)]
        tracemalloc.start()
        kept = Responses((request, costly(number)) for number, request in enumerate(requests))
        rooms.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(kept) == ROWS
    assert rooms[0] < rooms[1] / 2


def costly(number: int) -> Response:
    """An answer with the usage of a model that runs here."""
    share = number / 7
    details = {"tokens_per_s": share, "select_s": share / 3, "kv_tokens": {"0-27": number + 300}}
    seconds = {name: share + place for place, name in enumerate(("encode_s", "prefill_s", "decode_s"))}
    return Response(
        f"the answer is {number}", usage=Usage(audio_tokens=number + 300, details=details, **seconds)
    )


@pytest.mark.usefixtures("as_they_are")
@pytest.mark.parametrize("repeated", [False, True])
def test_a_run_scores_them_all(tmp_path: Path, repeated: bool) -> None:
    """Also where two tasks share their requests."""
    (tmp_path / "rows.json").write_text(json.dumps([{"q": f"{number}?", "a": "A"} for number in range(6)]))
    names = ("first", "second") if repeated else ("first",)
    for name in names:
        (tmp_path / f"{name}.yaml").write_text(TASK)
    tasks = tuple(str(tmp_path / f"{name}.yaml") for name in names)
    result = evaluate(RunConfig(model="dummy", tasks=tasks, data_dir=str(tmp_path), no_cache=True))
    assert result.cache == {"hits": 0, "misses": 6}
    assert {name: task.n_scored for name, task in result.tasks.items()} == dict.fromkeys(names, 6)
    assert all(row.response == "A" for name in names for row in result.samples[name])
