"""Tests batches whose longest prompt loses no token: the other rows lose theirs all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.tiny_model_cases import FEW, MODELS, PRESSES, PRUNING, RELATED, Bench, Benches, Clips
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Request, Response
from marathon_eval.api.press import PruningPress, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.finite_logits import FiniteLogits

LONG = "Listen to all of it. " * 30
#: Seconds of a clip that is one audio token to the models that have no fixed window.
ONE_TOKEN = 0.04
CLOSE: Any = {"atol": 1e-4, "rtol": 0.0}
#: Tiny weights answer alike with and without nine tenths of the audio; their logits move by more than this.
MOVED = 1e-3
#: Those that make batches and answer a prompt without a clip.
BATCHING = [
    name
    for name, case in MODELS.items()
    if case.batches and not case.transcribes and name not in (*RELATED, "music_flamingo", "gemma3n")
]


def rows(clip: Clips, longest: str) -> list[Request]:
    """Two questions on clips, after a longer prompt that loses nothing."""
    audios = (clip(ONE_TOKEN),) if longest == "one token" else ()
    return [
        Request(LONG + "Which letter?", audios, FEW),
        Request("What is heard?", (clip(3.0),), FEW),
        Request("Is it loud?", (clip(2.0),), FEW),
    ]


@contextmanager
def first_logits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Yield the logits [vocabulary] of the first token of every row that is answered meanwhile, in order."""
    seen: list[Tensor] = []
    original = FiniteLogits.__call__

    def watched(self: FiniteLogits, input_ids: Tensor, scores: Any) -> Any:
        if self.steps == 0:
            seen.extend(scores.clone())
        return original(self, input_ids, scores)

    with monkeypatch.context() as patch:
        patch.setattr(FiniteLogits, "__call__", watched)
        yield seen


def asked_under(
    there: Bench,
    press: PruningPress | None,
    requests: Sequence[Request],
    size: int,
    patch: pytest.MonkeyPatch,
) -> tuple[list[Response], Tensor]:
    """Return the answers in batches of `size`, and the logits [rows, vocabulary] of their first tokens."""
    with first_logits(patch) as seen:
        adapter = there.adapter(press, batch_size=size, sharing=False)
        found = dict(complete(adapter, requests))
    answers = [found[request] for request in requests]
    assert [(one.status, one.error) for one in answers] == [("ok", None)] * len(requests)
    assert {one.usage.details["batch"] for one in answers} == {size}
    return answers, torch.stack(seen)


def press_for(there: Bench, name: str, **settings: Any) -> PruningPress:
    """Build the press at a layer that it and the model take, with nine tenths removed unless `settings` say else."""
    press_class: Any = PRESSES[name]
    given: dict[str, Any] = {"m": 10} if name == "pool" else {"ratio": 0.9}
    if there.case.at_input or press_class.only_layer == 0:
        given["layer"] = 0
    press = press_from_args(press_class, {**given, **settings})
    assert isinstance(press, PruningPress)
    return press


def check_batch_is_singles(
    there: Bench, press: PruningPress, requests: Sequence[Request], patch: pytest.MonkeyPatch
) -> None:
    batched, together = asked_under(there, press, requests, len(requests), patch)
    single, alone = asked_under(there, press, requests, 1, patch)
    _, whole = asked_under(there, None, requests, 1, patch)
    torch.testing.assert_close(together, alone, **CLOSE)
    assert float((together[1:] - whole[1:]).abs().amax(dim=1).min()) > MOVED, "the press had no effect"
    for one, other in zip(batched, single, strict=True):
        assert one.text == other.text
        for count in ("audio_tokens", "kept_tokens", "input_tokens", "output_tokens", "kv_bytes"):
            assert getattr(one.usage, count) == getattr(other.usage, count), count
        assert one.usage.details["kv_tokens"] == other.usage.details["kv_tokens"]
    assert batched[0].usage.kept_tokens == batched[0].usage.audio_tokens


@pytest.mark.parametrize("longest", ["no clip", "one token"])
@pytest.mark.parametrize("name", PRUNING)
def test_every_pruning_press(
    name: str, longest: str, bench: Benches, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench("qwen_omni")
    check_batch_is_singles(there, press_for(there, name), rows(clip, longest), monkeypatch)


@pytest.mark.parametrize("model", BATCHING)
def test_every_model_that_makes_batches(
    model: str, bench: Benches, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench(model)
    check_batch_is_singles(there, press_for(there, "random"), rows(clip, "no clip"), monkeypatch)


@pytest.mark.parametrize("name", ["truncate", "dart"])
@pytest.mark.parametrize(
    ("layer", "ratio"), [("1+3", "0.3+0.9"), ("1+3", "0+0.9"), ("1+2+3", "0.1+0.105+0.9")]
)
def test_stages(
    name: str, layer: str, ratio: str, bench: Benches, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench("qwen_omni")
    press = press_for(there, name, layer=layer, ratio=ratio)
    check_batch_is_singles(there, press, rows(clip, "no clip"), monkeypatch)


def test_a_row_without_a_clip_at_ratio_zero(
    bench: Benches, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rule is asked about it, so it is answered as without a press."""
    there, (text, *_) = bench("qwen_omni"), rows(clip, "no clip")
    (plain,), logits = asked_under(there, None, [text], 1, monkeypatch)
    for name in PRUNING:
        if name == "pool":
            continue
        (answer,), pressed = asked_under(there, press_for(there, name, ratio=0.0), [text], 1, monkeypatch)
        assert answer.text == plain.text
        torch.testing.assert_close(pressed, logits, **CLOSE)


def test_answers_of_such_batches_are_asked_again() -> None:
    """The cache's key does not know of batches, so the cuts have a version, which pairs, cut one by one, do not have."""
    press = press_from_args(PRESSES["truncate"], {"ratio": 0.5})
    assert press.fingerprint["version"] == PRESSES["truncate"].version + 1
    compat = press_from_args(PRESSES["dart"], {"ratio": 0.5, "compat": "audiomarathon"})
    assert compat.fingerprint["version"] == PRESSES["dart"].compat_version + 1  # type: ignore[attr-defined]  # pruning
    knorm = press_from_args(PRESSES["knorm"], {"ratio": 0.5})
    assert knorm.fingerprint["version"] == PRESSES["knorm"].version
    pair = press_from_args(Registry().press_class("truncate+knorm"), {"ratio": "0.5+0.6"})
    assert pair.fingerprint["pruning"]["version"] == PRESSES["truncate"].version
