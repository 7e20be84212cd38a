"""Tests that work shared by cells and questions runs once, changes no answer, and counts in every response's time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import tiny_chat_models, tiny_checkpoints
from helpers.multi_question_task import Taken, config, data, first_logits, told
from marathon_eval.api.audio import Audio
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine import shared_clip
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import NO_PRESS, Grid

#: `pool` takes m=, not ratio=.
PRESSES = [name for name in Registry().names("press") if name != "pool"]
#: One that drops tokens before the layers, one that asks a layer, one by keys, by a window's queries, by statistics.
ONE_OF_A_KIND = ["energy", "dart", "knorm", "snapkv", "expected_attention"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize(
    ("model", "presses"),
    [
        ("qwen_omni", ONE_OF_A_KIND),
        pytest.param("qwen_omni", PRESSES, marks=pytest.mark.slow),
        pytest.param("qwen2_audio", PRESSES, marks=pytest.mark.slow),
    ],
    ids=["qwen_omni", "qwen_omni-all", "qwen2_audio-all"],
)
def test_a_cell_is_what_a_run_of_its_own_is(
    model: str, presses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, counts, scores, keys and first-token logits: sweep and separate runs, for every press."""
    make = {"qwen_omni": tiny_checkpoints.make_qwen_omni, "qwen2_audio": tiny_chat_models.make_qwen2_audio}
    checkpoint = make[model](tmp_path / "checkpoint")
    asked = replace(config(data(tmp_path), checkpoint, tmp_path / "shared"), model=model)
    seen = first_logits(monkeypatch)
    taken = Taken()
    assert sweep(asked, Grid((NO_PRESS, *presses), (0.6,)), taken)
    assert len(taken) == 1 + len(presses)
    together, apart = dict(seen), seen
    seen.clear()
    for cell in taken.cells:
        args = {**cell.config.model_args, "sharing": False}
        alone = evaluate(replace(cell.config, use_cache=str(tmp_path / "alone"), model_args=args))
        found = taken[cell.label]
        assert alone.fingerprint_sha256 == found.fingerprint_sha256
        assert all(one.status == "ok" for one in found.samples["heard"]), cell.label
        assert [told(one) for one in alone.samples["heard"]] == [
            told(one) for one in found.samples["heard"]
        ], cell.label
        assert alone.tasks["heard"].readings == found.tasks["heard"].readings
    assert len(together) == 6 * len(taken)
    assert together.keys() == apart.keys()
    assert all(torch.allclose(together[key], apart[key], atol=1e-5, rtol=0) for key in apart)


def test_a_clip_is_heard_encoded_and_prefilled_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, counts = data(tmp_path), {"heard": 0, "encoded": 0, "prefilled": 0}
    _count(monkeypatch, Audio, "samples", counts, "heard")
    _count(monkeypatch, shared_clip, "prefill_context", counts, "prefilled")
    _count_encodings(monkeypatch, counts)
    grid = Grid(("none", "dart", "knorm", "snapkv", "expected_attention"), (0.3, 0.6))
    assert sweep(config(folder, checkpoint, tmp_path / "cache"), grid, Taken())
    assert counts == {"heard": 2, "encoded": 2, "prefilled": 2}


def test_questions_on_one_clip_share_it_in_a_plain_run(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, counts = data(tmp_path), {"heard": 0, "encoded": 0, "prefilled": 0}
    _count(monkeypatch, Audio, "samples", counts, "heard")
    _count(monkeypatch, shared_clip, "prefill_context", counts, "prefilled")
    _count_encodings(monkeypatch, counts)
    run = config(folder, checkpoint, tmp_path / "cache")
    together = evaluate(run)
    assert counts == {"heard": 2, "encoded": 2, "prefilled": 2}
    apart = evaluate(
        replace(run, use_cache=None, no_cache=True, model_args={**run.model_args, "sharing": False})
    )
    assert counts == {"heard": 2 + 6, "encoded": 2 + 6, "prefilled": 2}
    assert [told(one) for one in together.samples["heard"]] == [told(one) for one in apart.samples["heard"]]


def _count(patch: pytest.MonkeyPatch, owner: Any, name: str, counts: dict[str, int], key: str) -> None:
    original = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts[key] += 1
        return original(*args, **kwargs)

    patch.setattr(owner, name, counted)


def _count_encodings(patch: pytest.MonkeyPatch, counts: dict[str, int]) -> None:
    """Runs of the encoder's first layer: what is given out again does not come there."""
    from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniAudioEncoderLayer

    _count(patch, Qwen2_5OmniAudioEncoderLayer, "forward", counts, "encoded")


def test_spared_stages_are_charged(checkpoint: Path, tmp_path: Path) -> None:
    """No answer's encoding and prefill is free because another one paid for it."""
    taken = Taken()
    sweep(config(data(tmp_path), checkpoint, tmp_path / "cache"), Grid(("knorm",), (0.3, 0.8)), taken)
    usages = [sample.usage for result in taken.values() for sample in result.samples["heard"]]
    spared = [usage for usage in usages if "shared" in usage["details"]]
    assert len(spared) == 12 - 2
    assert all(usage["details"]["shared"] == ["encode", "prefill"] for usage in spared)
    paid = [usage for usage in usages if "shared" not in usage["details"]]
    for usage in spared:
        own = next(one for one in paid if one["audio_tokens"] == usage["audio_tokens"])
        assert usage["encode_s"] == pytest.approx(own["encode_s"], rel=0.5, abs=0.005)
        assert usage["prefill_s"] > 0.2 * own["prefill_s"]
