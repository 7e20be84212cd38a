"""Tests Voxtral Realtime on a tiny checkpoint: the whole clip is heard, and a text that ends early is no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from helpers.tiny_model_cases import Clips, asked
from helpers.tiny_press_run import noise
from helpers.tiny_transcribers import make_voxtral_realtime
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.errors import MarathonError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voxtral_realtime(tmp_path_factory.mktemp("voxtral_realtime"))


def adapter(checkpoint: Path, **args: Any) -> HFAudio:
    model = (
        Registry()
        .model_class("voxtral_realtime")
        .from_args({"pretrained": str(checkpoint), "device": "cpu", **args})
    )
    assert isinstance(model, HFAudio)
    return model


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> Loaded:
    """Return the checkpoint with its weights, which never write the token that ends a text."""
    there = load(adapter(checkpoint))
    there.model.generation_config.suppress_tokens = [there.tokenizer.eos_token_id]
    return there


def answered(checkpoint: Path, loaded: Loaded, request: Request, **args: Any) -> Response:
    model = adapter(checkpoint, **args)
    model.attach(loaded)
    ((_, response),) = complete(model, [request])
    return response


@pytest.mark.parametrize(
    "seconds", [3.03, *(pytest.param(seconds, marks=pytest.mark.slow) for seconds in (95.0, 300.0))]
)
def test_a_clip_is_heard_to_its_end(seconds: float, checkpoint: Path, loaded: Loaded, clip: Clips) -> None:
    response = answered(checkpoint, loaded, asked(clip(seconds)))
    assert response.error is None
    usage = response.usage
    assert usage.heard_seconds == pytest.approx(seconds, abs=0.01)
    # silence before the clip, and the delay, a step and ten more after it
    assert usage.audio_tokens == 32 + -(-seconds // 0.08) + (6 + 1 + 10)
    assert usage.input_tokens == 1 + 32 + 6
    assert usage.input_tokens + usage.output_tokens == usage.audio_tokens  # type: ignore[operator]


def test_the_text_is_that_of_the_processor_and_generate(
    checkpoint: Path, loaded: Loaded, clip: Clips
) -> None:
    processor = transformers.VoxtralRealtimeProcessor.from_pretrained(checkpoint)
    audio = clip(3.03)
    inputs = processor(audio.samples(16000), return_tensors="pt")
    # it computes the limit from the audio, and takes it for the default then
    with torch.inference_mode(), pytest.warns(UserWarning, match="model-agnostic default `max_length`"):
        out = loaded.model.generate(**inputs)
    text = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
    assert answered(checkpoint, loaded, asked(audio)).text == text.strip()


def test_a_text_that_ends_before_the_clip_is_an_error_row(
    checkpoint: Path, loaded: Loaded, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded.model.generation_config, "suppress_tokens", None)
    everything = list(range(len(loaded.tokenizer)))
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", everything)
    response = answered(checkpoint, loaded, asked(clip(3.03)))
    assert response.status == "error"
    assert "the text ended after 0.64 s of 3.03 s of audio; the rest was not heard" in str(response.error)


@pytest.mark.parametrize(
    ("count", "error"), [(0, "hears one clip: this request has none"), (2, "this request has 2")]
)
def test_one_clip_is_one_request(count: int, error: str, loaded: Loaded, checkpoint: Path) -> None:
    requests = [Request("", (Audio("unread.wav"),) * count)]
    with pytest.raises(MarathonError, match=error):
        adapter(checkpoint).prepare(loaded, requests, [[noise(1.0)] * count])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_half_precision_under_each_kernel(dtype: str, kernel: str, checkpoint: Path, clip: Clips) -> None:
    model = adapter(checkpoint, dtype=dtype, attn_implementation=kernel)
    there = load(model)
    there.model.generation_config.suppress_tokens = [there.tokenizer.eos_token_id]
    model.attach(there)
    ((_, response),) = complete(model, [asked(clip(1.0))])
    assert response.error is None


def test_a_press_is_refused() -> None:
    press = Registry().press_class("dart")(ratio=0.5)
    with pytest.raises(
        MarathonError, match="voxtral_realtime does not support press=dart: it has no local language model"
    ):
        Registry().model_class("voxtral_realtime").from_args({"pretrained": "no/such"}, press)
