"""Tests `device_map=`: weights loaded through accelerate give the same responses under the same cache key."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from helpers import tiny_chat_models
from helpers.tiny_model_cases import CASES, answers, asked, built
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError


@pytest.mark.parametrize("press", [None, "dart"])
def test_a_model_loaded_through_accelerate_answers_alike(tmp_path: Path, press: str | None) -> None:
    folder = tiny_chat_models.BUILDERS["qwen2_audio"](tmp_path / "tiny")
    soundfile.write(tmp_path / "clip.wav", noise(33.0), RATE)
    request = asked(Audio(str(tmp_path / "clip.wav")))
    chosen = Registry().press_class(press)(ratio=0.5) if press else None
    whole = built(CASES["qwen2_audio"], folder, chosen)
    laid_out = built(CASES["qwen2_audio"], folder, chosen, device_map="auto")
    assert laid_out.fingerprint == whole.fingerprint
    (expected,) = answers(whole, [request])
    (found,) = answers(laid_out, [request])
    assert found.error is None
    assert found.text == expected.text
    assert found.usage.kept_tokens == expected.usage.kept_tokens


def test_a_layout_that_accelerate_does_not_know_is_one_clear_line(tmp_path: Path) -> None:
    folder = tiny_chat_models.BUILDERS["qwen2_audio"](tmp_path / "tiny")
    adapter = built(CASES["qwen2_audio"], folder, device_map="nonsense")
    with pytest.raises(MarathonError, match=r"--model qwen2_audio: cannot load .*nonsense"):
        answers(adapter, [asked(Audio("unread.wav"))])
