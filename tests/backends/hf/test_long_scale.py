"""Tests answers that grow past the length at which a model with LongRoPE turns to its second table of angles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Phi3Config, Phi3ForCausalLM

from helpers.recorded_logits import RecordedLogits
from helpers.tiny_chat_models import make_phi4_mm
from helpers.tiny_model_cases import MODELS, Clips, answers, built, press_of
from helpers.tiny_text_model import make_text_lm
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.registry import Registry

#: The prompt about a clip of 3 s has 55 tokens. `ALWAYS` makes every context long, and `NEVER` none.
SWITCH, ALWAYS, NEVER = 70, 2, 1000
CASE = MODELS["phi4_mm"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phi4_mm(tmp_path_factory.mktemp("phi4_mm") / "phi")


def switched(checkpoint: Path, folder: Path, length: int) -> Path:
    """Copy a checkpoint, with contexts of more than `length` tokens as long ones."""
    folder = Path(shutil.copytree(checkpoint, folder / str(length)))
    config = json.loads((folder / "config.json").read_text())
    pairs = config["hidden_size"] // config["num_attention_heads"] // 2
    config["original_max_position_embeddings"] = length
    config["rope_parameters"] = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
        "attention_factor": 1.0,
        "short_factor": [1.0] * pairs,
        "long_factor": [5.0] * pairs,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def last_logits(
    folder: Path, press: str | None, requests: Sequence[Request], recorded: RecordedLogits
) -> Tensor:
    """Return the logits [tokens, vocabulary] from which the last request's answer was chosen."""
    found = answers(built(CASE, folder, press and press_of(press, CASE)), requests)
    assert [response.error for response in found] == [None] * len(found)
    steps = [logits.flatten() for _, logits in recorded.steps]
    recorded.steps.clear()
    return torch.stack(steps[-int(found[-1].usage.output_tokens or 0) :])


@pytest.mark.parametrize("press", [None, "dart", "snapkv"])
def test_an_answer_that_passes_the_switch_is_computed_in_the_long_scale(
    press: str | None, checkpoint: Path, tmp_path: Path, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = RecordedLogits(monkeypatch)
    request = Request("What is heard?", (clip(3.0),), Generation(max_new_tokens=30))
    expected, short, found = (
        last_logits(switched(checkpoint, tmp_path, length), press, [request], recorded)
        for length in (ALWAYS, NEVER, SWITCH)
    )
    assert (expected - short).abs().max() > 1e-2
    torch.testing.assert_close(found, expected)


def test_an_answer_that_ends_before_the_switch_stays_in_the_short_scale(
    checkpoint: Path, tmp_path: Path, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = RecordedLogits(monkeypatch)
    request = Request("What is heard?", (clip(3.0),), Generation(max_new_tokens=16))
    expected, found = (
        last_logits(switched(checkpoint, tmp_path, length), None, [request], recorded)
        for length in (NEVER, SWITCH)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("press", [None, "dart", "snapkv"])
def test_a_short_context_is_not_reused_for_a_long_question(
    press: str | None, checkpoint: Path, tmp_path: Path, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = RecordedLogits(monkeypatch)
    asked = [
        Request(text, (clip(3.0),), Generation(max_new_tokens=4)) for text in ("What?", "What is heard? " * 4)
    ]
    expected, found = (
        last_logits(switched(checkpoint, tmp_path, length), press, asked, recorded)
        for length in (ALWAYS, SWITCH)
    )
    torch.testing.assert_close(found, expected)


def test_a_text_model_answers_in_the_long_scale_past_the_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = RecordedLogits(monkeypatch)
    plain = make_text_lm(tmp_path / "plain")
    size = json.loads((plain / "config.json").read_text())["vocab_size"]
    config = Phi3Config(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    Phi3ForCausalLM(config).save_pretrained(plain)
    expected, found = (text_logits(switched(plain, tmp_path, length), recorded) for length in (ALWAYS, 50))
    torch.testing.assert_close(found, expected)


def text_logits(folder: Path, recorded: RecordedLogits) -> Tensor:
    """Return the logits [tokens, vocabulary] of a text model's answer of 30 tokens to a prompt of 40."""
    model = Registry().model_class("text_lm").from_args({"pretrained": str(folder), "device": "cpu"})
    request = Request("one two three", generation=Generation(max_new_tokens=30))
    ((_, response),) = complete(model, [request])
    assert response.error is None
    steps = [logits[0] for _, logits in recorded.steps]
    recorded.steps.clear()
    assert 20 < int(response.usage.input_tokens or 0) <= 50 < int(response.usage.input_tokens or 0) + 30
    return torch.stack(steps[-int(response.usage.output_tokens or 0) :])
