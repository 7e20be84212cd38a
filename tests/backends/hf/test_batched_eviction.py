"""Tests that answers under eviction presses are the same in a batch and one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from helpers.tiny_model_cases import Benches, answers
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import Press, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine import evicted_answer
from marathon_eval.backends.hf.engine.batched_decoding import merged
from marathon_eval.backends.hf.engine.token_chooser import Chooser
from marathon_eval.backends.hf.inputs import RATE

SECONDS = (2.0, 5.0, 3.3, 1.1)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """Four questions of different lengths on clips of different lengths."""
    folder, made = tmp_path_factory.mktemp("clips"), []
    for number, seconds in enumerate(SECONDS):
        path = folder / f"{number}.wav"
        soundfile.write(path, noise(seconds, number), RATE)
        made.append(Request("What is heard?" + " Say it." * number, (Audio(str(path)),), Generation(8)))
    return made


def press_of(name: str, **settings: Any) -> Press:
    return press_from_args(Registry().press_class(name), settings)


class Logits:
    """The logits that every chooser saw, by its answer's tokens so far."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[int, list[torch.Tensor]] = {}
        self.order: list[int] = []
        original = Chooser.__call__

        def watched(chooser: Chooser, logits: torch.Tensor) -> int | None:
            if id(chooser.tokens) not in self.seen:
                self.order.append(id(chooser.tokens))
            self.seen.setdefault(id(chooser.tokens), []).append(logits.clone())
            return original(chooser, logits)

        monkeypatch.setattr(Chooser, "__call__", watched)

    def rows(self) -> list[torch.Tensor]:
        return [torch.stack(self.seen[key]) for key in self.order]


@pytest.mark.parametrize(
    ("model", "name", "settings"),
    [
        ("qwen_omni", "knorm", {"ratio": 0.6}),
        ("qwen_omni", "pyramidkv", {"ratio": 0.5, "window": 8}),
        ("qwen_omni", "snapkv", {"ratio": 0.6, "window": 8, "evict": "prompt"}),
        ("qwen_omni", "energy+knorm", {"ratio": "0.3+0.6", "layer": 1}),
        ("voxtral", "random_kv", {"ratio": 0.6}),
    ],
)
def test_a_batch_answers_as_one_by_one(
    model: str,
    name: str,
    settings: dict[str, Any],
    bench: Benches,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, press = bench(model), press_of(name, **settings)
    kept: list[Any] = []  # choosers, so that no id is given twice
    made = evicted_answer.Chooser
    monkeypatch.setattr(evicted_answer, "Chooser", lambda *args: kept.append(made(*args)) or kept[-1])
    alone = Logits(monkeypatch)
    single = answers(there.adapter(press), requests)
    monkeypatch.undo()
    monkeypatch.setattr(evicted_answer, "Chooser", lambda *args: kept.append(made(*args)) or kept[-1])
    together = Logits(monkeypatch)
    batched = answers(there.adapter(press, batch_size=4), requests)
    assert [response.usage.details["batch"] for response in batched] == [4] * 4
    for one, other in zip(alone.rows(), together.rows(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0.0)
    for one_by_one, in_batch in zip(single, batched, strict=True):
        assert one_by_one.status == in_batch.status == "ok"
        assert one_by_one.text == in_batch.text
        for count in ("kept_tokens", "audio_tokens", "input_tokens", "output_tokens", "kv_bytes"):
            assert getattr(one_by_one.usage, count) == getattr(in_batch.usage, count)


def test_a_row_that_ends_early_leaves_the_others_alone(bench: Benches, requests: list[Request]) -> None:
    """All stop at a character that some answers have and others have not."""
    there, press = bench("qwen_omni"), press_of("knorm", ratio=0.5)
    texts = [response.text for response in answers(there.adapter(press), requests)]
    stop = next(sign for sign in "".join(texts) if any(sign not in text for text in texts))
    stopping = [replace(request, generation=Generation(8, stop=(stop,))) for request in requests]
    single = answers(there.adapter(press), stopping)
    batched = answers(there.adapter(press, batch_size=4), stopping)
    assert [response.usage.details["batch"] for response in batched] == [4] * 4
    assert [(one.text, one.finish_reason) for one in batched] == [
        (one.text, one.finish_reason) for one in single
    ]
    assert len({one.usage.output_tokens for one in batched}) > 1


def test_caches_are_padded_on_the_left(bench: Benches) -> None:
    from transformers import DynamicCache

    decoder, caches = bench("qwen_omni").decoder, []
    for number, tokens in enumerate((3, 5)):
        cache = DynamicCache(config=decoder.stack.config)
        for layer in range(len(decoder.layers)):
            cache.update(*torch.full((2, 1, 2, tokens + layer, 4), number + 1.0), layer)
        caches.append(cache)
    joined, valid = merged(decoder, caches)
    assert joined.layers[1].keys.shape == (2, 2, 6, 4)
    assert joined.layers[0].keys[0, 0, :, 0].tolist() == [0, 0, 1, 1, 1]
    assert valid[0].tolist() == [[False, False, True, True, True], [True] * 5]


def test_cells_that_share_a_context_answer_one_by_one(bench: Benches) -> None:
    there = bench("qwen_omni")
    cells = [there.adapter(press_of("knorm", ratio=ratio), batch_size=4) for ratio in (0.3, 0.6)]
    assert cells[0].requests_at_once() == 4
    for cell in cells:
        cell.cells = cells
    assert cells[0].requests_at_once() == 1


def test_every_request_is_prepared_alone(bench: Benches, requests: list[Request], tmp_path: Path) -> None:
    """A clip that cannot be heard fails alone."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    bad = replace(requests[1], audios=(Audio(str(broken)),))
    found = answers(
        bench("qwen_omni").adapter(press_of("knorm", ratio=0.5), batch_size=4),
        [requests[0], bad, requests[2]],
    )
    assert [response.status for response in found] == ["ok", "error", "ok"]
