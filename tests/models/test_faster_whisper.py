"""Tests faster_whisper: no second is lost, weights are converted once, and texts agree with transformers'."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers import hub_server, tiny_checkpoints
from helpers.tiny_press_run import noise
from marathon_eval import simple_evaluate
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.backends import ctranslate2
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError
from marathon_eval.models import faster_whisper
from marathon_eval.models.faster_whisper import FasterWhisper, Heard

ROOT = Path(__file__).resolve().parents[2]

from demo import command, whisper_weights
from demo.fetch import Shelf, default_cache


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In transformers' layout."""
    return tiny_checkpoints.make_whisper(tmp_path_factory.mktemp("tiny"), seed=3)


@pytest.fixture(scope="module")
def ready(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In CTranslate2's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARATHON_EVAL_CACHE", str(tmp_path_factory.mktemp("kept")))
        return ctranslate2.for_ctranslate2(checkpoint, weights.folder_hash(checkpoint))


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights never say that they are done: a timestamp and a letter each."""
    monkeypatch.setattr(faster_whisper, "WINDOW_TOKENS", 2)


@pytest.fixture
def clip(tmp_path: Path) -> Audio:
    soundfile.write(tmp_path / "clip.wav", noise(70.0), RATE)
    return Audio(str(tmp_path / "clip.wav"))


def model(folder: Path, **args: Any) -> FasterWhisper:
    made = FasterWhisper.from_args({"pretrained": str(folder), "device": "cpu", "threads": 1, **args})
    assert isinstance(made, FasterWhisper)
    return made


def answer(folder: Path, request: Request, **args: Any) -> Response:
    return dict(complete(model(folder, **args), [request]))[request]


# -- hearing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 70.0, 95.0, 300.0, 330.0])
def test_every_second_is_heard(ready: Path, seconds: float, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", noise(seconds), RATE)
    found = answer(ready, Request("Transcribe.", (Audio(str(tmp_path / "clip.wav")),)))
    assert found.error is None
    assert found.usage.heard_seconds == pytest.approx(seconds, abs=0.011)
    # two tokens a window, and no window is left out, however unsure or quiet it is taken to be
    assert found.usage.details["runaway_windows"] == -(-seconds // 30)
    assert found.usage.output_tokens == 2 * -(-seconds // 30)


def test_the_prompt_changes_nothing_and_two_clips_are_both_heard(ready: Path, clip: Audio) -> None:
    first = answer(ready, Request("Transcribe.", (clip,)))
    other = answer(ready, Request("Which letter?", (clip, clip), Generation(max_new_tokens=1)))
    assert first.text != ""
    assert other.text == f"{first.text} {first.text}"
    assert other.usage.heard_seconds == 140.0


def test_features_that_cover_less_are_an_error_row(
    ready: Path, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Heard.__call__

    def deaf(self: Heard, wave: np.ndarray[Any, Any], **settings: Any) -> Any:
        return whole(self, wave[: 30 * RATE], **settings)

    monkeypatch.setattr(Heard, "__call__", deaf)
    found = answer(ready, Request("Transcribe.", (clip,)))
    assert found.status == "error"
    assert "audio was cut: 70.00 s were sent, the features cover 30.00 s" in str(found.error)


def test_a_window_in_circles_is_decoded_again_and_told(
    ready: Path, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    original = FasterWhisper._decoded

    def decoded(self: FasterWhisper, wave: Any, **more: Any) -> Any:
        asked.append(dict(more))
        return original(self, wave, **more)

    monkeypatch.setattr(FasterWhisper, "_decoded", decoded)
    found = answer(ready, Request("Transcribe.", (clip,)))
    assert asked == [{}, {"no_repeat_ngram_size": 6}]
    assert found.finish_reason == "length"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        pytest.param(Request("x"), "faster_whisper needs audio", id="no audio"),
        pytest.param(Request("x", (Audio("gone.wav"),)), "no such audio file", id="no file"),
        pytest.param(
            Request("x", (Audio("any.wav"),), Generation(temperature=0.7, seed=1)),
            "temperature must be 0",
            id="sampling",
        ),
    ],
)
def test_what_cannot_be_transcribed(ready: Path, request_: Request, reason: str) -> None:
    found = answer(ready, request_)
    assert found.status == "error"
    assert reason in str(found.error)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_transformers_is_converted_once(
    checkpoint: Path, ready: Path, clip: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("Transcribe.", (clip,))
    first = answer(checkpoint, request)
    monkeypatch.setattr(ctranslate2, "_convert", lambda *paths: pytest.fail("converted again"))
    assert answer(checkpoint, request).text == first.text == answer(ready, request).text


def test_weights_that_change_until_they_are_converted_or_loaded_are_refused(
    checkpoint: Path, ready: Path, clip: Audio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "kept"))
    for place in (checkpoint, ready):
        shutil.copytree(place, copied := tmp_path / place.name)
        made = model(copied)
        assert made.fingerprint["weights"]
        (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
        with pytest.raises(MarathonError, match=r"changed while the model was loaded \(weights\)"):
            dict(complete(made, [Request("Transcribe.", (clip,))]))
        assert not list((tmp_path / "kept").glob("ctranslate2/*"))


def test_what_tells_answers_apart_is_in_the_fingerprint(checkpoint: Path, ready: Path) -> None:
    plain = model(checkpoint).fingerprint
    assert plain["weights"] == weights.folder_hash(checkpoint)
    assert plain["ctranslate2"].count(".") == plain["faster-whisper"].count(".") == 1
    assert model(checkpoint, threads=2).fingerprint == plain
    for other in (model(ready), model(checkpoint, beam_size=5), model(checkpoint, compute_type="int8")):
        assert other.fingerprint != plain


def test_wrong_weights_and_settings_are_one_clear_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(MarathonError, match=r"is no Whisper checkpoint \(model_type qwen2\)"):
        list(model(tmp_path).generate([]))
    with pytest.raises(MarathonError, match=r"revision=main: pretrained=.* is a folder"):
        model(checkpoint, revision="main").check()
    with pytest.raises(MarathonError, match=r"pretrained=.*nonsense"):
        list(model(checkpoint, device="nonsense").generate([]))
    monkeypatch.setattr(faster_whisper.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MarathonError, match=r"pip install 'marathon-eval\[faster_whisper\]'"):
        model(checkpoint).check()


def test_only_a_multilingual_checkpoint_is_told_language_and_task(ready: Path) -> None:
    told: dict[str, Any] = {}

    class Deaf:
        model = type("Inner", (), {"is_multilingual": True})
        feature_extractor = type("Ear", (), {"seconds": 1.0})

        def transcribe(self, wave: Any, **settings: Any) -> Any:
            told.update(settings)
            return [], None

    there = model(ready, language="de", task="translate")
    there._model = Deaf()
    there._decoded(np.zeros(RATE, np.float32))
    assert (told["language"], told["task"]) == ("de", "translate")
    # nor is anything asked for that skips a window, samples, or carries text over: a tiny model is never that sure
    assert told["no_speech_threshold"] is told["log_prob_threshold"] is None
    assert (told["temperature"], told["condition_on_previous_text"], told["vad_filter"]) == (
        0.0,
        False,
        False,
    )


ASK = """
import json, sys
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.models.faster_whisper import FasterWhisper

model = FasterWhisper.from_args({"pretrained": "someone/ears", "device": "cpu"})
request = Request("x", (Audio(sys.argv[1]),))
(answer,) = [response for _, response in model.generate([request])]
assert "torch" not in sys.modules, "only a conversion needs it"
print(json.dumps({"revision": model.fingerprint["revision"], "status": answer.status}))
"""


def test_converted_weights_come_from_a_hub_at_one_commit_and_need_no_torch(
    ready: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "clip.wav", noise(1.0), RATE)
    with hub_server.serving(ready, "someone/ears") as hub:
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        asked = [sys.executable, "-c", ASK, str(tmp_path / "clip.wav")]
        env = {**os.environ, **own, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        out = subprocess.run(asked, capture_output=True, text=True, check=False, env=env, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout) == {"revision": hub_server.COMMIT, "status": "ok"}
    assert hub.files.count("model.bin") == 1


# -- real weights, real speech ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's librispeech: eight clips of recorded speech, 95 to 115 s each."""
    out = ROOT / "demo" / "data"
    if not (out / "librispeech-long").is_dir():
        out = tmp_path_factory.mktemp("mini")
        assert command.build(out, ["librispeech"], 0, Shelf(default_cache())) == []
    clips = json.loads((out / "mini_manifest.json").read_text())["tasks"]["librispeech"]["clips"]
    assert {clip["source"] for clip in clips} == {"real"}, "no registry carried the recordings"
    return out


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_libraries_make_the_same_words_of_the_same_weights(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faster_whisper, "WINDOW_TOKENS", 224)  # as it is outside these tests
    folder = tmp_path / "whisper-tiny.en"
    whisper_weights.convert(whisper_weights.package_folder(tmp_path / "cache"), folder)
    rates = {}
    for name in ("whisper", "faster_whisper"):
        run = simple_evaluate(
            model=name,
            model_args={"pretrained": str(folder), "device": "cpu"},
            tasks=["librispeech"],
            data_dir=str(speech),
        )
        task = run.tasks["librispeech"]
        assert (task.n_scored, task.n_errors) == (8, 0)
        rates[name] = task.readings["strict"]["wer"].value
    assert abs(rates["whisper"] - rates["faster_whisper"]) <= 0.01
    assert max(rates.values()) < 0.05
