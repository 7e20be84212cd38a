"""Tests whisper on a tiny checkpoint: it decodes every second of a clip, in windows cut at quiet moments."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LogitsProcessor

from helpers import tiny_checkpoints
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError
from marathon_eval.models import whisper
from marathon_eval.models.whisper import Whisper, quietest, windows


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_whisper(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights never say that they are done."""
    monkeypatch.setattr(whisper, "WINDOW_TOKENS", 6)


@pytest.fixture
def clip(tmp_path: Path) -> Audio:
    """70 s: three windows."""
    soundfile.write(tmp_path / "clip.wav", noise(70.0), RATE)
    return Audio(str(tmp_path / "clip.wav"))


def answer(checkpoint: Path, request: Request, **args: Any) -> Response:
    model = Whisper.from_args({"pretrained": str(checkpoint), "device": "cpu", **args})
    return dict(complete(model, [request]))[request]


@given(st.integers(1, 200 * RATE), st.integers(0, 3))
def test_windows_are_the_whole_clip_and_short_enough(length: int, seed: int) -> None:
    spans = windows(np.resize(noise(3.0, seed), length))
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert all(0 < end - start <= 29.5 * RATE for start, end in spans)
    assert all(end - start >= 20 * RATE for start, end in spans[:-1])


def test_a_clip_is_cut_where_it_is_quiet() -> None:
    wave = noise(60.0)
    wave[int(23.4 * RATE) : int(23.8 * RATE)] *= 0.001
    assert 23.4 * RATE <= quietest(wave[: int(29.5 * RATE)]) <= 23.8 * RATE
    assert windows(wave)[0][1] == quietest(wave[: int(29.5 * RATE)])


def test_a_long_recording_tells_how_far_it_is(
    checkpoint: Path, clip: Audio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds, told in ((600.0, []), (0.0, ["1 of 3", "2 of 3", "3 of 3"])):
        monkeypatch.setattr(whisper, "TOLD_EVERY_SECONDS", seconds)
        response = answer(checkpoint, Request("?", (clip,)), batch_size="1")
        lines = [line for line in capsys.readouterr().err.splitlines() if "windows of" in line]
        assert lines == [f"marathon-eval: whisper: {part} windows of one recording" for part in told]
        assert response.status == "ok"


def test_features_of_a_few_windows_at_a_time_are_those_of_all_at_once(
    checkpoint: Path, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Whisper.from_args({"pretrained": str(checkpoint), "device": "cpu"})
    loaded = load(model)
    made = {}
    for count in (1, 2, 8):
        monkeypatch.setattr(whisper, "FEATURES_AT_ONCE", count)
        made[count] = model.prepare(loaded, [Request("?", (clip,))], [[clip.samples(RATE)]]).tensors
    for name in ("input_features", "attention_mask"):
        assert torch.equal(made[1][name], made[8][name])
        assert torch.equal(made[2][name], made[8][name])


def test_a_short_clip_is_one_window() -> None:
    assert windows(noise(29.5)) == [(0, int(29.5 * RATE))]
    assert windows(noise(0.1)) == [(0, 1600)]


def test_every_second_is_heard_and_the_prompt_is_not(checkpoint: Path, clip: Audio) -> None:
    first = answer(checkpoint, Request("Transcribe.", (clip,)))
    other = answer(checkpoint, Request("Which letter?", (clip,), Generation(max_new_tokens=1)))
    assert first.status == "ok"
    assert first.usage.heard_seconds == 70.0
    assert first.usage.details["windows"] == 3
    assert first.usage.audio_tokens is None
    assert first.text == other.text != ""


@pytest.mark.parametrize("seconds", [95.0, 300.0, 330.0])
def test_five_minutes_are_heard_whole_or_not_answered(
    checkpoint: Path, tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.wav", noise(seconds), RATE)
    request = Request("Transcribe.", (Audio(str(tmp_path / "long.wav")),))
    whole = answer(checkpoint, request)
    assert whole.error is None
    assert whole.usage.heard_seconds == seconds
    assert whole.usage.output_tokens == 6 * whole.usage.details["windows"]
    monkeypatch.setattr(whisper, "windows", lambda wave: windows(wave[: int(seconds - 5) * RATE]))
    cut = answer(checkpoint, request)
    assert cut.status == "error"
    assert f"audio was cut: {seconds:.2f} s were sent, the model would hear {seconds - 5:.2f} s" in str(
        cut.error
    )


def test_windows_together_say_what_each_says_alone(checkpoint: Path, clip: Audio) -> None:
    request = Request("Transcribe.", (clip, clip))
    alone, together = answer(checkpoint, request, batch_size=1), answer(checkpoint, request, batch_size=4)
    assert alone.usage.details["windows"] == 6
    assert alone.text == together.text
    assert alone.usage.heard_seconds == 140.0


class Dictated(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped
    """Makes the first window end its text after 10 s in the first pass; the logits of the first window of pass `broken` are NaN."""

    def __init__(self, first_stamp: int, end: int, broken: int | None) -> None:
        stamps = [first_stamp, 5, first_stamp + 500, first_stamp + 500, end]
        self.texts = [stamps, [first_stamp, 5, end, end, end]]
        self.begin, self.broken = 0, broken
        self.passes: list[int] = []

    def set_begin_index(self, begin_index: int) -> None:
        self.begin = begin_index

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        step = input_ids.shape[1] - self.begin
        if step == 0:
            self.passes.append(len(scores))
        scores = torch.full_like(scores, float("-inf"))
        for row in range(len(scores)):
            scores[row, self.texts[0 if row == 0 and len(self.passes) == 1 else 1][min(step, 4)]] = 0.0
        if len(self.passes) == self.broken:
            scores[0, 7] = float("nan")
        return scores


@pytest.mark.parametrize("broken", [None, 1, 2])
def test_a_batch_is_decoded_in_passes_of_fewer_windows(
    checkpoint: Path, clip: Audio, broken: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import WhisperForConditionalGeneration

    dictated: list[Dictated] = []
    generate = WhisperForConditionalGeneration.generate

    def dictate(self: Any, *args: Any, logits_processor: Any, **more: Any) -> Any:
        settings = self.generation_config
        dictated.append(Dictated(settings.no_timestamps_token_id + 1, settings.eos_token_id, broken))
        return generate(self, *args, logits_processor=[dictated[-1], *logits_processor], **more)

    monkeypatch.setattr(WhisperForConditionalGeneration, "generate", dictate)
    response = answer(checkpoint, Request("Transcribe.", (clip,)))
    assert dictated[0].passes == ([3] if broken == 1 else [3, 1])
    if broken is None:
        assert response.status == "ok"
    else:
        assert "logits at token 1 are not finite numbers" in str(response.error)


def test_a_window_in_circles_is_decoded_again_and_told(
    checkpoint: Path, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    original = Whisper._generate

    def generate(self: Whisper, loaded: Any, stretches: Any, **more: Any) -> Any:
        asked.append(more)
        return [part._replace(end=None) for part in original(self, loaded, stretches, **more)]

    monkeypatch.setattr(Whisper, "_generate", generate)
    told = answer(checkpoint, Request("Transcribe.", (clip,)))
    assert asked == [{}] + [{"no_repeat_ngram_size": 6}] * 3
    assert told.usage.details["runaway_windows"] == 3
    assert told.finish_reason == "length"


def test_a_multilingual_checkpoint_takes_language_and_task(tmp_path: Path, clip: Audio) -> None:
    many = tiny_checkpoints.make_whisper(tmp_path / "many", multilingual=True)
    request = Request("Transcribe.", (clip,))
    for args in ({}, {"language": "de"}, {"language": "en", "task": "translate"}):
        assert answer(many, request, **args).error is None


@pytest.mark.parametrize(
    ("args", "said"),
    [({"language": "de"}, "language=de"), ({"task": "translate"}, "task=translate")],
)
def test_an_english_checkpoint_refuses_other_languages(
    checkpoint: Path, clip: Audio, args: dict[str, Any], said: str
) -> None:
    model = Whisper.from_args({"pretrained": str(checkpoint), "device": "cpu", **args})
    with pytest.raises(MarathonError, match=rf"--model_args: {said}: pretrained=.* knows English alone"):
        model.check()
    with pytest.raises(MarathonError, match=said):  # a checkpoint from the hub is known when it is loaded
        model.begin(load(model))
    assert answer(checkpoint, Request("Transcribe.", (clip,)), language="en").error is None


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        pytest.param(Request("x"), "whisper needs audio", id="no audio"),
        pytest.param(Request("x", (Audio("gone.wav"),)), "no such audio file", id="no file"),
    ],
)
def test_what_cannot_be_transcribed(checkpoint: Path, request_: Request, reason: str) -> None:
    found = answer(checkpoint, request_)
    assert found.status == "error"
    assert reason in (found.error or "")


def test_sampling_is_refused_rather_than_ignored(checkpoint: Path, clip: Audio) -> None:
    found = answer(checkpoint, Request("x", (clip,), Generation(temperature=0.7, seed=1)))
    assert "temperature must be 0" in (found.error or "")
