"""Tests qwen_omni from request to response on a tiny checkpoint: inputs, refusals and usage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from helpers import golden_inputs, tiny_checkpoints
from helpers.tiny_press_run import Tiny, noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.api.press import press_from_args
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.backends.hf.mel import audio_tokens, mel_frames
from marathon_eval.errors import MarathonError
from marathon_eval.models.qwen_omni import SYSTEM, QwenOmni
from marathon_eval.models.whisper import Whisper
from marathon_eval.presses.dart import Dart
from marathon_eval.presses.random import Random

FEW = Generation(max_new_tokens=6)
PROMPT = "How old is the speaker?"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Audio]:
    """8, 5 and 3 seconds."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, seconds in enumerate((8, 5, 3)):
        soundfile.write(folder / f"{seed}.wav", noise(seconds, seed), RATE)
    return [Audio(str(folder / f"{seed}.wav")) for seed in range(3)]


@pytest.fixture
def omni(checkpoint: Path) -> Callable[..., QwenOmni]:
    def build(press: Any = None, **args: Any) -> QwenOmni:
        model = QwenOmni.from_args({"pretrained": str(checkpoint), "device": "cpu", **args}, press)
        assert isinstance(model, QwenOmni)
        return model

    return build


def answers(model: QwenOmni, requests: Sequence[Request]) -> list[Response]:
    found = dict(complete(model, requests))
    return [found[request] for request in requests]


# -- inputs -------------------------------------------------------------------------------------------------------


def test_inputs_are_those_of_the_official_processor(checkpoint: Path, tmp_path: Path) -> None:
    click = noise(3.0)
    click[-60:] = 0.9  # loudest behind the last frame's centre: it scales all others
    waves: dict[str, Any] = {
        "wave_even": noise(5.0),
        "wave_odd": noise(7.03)[:-123],
        "wave_click": click,
        "wave_silence": np.zeros(RATE, np.float32),
        "wave_long": noise(310.0),
    }
    given, made = tmp_path / "waves.npz", tmp_path / "made.npz"
    np.savez(given, system=SYSTEM, prompt=PROMPT, **waves)
    script = Path(__file__).resolve().parents[1] / "helpers" / "official_processor_inputs.py"
    command = [sys.executable, str(script), str(checkpoint), str(given), str(made)]
    out = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert out.returncode == 0, out.stderr
    official = np.load(made)
    model = Tiny.load(checkpoint)
    request = Request(PROMPT, (Audio("unread.wav"),))
    for name, wave in waves.items():
        inputs = model.adapter.prepare(model.loaded, [request], [[wave]])
        assert inputs.tensors["input_ids"][0].tolist() == official[f"ids_{name}"].tolist()
        ours, theirs = inputs.tensors["input_features"][0], torch.from_numpy(official[f"mel_{name}"])
        assert ours.shape == theirs.shape
        if name == "wave_long":
            # past 300 s theirs is not padded any more: its very last frame mirrors the clip's end
            ours, theirs = ours[:, :-1], theirs[:, :-1]
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
        torch.testing.assert_close(encoded(model, ours), encoded(model, theirs), atol=1e-4, rtol=0)


def encoded(model: Tiny, mel: torch.Tensor) -> torch.Tensor:
    """What the audio encoder makes of features [mel, frames]."""
    mask = torch.ones(1, mel.shape[1], dtype=torch.long)
    with torch.inference_mode():
        states: torch.Tensor = model.loaded.model.get_audio_features(
            mel[None], feature_attention_mask=mask
        ).last_hidden_state
    return states


def test_changed_inputs_raise_the_version(checkpoint: Path) -> None:
    golden = json.loads(golden_inputs.PATH.read_text(encoding="utf-8"))
    entry, now = dict(golden[str(QwenOmni.version)]), golden_inputs.built(checkpoint)
    why = "inputs changed: raise QwenOmni.version, then run tests/helpers/golden_inputs.py"
    assert entry.pop("mel_values") == pytest.approx(now.pop("mel_values"), abs=2e-4), why
    assert entry == now, why


@pytest.mark.parametrize("seconds", [1, 2, 30, 95, 300, 330])
def test_twenty_five_tokens_a_second(seconds: int) -> None:
    assert audio_tokens(seconds * 100) == seconds * 25


def test_features_cover_the_clip_and_nothing_more(checkpoint: Path) -> None:
    extractor = Tiny.load(checkpoint).loaded.features
    assert mel_frames(extractor, noise(2.0)).shape == (128, 200)
    assert mel_frames(extractor, noise(2.0)[:-1]).shape == (128, 200)


def chat(omni: QwenOmni, checkpoint: Path, request: Request) -> str:
    text: str = omni.chat(Tiny.load(checkpoint).loaded, request, len(request.audios))
    return text


def test_the_chat_is_the_checkpoints(
    omni: Callable[..., QwenOmni], checkpoint: Path, clips: list[Audio]
) -> None:
    sound = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    request = Request("Who?", (clips[0],))
    start = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
    end = "<|im_end|>\n<|im_start|>assistant\n"
    assert chat(omni(), checkpoint, request) == f"{start}{sound}Who?{end}"
    assert chat(omni(audio_first=False), checkpoint, request) == f"{start}Who?{sound}{end}"
    bare = chat(omni(system_prompt=""), checkpoint, request)
    assert bare == f"<|im_start|>user\n{sound}Who?{end}"
    task = chat(omni(), checkpoint, replace(request, system="Be brief."))
    assert task.startswith("<|im_start|>system\nBe brief.<|im_end|>")


# -- answers ------------------------------------------------------------------------------------------------------


def test_a_batch_answers_as_single_requests_do(omni: Callable[..., QwenOmni], clips: list[Audio]) -> None:
    requests = [
        Request(PROMPT, (clips[0],), FEW),
        Request("Which sound is this, and where was it heard?", (clips[1],), FEW),
        Request("Are these two alike?", (clips[1], clips[2]), FEW),
        Request("Nothing is heard.", (), FEW),
    ]
    for press in (None, Dart(ratio=0.5), Random(ratio=0.5)):
        alone = answers(omni(press, batch_size=1), requests)
        together = answers(omni(press, batch_size=4), requests)
        backwards = answers(omni(press, batch_size=2), requests[::-1])[::-1]
        assert [r.status for r in alone] == ["ok"] * 4
        assert [r.text for r in alone] == [r.text for r in together] == [r.text for r in backwards]
        for one, other in zip(alone, together, strict=True):
            assert (one.usage.kept_tokens, one.usage.kv_bytes) == (
                other.usage.kept_tokens,
                other.usage.kv_bytes,
            )


def test_usage_counts_are_exact(omni: Callable[..., QwenOmni], clips: list[Audio]) -> None:
    (plain,) = answers(omni(), [Request(PROMPT, (clips[0],), FEW)])
    (pressed,) = answers(omni(Dart(ratio=0.9)), [Request(PROMPT, (clips[0],), FEW)])
    assert (plain.usage.audio_tokens, plain.usage.kept_tokens) == (200, 200)
    assert (pressed.usage.audio_tokens, pressed.usage.kept_tokens) == (200, 20)
    assert plain.usage.heard_seconds == pressed.usage.heard_seconds == 8.0
    assert plain.usage.input_tokens == pressed.usage.input_tokens
    prompt = plain.usage.input_tokens
    assert prompt is not None
    # 4 layers; keys and values of 2 heads x 16 float32
    assert plain.usage.kv_bytes == 4 * prompt * 2 * 2 * 16 * 4
    assert pressed.usage.kv_bytes == 2 * (prompt + prompt - 180) * 2 * 2 * 16 * 4
    assert plain.usage.details["kv_tokens"] == {"0-3": prompt}
    assert pressed.usage.details["kv_tokens"] == {"0-1": prompt, "2-3": prompt - 180}
    assert plain.finish_reason == "length"
    assert plain.usage.output_tokens == 6
    for seconds in (plain.usage.encode_s, plain.usage.prefill_s, plain.usage.decode_s):
        assert seconds is not None
        assert seconds > 0


def test_a_stop_string_ends_the_answer_and_is_cut_off(
    omni: Callable[..., QwenOmni], clips: list[Audio]
) -> None:
    request = Request(PROMPT, (clips[0],), FEW)
    (whole,) = answers(omni(), [request])
    stop = whole.text[2]
    (cut,) = answers(omni(), [replace(request, generation=replace(FEW, stop=(stop,)))])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert (cut.usage.output_tokens or 0) < 6


def test_a_sampled_answer_depends_on_its_seed_alone(
    omni: Callable[..., QwenOmni], clips: list[Audio]
) -> None:
    hot = Generation(max_new_tokens=12, temperature=1.5, top_p=0.95, seed=1)
    request = Request(PROMPT, (clips[2],), hot)
    other = replace(request, generation=replace(hot, seed=2))
    first, second = answers(omni(batch_size=4), [request, other])
    assert first.text != second.text
    assert [r.text for r in answers(omni(batch_size=4), [other, request])] == [second.text, first.text]


def test_bfloat16_runs(omni: Callable[..., QwenOmni], clips: list[Audio]) -> None:
    (answer,) = answers(omni(Dart(ratio=0.5), dtype="bfloat16"), [Request(PROMPT, (clips[0],), FEW)])
    assert answer.status == "ok"
    assert answer.usage.kv_bytes == 2 * ((answer.usage.input_tokens or 0) * 2 - 100) * 2 * 2 * 16 * 2


def test_released_weights_load_again(omni: Callable[..., QwenOmni], clips: list[Audio]) -> None:
    model, request = omni(), Request(PROMPT, (clips[2],), FEW)
    before = answers(model, [request])[0].text
    model.close()
    assert model._runner is None
    assert answers(model, [request])[0].text == before


# -- what fails, and what goes on -----------------------------------------------------------------------------------


def test_one_bad_request_costs_the_others_nothing(
    omni: Callable[..., QwenOmni], clips: list[Audio], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "blip.wav", noise(0.01), RATE)
    requests = [
        Request(PROMPT, (clips[0],), FEW),
        Request("Say <|AUDIO|> twice", (clips[0],), FEW),
        Request(PROMPT, (Audio(str(tmp_path / "gone.wav")),), FEW),
        Request(PROMPT, (Audio(str(tmp_path / "blip.wav")),), FEW),
        Request("long " * 8000, (clips[1],), FEW),
        Request(PROMPT, (clips[2],), FEW),
    ]
    found = answers(omni(batch_size=3), requests)
    assert [r.status for r in found] == ["ok", "error", "error", "error", "error", "ok"]
    reasons = [r.error or "" for r in found]
    assert "the prompt must not contain it" in reasons[1]
    assert "no such audio file" in reasons[2]
    assert "too short" in reasons[3]
    assert "the model's context length is 32768" in reasons[4]
    good = [requests[0], requests[5]]
    assert [r.text for r in answers(omni(), good)] == [found[0].text, found[5].text]


class Deaf(QwenOmni):
    """Hears two seconds of everything, as models do that cut what is too long for them."""

    def prepare(self, loaded: Any, requests: Any, waves: Any) -> Inputs:
        return super().prepare(loaded, requests, [[wave[: 2 * RATE] for wave in sample] for sample in waves])


def test_cut_audio_is_an_error_and_no_answer(checkpoint: Path, clips: list[Audio]) -> None:
    model = Deaf.from_args({"pretrained": str(checkpoint), "device": "cpu"})
    (answer,) = dict(complete(model, [Request(PROMPT, (clips[0],), FEW)])).values()
    assert answer.status == "error"
    assert answer.error == "audio was cut: 8.00 s were sent, the model would hear 2.00 s"


def test_a_batch_out_of_memory_is_asked_in_parts(
    omni: Callable[..., QwenOmni], clips: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = QwenOmni.answer, []

    def answer(self: QwenOmni, loaded: Any, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        sizes.append(len(requests))
        if len(requests) > 1 or "greedy" in requests[0].prompt:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, loaded, requests, inputs)

    monkeypatch.setattr(QwenOmni, "answer", answer)
    requests = [Request(prompt, (clips[2],), FEW) for prompt in ("one", "greedy", "three")]
    found = answers(omni(batch_size=3), requests)
    assert [r.status for r in found] == ["ok", "error", "ok"]
    assert "out of memory even in a batch of one" in (found[1].error or "")
    # the one that fails alone is asked once more, without the clip's encoding that the first question left behind
    assert sizes == [3, 1, 1, 1, 1]


def test_ctrl_c_goes_through(
    omni: Callable[..., QwenOmni], clips: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*args: Any) -> list[Response]:
        raise KeyboardInterrupt

    monkeypatch.setattr(QwenOmni, "answer", answer)
    with pytest.raises(KeyboardInterrupt):
        answers(omni(), [Request(PROMPT, (clips[2],), FEW)])


def test_settings_that_no_request_survives_end_the_run(
    omni: Callable[..., QwenOmni], clips: list[Audio], checkpoint: Path, tmp_path: Path
) -> None:
    request = Request(PROMPT, (clips[2],), FEW)
    with pytest.raises(MarathonError, match="layer=4: this model has 4 layers"):
        answers(omni(press_from_args(Dart, {"ratio": 0.5, "layer": 4})), [request])
    with pytest.raises(MarathonError, match="--device: kitchen: no such device"):
        answers(omni(device="kitchen"), [request])
    mute = tiny_checkpoints.make_qwen_omni(tmp_path / "mute")
    (mute / "chat_template.json").unlink()
    with pytest.raises(MarathonError, match="has no chat template"):
        answers(omni(pretrained=str(mute)), [request])


def test_weights_that_lack_a_tensor_are_refused(omni: Callable[..., QwenOmni], tmp_path: Path) -> None:
    holed = tiny_checkpoints.make_qwen_omni(tmp_path / "holed")
    shard = holed / "model-00001-of-00002.safetensors"
    tensors = load_file(shard)
    del tensors["thinker.model.norm.weight"]
    save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(MarathonError, match="lacks 1 weights of Qwen2_5OmniThinker"):
        answers(omni(pretrained=str(holed)), [Request("x", (), FEW)])


def test_a_press_that_a_model_cannot_carry() -> None:
    with pytest.raises(MarathonError, match="whisper does not support press=dart: it has no local language"):
        Whisper.from_args({}, Dart(ratio=0.5))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"dtypo": "x"}, "qwen_omni takes no 'dtypo'. Did you mean dtype?"),
        ({"dtype": "float8"}, "dtype: "),
        ({"batch_size": 0}, "batch_size: "),
        ({"attn_implementation": "flash"}, "attn_implementation: "),
    ],
)
def test_wrong_arguments(omni: Callable[..., QwenOmni], args: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        omni(**args)
