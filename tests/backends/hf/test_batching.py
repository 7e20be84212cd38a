"""Tests the choice of batches by number of requests and by token budget, with tiny weights."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import tiny_checkpoints
from helpers.tiny_model_cases import Benches
from helpers.unequal_clips import FEW, answered_alone, answers, falling, omni, sizes
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf import batching
from marathon_eval.backends.hf.batching import CPU_TOKENS, MAX_BATCH, Batching, padded
from marathon_eval.backends.hf.engine import memory, runner
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.models.qwen_omni import QwenOmni
from marathon_eval.models.whisper import Whisper


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"), seed=2)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    return falling(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def alone(checkpoint: Path, requests: list[Request]) -> list[str]:
    return answered_alone(checkpoint, requests)


# -- cutting ----------------------------------------------------------------------------------------------------------

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 1500))
def test_batches_are_the_requests_in_order_within_both_limits(
    lengths: list[int], most: int, budget: int
) -> None:
    asked = {Request(str(number)): length for number, length in enumerate(lengths)}
    waiting, limits, found = deque(asked), Batching(budget), []
    while waiting:
        batch = limits.take(waiting, most, asked.__getitem__)
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or padded([asked[one] for one in batch]) <= budget
        following = waiting[0] if waiting else None
        if following is not None and len(batch) < most:
            assert padded([asked[one] for one in [*batch, following]]) > budget
        found += batch
    assert found == list(asked)


@given(LENGTHS, st.integers(1, 1500))
def test_parts_are_the_batch_in_order_within_the_budget(lengths: list[int], budget: int) -> None:
    asked = {Request(str(number)): length for number, length in enumerate(lengths)}
    parts = Batching(budget).parts(list(asked), lengths)
    assert [one for part in parts for one in part] == list(asked)
    assert all(len(part) == 1 or padded([asked[one] for one in part]) <= budget for part in parts)


def test_what_is_decoded_otherwise_or_sampled_is_not_mixed() -> None:
    longer, sampled = Generation(max_new_tokens=9), Generation(temperature=1.0, seed=3)
    kinds = [FEW, FEW, longer, sampled, sampled, FEW]
    waiting = deque(Request(str(n), generation=kind) for n, kind in enumerate(kinds))
    found = []
    while waiting:
        found.append(len(Batching(10_000).take(waiting, 8, lambda request: 1)))
    assert found == [2, 1, 1, 1, 1]


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [420, 640, 1000])
def test_a_budget_of_tokens_changes_no_answer(
    budget: int, checkpoint: Path, requests: list[Request], alone: list[str]
) -> None:
    found = answers(omni(checkpoint, max_batch_tokens=budget), requests)
    assert [one.text for one in found] == alone
    assert max(sizes(found)) in (2, 3, 4, 5)
    assert all(one.usage.details["batch_tokens"] <= budget for one in found if one.usage.details["batch"] > 1)
    assert {one.usage.details["batch_budget"] for one in found} == {budget}
    assert not any("batch_halved" in one.usage.details for one in found)


@pytest.mark.parametrize("name", ["voxtral", "phi4_mm"])
def test_models_that_count_otherwise_or_take_one_at_a_time(
    name: str, bench: Benches, requests: list[Request]
) -> None:
    """Voxtral's clips are padded to windows, so that estimates are far too low; Phi-4 is asked one by one."""
    there = bench(name)
    apart = answers(there.adapter(), requests[:6])
    found = answers(there.adapter(max_batch_tokens=1000), requests[:6])
    assert [one.text for one in found] == [one.text for one in apart]
    assert max(sizes(found)) == (2 if there.case.batches else 1)
    if there.case.batches:
        assert all(one.usage.details["batch_tokens"] <= 1000 for one in found)


def test_a_number_and_a_budget_hold_together(checkpoint: Path, requests: list[Request]) -> None:
    found = answers(omni(checkpoint, max_batch_tokens=1000, batch_size=2), requests)
    assert max(sizes(found)) == 2
    assert (
        answers(omni(checkpoint, batch_size=2), requests)[0]
        .usage.details.keys()
        .isdisjoint({"batch_tokens", "batch_budget"})
    )


def test_an_evicting_press_is_asked_in_batches_too(checkpoint: Path, requests: list[Request]) -> None:
    press = Registry().press_class("knorm")(ratio=0.5)
    apart = answers(omni(checkpoint, press), requests[6:])
    found = answers(omni(checkpoint, press, batch_size="auto"), requests[6:])
    assert [one.text for one in found] == [one.text for one in apart]
    assert sizes(found) == [3, 3, 3]
    assert sizes(apart) == [1, 1, 1]
    assert found[0].usage.details["batch_budget"] == CPU_TOKENS


def test_auto_on_a_cpu(checkpoint: Path, requests: list[Request], alone: list[str]) -> None:
    model = omni(checkpoint, batch_size="auto")
    found = answers(model, requests)
    assert [one.text for one in found] == alone
    assert {one.usage.details["batch_budget"] for one in found} == {CPU_TOKENS}
    assert sizes(found) == [len(requests)] * len(requests)
    assert model.requests_at_once() == MAX_BATCH
    assert model.fingerprint == omni(checkpoint).fingerprint


def test_auto_on_a_gpu_asks_the_longest_alone_and_fills_what_is_free(
    checkpoint: Path, requests: list[Request], alone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a machine without one can tell: what the GPU would say is put in its mouth."""
    monkeypatch.setattr(runner, "tokens_to_start_with", lambda device: None)
    monkeypatch.setattr(memory, "free_gpu_bytes", lambda device: 7_500)
    seen = []

    def affordable(device: torch.device, tokens: int, peak: int | None) -> int:
        assert peak is None, "no GPU"
        seen.append(tokens)
        return memory.affordable_tokens(device, tokens, 10 * tokens)

    monkeypatch.setattr(runner, "affordable_tokens", affordable)
    found = answers(omni(checkpoint, batch_size="auto"), requests)
    assert [one.text for one in found] == alone
    assert seen == [found[0].usage.details["batch_tokens"]]
    # the second was on its way before the first was answered
    assert sizes(found)[:2] == [1, 1]
    assert max(sizes(found)) > 2
    assert {one.usage.details["batch_budget"] for one in found} == {600}
    assert all(one.usage.details["batch_tokens"] <= 600 for one in found)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--batch_size", "0"], ["--batch_size: must be a whole number of at least 1, or auto, got '0'"]),
        (["--batch_size", "many"], ["--batch_size: ", "got 'many'"]),
        (["--batch_size", "2.5"], ["--batch_size: ", "got '2.5'"]),
        (["--batch_size", "auto:4"], ["--batch_size: ", "auto:N measures again N times", "got 'auto:4'"]),
        (["--model_args", "batch_size=none"], ["--model_args: qwen_omni: batch_size: must be", "got 'none'"]),
        (["--model_args", "batch_size=true"], ["--model_args: qwen_omni: batch_size: must be", "got True"]),
        (["--model_args", "max_batch_tokens=0"], ["--model_args: qwen_omni: max_batch_tokens: ", "got 0"]),
        (["--model_args", "max_batch_token=9"], ["Did you mean max_batch_tokens?"]),
    ],
)
def test_wrong_sizes_are_one_line(
    flags: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", "qwen_omni", "--tasks", "gtzan", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("args", [{"batch_size": "auto"}, {"max_batch_tokens": 4000}])
def test_whisper_counts_windows(args: dict[str, Any]) -> None:
    with pytest.raises(MarathonError, match="windows of one length: set batch_size= to the number"):
        Whisper.from_args(args)


def test_the_flag_is_the_argument() -> None:
    assert batching.parse_batch_size("auto") == "auto"
    assert batching.parse_batch_size(" 8") == 8
    model = QwenOmni.from_args({"batch_size": "16"})
    assert isinstance(model, QwenOmni)
    assert model.requests_at_once() == 16
