"""Tests running out of memory in batches, single requests and at random: no response is lost, changed or repeated."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import tiny_checkpoints
from helpers.multi_question_task import config, data
from helpers.unequal_clips import answered_alone, answers, falling, omni, short_of_memory, sizes
from marathon_eval.api.model import Request, Response
from marathon_eval.api.results import RunResult
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.models.qwen_omni import QwenOmni

ALONE = "out of memory even in a batch of one: dtype=bfloat16 needs less, device_map=auto spreads the model over devices"
SHORTAGES = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: not enough memory: you tried"),
    MemoryError(),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"), seed=2)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    return falling(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def alone(checkpoint: Path, requests: list[Request]) -> list[str]:
    return answered_alone(checkpoint, requests)


def counted_answers(patch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each prompt came back from the model with an answer."""
    told: Counter[str] = Counter()
    original = QwenOmni.answer

    def answer(self: QwenOmni, loaded: Any, requests: Sequence[Request], inputs: Any) -> list[Response]:
        found = original(self, loaded, requests, inputs)
        told.update(request.prompt for request in requests)
        return found

    patch.setattr(QwenOmni, "answer", answer)
    return told


@pytest.mark.parametrize(
    ("args", "shortage"),
    [
        ({"batch_size": "auto"}, SHORTAGES[0]),
        ({"batch_size": 6}, SHORTAGES[1]),
        ({"max_batch_tokens": 5000}, SHORTAGES[2]),
    ],
    ids=["auto", "number", "budget"],
)
def test_a_batch_too_large_for_memory_is_halved_for_the_rest(
    args: dict[str, Any],
    shortage: BaseException,
    checkpoint: Path,
    requests: list[Request],
    alone: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = omni(checkpoint, **args)
    with short_of_memory(model, lambda states: shortage if states[..., 0].numel() > 700 else None) as seen:
        told = counted_answers(monkeypatch)
        found = answers(model, requests)
    assert [one.text for one in found] == alone
    assert told == Counter(request.prompt for request in requests)
    answered = round(sum(1 / size for size in sizes(found)))
    assert 1 <= len(seen) - answered <= 2, (
        "memory that did not suffice twice, at the most, for 2,200 tokens and 700"
    )
    assert max(sizes(found)) > 1
    budgets = [one.usage.details["batch_budget"] for one in found]
    assert budgets == sorted(budgets, reverse=True)
    assert all(one.usage.details["batch_halved"] >= 1 for one in found)
    assert all(one.usage.details["batch_tokens"] <= one.usage.details["batch_budget"] for one in found)
    said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert len(said) == 1
    assert f"at most {budgets[-1]} tokens at once from here on" in said[0]


def test_one_that_does_not_fit_alone_is_an_error_row(
    checkpoint: Path, requests: list[Request], alone: list[str]
) -> None:
    model = omni(checkpoint, batch_size="auto")
    prompts = [one.usage.input_tokens or 0 for one in answers(model, requests)]
    limit = sorted(prompts)[-2]
    model = omni(checkpoint, batch_size="auto")
    # wherever the longest one stands in a batch
    with short_of_memory(model, lambda states: SHORTAGES[1] if states.shape[1] >= limit else None) as seen:
        found = answers(model, requests)
    assert 1 in seen
    for response, text, tokens in zip(found, alone, prompts, strict=True):
        if tokens >= limit:
            assert (response.status, response.error) == ("error", ALONE)
        else:
            assert response.text == text
    assert [one.text for one in answers(model, requests)] == alone


def test_memory_that_does_not_suffice_for_features(
    checkpoint: Path, requests: list[Request], alone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = QwenOmni.prepare, []

    def prepare(self: QwenOmni, loaded: Any, batch: Sequence[Request], waves: Any) -> Any:
        seen.append(len(batch))
        if len(batch) > 4:
            raise MemoryError
        return original(self, loaded, batch, waves)

    monkeypatch.setattr(QwenOmni, "prepare", prepare)
    found = answers(omni(checkpoint, batch_size="auto"), requests)
    assert [one.text for one in found] == alone
    assert max(sizes(found)) > 1
    assert seen[0] == 9


# -- at random --------------------------------------------------------------------------------------------------------


class Flaky:
    """The model runs out of memory at every other call, drawn by seed; what it answered is counted."""

    def __init__(self, patch: pytest.MonkeyPatch, seed: int) -> None:
        draw, original = random.Random(seed), HFAudio.answer
        self.failed, self.answered = 0, Counter[tuple[str, str]]()

        def answer(model: HFAudio, loaded: Any, requests: Sequence[Request], inputs: Any) -> list[Response]:
            if draw.random() < 0.5:
                self.failed += 1
                raise draw.choice(SHORTAGES)
            self.answered.update((request.prompt, request.audios[0].path) for request in requests)
            return original(model, loaded, requests, inputs)

        patch.setattr(HFAudio, "answer", answer)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("size", [1, 4])
def test_out_of_memory_at_random_requests(
    size: int, seed: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data(tmp_path, clips=4)
    run = config(folder, checkpoint, tmp_path / "undisturbed", system_prompt="")
    whole = evaluate(run)
    disturbed = replace(
        run,
        use_cache=str(tmp_path / "cache"),
        retry_errors=True,
        model_args={**run.model_args, "batch_size": size},
    )
    flaky = Flaky(monkeypatch, seed)
    rounds = [evaluate(disturbed)]
    while not rounds[-1].whole and len(rounds) < 10:
        rows = rounds[-1].samples["heard"]
        assert {row.error for row in rows if row.status != "ok"} == {ALONE}
        assert rounds[-1].tasks["heard"].n_scored == sum(row.status == "ok" for row in rows)
        rounds.append(evaluate(disturbed))
    assert flaky.failed > 2
    assert flaky.answered == Counter({key: 1 for key in flaky.answered}), "asked again though it was answered"
    assert len(flaky.answered) == 12
    assert rounds[-1].whole
    assert len({str(row.response) for row in whole.samples["heard"]}) > 2
    assert texts(rounds[-1]) == texts(whole)
    assert rounds[-1].tasks["heard"].readings == whole.tasks["heard"].readings


def texts(result: RunResult) -> list[tuple[Any, ...]]:
    return [(row.doc_id, row.response, row.status, row.readings) for row in result.samples["heard"]]
