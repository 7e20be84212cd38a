"""Tests that exactly one next batch is decoded and prepared while the model runs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import tiny_checkpoints
from helpers.unequal_clips import answers, falling, omni
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request, Response
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.models.qwen_omni import QwenOmni

#: Only a run that never overlaps waits so long.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    return falling(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("args", [{}, {"batch_size": 2}, {"max_batch_tokens": 600}, {"sharing": False}])
def test_the_next_batch_is_ready_before_the_model_is(
    args: dict[str, Any], checkpoint: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model gives no answer before the next batch's features are there: a run in turns would wait for ever."""
    prepare, answer = QwenOmni.prepare, HFAudio.answer
    made: dict[str, threading.Event] = {request.prompt: threading.Event() for request in requests}
    following = dict(zip((r.prompt for r in requests), (r.prompt for r in requests[1:]), strict=False))

    def watched(self: QwenOmni, loaded: Any, batch: Sequence[Request], waves: Any) -> Any:
        inputs = prepare(self, loaded, batch, waves)
        assert threading.current_thread().name.startswith("decode-ahead")
        for request in batch:
            made[request.prompt].set()
        return inputs

    def patient(self: HFAudio, loaded: Any, batch: Sequence[Request], inputs: Any) -> list[Response]:
        after = following.get(batch[-1].prompt)
        if after is not None:
            assert made[after].wait(PATIENCE), "nothing is prepared while the model works"
        return answer(self, loaded, batch, inputs)

    monkeypatch.setattr(QwenOmni, "prepare", watched)
    monkeypatch.setattr(HFAudio, "answer", patient)
    found = answers(omni(checkpoint, **args), requests)
    assert [one.error for one in found] == [None] * len(requests)


@pytest.mark.parametrize(
    ("args", "most"),
    [({}, 2), ({"batch_size": 2}, 4), ({"sharing": False}, 2), ({"max_batch_tokens": 600}, None)],
    ids=str,
)
def test_two_batches_of_audio_are_in_memory_at_most(
    args: dict[str, Any],
    most: int | None,
    checkpoint: Path,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: weakref.WeakValueDictionary[int, np.ndarray[Any, Any]] = weakref.WeakValueDictionary()
    samples, answer = Audio.samples, HFAudio.answer
    held: list[int] = []
    batches: list[int] = [0]

    def heard(self: Audio, rate: int) -> Any:
        wave = samples(self, rate)
        alive[len(alive) and max(alive) + 1] = wave
        held.append(len(alive))
        return wave

    def counted(self: HFAudio, loaded: Any, batch: Sequence[Request], inputs: Any) -> list[Response]:
        batches.append(len(batch))
        return answer(self, loaded, batch, inputs)

    monkeypatch.setattr(Audio, "samples", heard)
    monkeypatch.setattr(HFAudio, "answer", counted)
    # several questions on some of the clips: what is heard once counts once
    twice = [*requests, *(Request("And then?", one.audios, one.generation) for one in requests[:3])]
    twice.sort(key=lambda request: request.audios[0].path)
    assert all(one.error is None for one in answers(omni(checkpoint, **args), twice))
    two = most if most is not None else max(a + b for a, b in pairwise(batches))
    assert len(held) >= len(requests)
    assert max(held) <= two, held
