"""Tests that reading attention, queries and scores during the model's forward pass counts as the press's time.

No test compares measured durations: the reading code is made to wait, and `select_s` must contain the wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from helpers import tiny_checkpoints
from helpers.tiny_press_run import RATE, noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request, Usage
from marathon_eval.api.press import press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine import eviction
from marathon_eval.backends.hf.engine.attention_tap import LastTokenAttention
from marathon_eval.models.qwen_omni import QwenOmni

WAIT = 0.2


def late(original: Callable[..., Any]) -> Callable[..., Any]:
    def waiting(*args: Any, **kwargs: Any) -> Any:
        time.sleep(WAIT)
        return original(*args, **kwargs)

    return waiting


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


def usages(checkpoint: Path, folder: Path, name: str, **settings: Any) -> list[Usage]:
    """Of two questions on one clip: the second finds the first one's context."""
    soundfile.write(folder / "clip.wav", noise(2.0), RATE)
    press = press_from_args(Registry().press_class(name), {"ratio": 0.5, **settings})
    model = QwenOmni.from_args({"pretrained": str(checkpoint), "device": "cpu"}, press)
    clip, generation = Audio(str(folder / "clip.wav")), Generation(max_new_tokens=1)
    found = [
        answer.usage
        for _, answer in model.generate([Request(text, (clip,), generation) for text in ("One?", "Two?")])
    ]
    model.close()
    return found


def test_reading_the_attention_is_selection(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LastTokenAttention, "_attention", late(LastTokenAttention._attention))
    for usage in usages(checkpoint, tmp_path, "fastv"):
        assert WAIT < usage.details["select_s"] < (usage.prefill_s or 0)


def test_several_cuts_read_it_several_times(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LastTokenAttention, "_attention", late(LastTokenAttention._attention))
    for usage in usages(checkpoint, tmp_path, "fastv", layer="1+2+3", ratio="0.2+0.4+0.6"):
        assert usage.details["select_s"] > 3 * WAIT


def test_reading_queries_is_selection_also_where_another_question_paid_for_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "_unrotated", late(eviction._unrotated))
    for usage in usages(checkpoint, tmp_path, "expected_attention"):
        assert tiny_checkpoints.LAYERS * WAIT < usage.details["select_s"] < (usage.prefill_s or 0)
