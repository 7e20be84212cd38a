"""Every chat model in models/ on a tiny checkpoint of its architecture: it hears all, in batches too, with every press."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tiny_run import noise

from marathon_eval.audio import Audio
from marathon_eval.errors import MarathonError
from marathon_eval.hf.loading import Loaded, load, transformers
from marathon_eval.hf.runner import Runner
from marathon_eval.hf_audio import RATE, Inputs
from marathon_eval.hf_chat import ChatModel
from marathon_eval.model import Generation, Request, Response, complete
from marathon_eval.models.granite_speech import LogMel
from marathon_eval.models.voxtral import wav
from marathon_eval.press import Press, PruningPress, budget
from marathon_eval.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
FEW = Generation(max_new_tokens=4)
LONG = [95.0, 300.0]


@dataclass(frozen=True)
class Case:
    """A model on its tiny checkpoint: which adapter, its arguments, and the audio tokens that seconds must make."""

    model: str
    tokens: Callable[[float], int]
    args: dict[str, Any] = field(default_factory=dict)
    batches: bool = True
    placeholder_is_text: bool = False
    """Its tokenizer takes a placeholder in the question for the letters that it is made of."""
    refuses: str | None = None
    """What it says to a press, where it can carry none."""


def per_second(rate: float) -> Callable[[float], int]:
    return lambda seconds: int(np.ceil(seconds * rate))


def per_window(tokens: int) -> Callable[[float], int]:
    """So many for every 30 s that are begun."""
    return lambda seconds: tokens * int(np.ceil(seconds / 30))


def three_per_window(seconds: float) -> int:
    """Granite's projector: three for every 15 encoder frames that are begun."""
    return 3 * int(np.ceil((int(seconds * RATE) // 160 + 1) // 2 / 15))


BY_ARGUMENTS = {
    "model_class": "Qwen2AudioForConditionalGeneration",
    "token": "<|AUDIO|>",
    "segment_seconds": 30.0,
}
CASES = {
    "qwen2_audio": Case("qwen2_audio", per_second(25)),
    "audio_flamingo": Case("audio_flamingo", per_second(25)),
    "music_flamingo": Case("audio_flamingo", per_second(25), {"kind": "music"}),
    "voxtral": Case("voxtral", per_window(375), placeholder_is_text=True),
    "qwen3_omni": Case("qwen3_omni", per_second(13)),
    "phi4_mm": Case("phi4_mm", per_second(12.5), batches=False),
    "hf": Case("hf", per_second(25), BY_ARGUMENTS),
    "gemma4": Case("gemma4", per_second(25), refuses="it carries no press at all"),
    "granite_speech": Case("granite_speech", three_per_window, batches=False),
}
PRESSES = {
    path.stem: Registry().press_class(path.stem)
    for path in sorted((ROOT / "presses").glob("*.py"))
    if path.stem != "__init__"
}
PRUNING = [name for name, press in PRESSES.items() if issubclass(press, PruningPress)]
EVICTION = ["snapkv", "expected_attention"]
ALL = pytest.mark.parametrize("name", CASES)


@dataclass(frozen=True)
class Bench:
    """One case's checkpoint with its weights in memory once, and adapters that use them."""

    case: Case
    folder: Path
    loaded: Loaded

    def adapter(self, press: Press | None = None, **args: Any) -> ChatModel:
        adapter = built(self.case, self.folder, press, **args)
        runner = Runner(adapter)
        runner._loaded = self.loaded
        adapter._runner = runner
        return adapter


def built(case: Case, folder: Path, press: Press | None = None, **args: Any) -> ChatModel:
    model = Registry().model_class(case.model)
    adapter = model.from_args({"pretrained": str(folder), "device": "cpu", **case.args, **args}, press)
    assert isinstance(adapter, ChatModel)
    return adapter


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    @cache
    def make(name: str) -> Bench:
        folder = tiny_models.BUILDERS[name](tmp_path_factory.mktemp(name))
        return Bench(CASES[name], folder, load(built(CASES[name], folder)))

    return make


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Audio]:
    folder = tmp_path_factory.mktemp("clips")

    @cache
    def make(seconds: float) -> Audio:
        path = folder / f"{seconds}.wav"
        soundfile.write(path, noise(seconds, int(seconds)), RATE)
        return Audio(str(path))

    return make


def asked(audio: Audio, prompt: str = "What is heard?") -> Request:
    return Request(prompt, (audio,), FEW)


def answers(model: ChatModel, requests: Sequence[Request]) -> list[Response]:
    found = dict(complete(model, requests))
    return [found[request] for request in requests]


def press_of(name: str, ratio: float = 0.5) -> Press:
    press_class = PRESSES[name]
    arguments: dict[str, Any] = {"m": 2} if name == "pool" else {"ratio": ratio}
    return press_class(**press_class.completed(arguments))


# -- inputs -----------------------------------------------------------------------------------------------------------


@ALL
def test_a_clip_longer_than_five_minutes_is_heard_whole(name: str, bench: Callable[[str], Bench]) -> None:
    there = bench(name)
    adapter, wave = there.adapter(), noise(330.0)
    inputs = adapter.prepare(there.loaded, [asked(Audio("unread.wav"))], [[wave]])
    assert inputs.audio_tokens == [there.case.tokens(330.0)]
    assert inputs.heard_seconds[0] == pytest.approx(330.0, abs=0.1)
    ids = torch.tensor(adapter.decoder(there.loaded.model).audio_token_ids)
    assert int(torch.isin(inputs.tensors["input_ids"], ids).sum()) == inputs.audio_tokens[0]
    rate = there.case.tokens(3000.0) / 3000.0
    assert adapter.token_rate == pytest.approx(rate, rel=0.01)
    assert inputs.details == ({"segment_seconds": 30.0} if adapter.segment_seconds else {})


@ALL
def test_a_clip_that_the_features_cut_is_an_error_row(
    name: str, bench: Callable[[str], Bench], clip: Callable[[float], Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench(name)
    limit = 25 if there.adapter().segment_seconds else 300
    original = type(there.adapter()).hear

    def deaf(self: ChatModel, loaded: Loaded, clips: Sequence[Any]) -> Any:
        return original(self, loaded, [wave[: limit * RATE] for wave in clips])

    monkeypatch.setattr(type(there.adapter()), "hear", deaf)
    (response,) = answers(there.adapter(), [asked(clip(330.0))])
    assert response.status == "error"
    assert "audio was cut: 330.00 s were sent" in str(response.error)


@ALL
def test_a_prompt_with_the_placeholder_in_it_is_an_error_row(
    name: str, bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    there = bench(name)
    adapter = there.adapter()
    (response,) = answers(adapter, [asked(clip(2.0), f"Is {adapter.placeholder(there.loaded)} heard?")])
    if there.case.placeholder_is_text:
        assert response.error is None
        return
    assert response.status == "error"
    assert "the prompt must not contain it" in str(response.error)


# -- answers ----------------------------------------------------------------------------------------------------------


def first_logits(there: Bench, inputs: Inputs) -> torch.Tensor:
    """[B, vocabulary] at the end of the prompt, over the positions that every batch has."""
    with torch.inference_mode():
        logits: torch.Tensor = there.loaded.model(**inputs.tensors).logits[:, -1]
    return logits


@ALL
def test_a_batch_of_two_is_two_batches_of_one(
    name: str, bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    there = bench(name)
    requests = [asked(clip(95.0)), asked(clip(41.0), "Which sound comes first?")]
    alone = answers(there.adapter(), requests)
    assert [response.error for response in alone] == [None, None]
    for response, seconds in zip(alone, (95.0, 41.0), strict=True):
        assert response.usage.audio_tokens == there.case.tokens(seconds)
        assert response.usage.heard_seconds == pytest.approx(seconds, abs=0.1)
    together = answers(there.adapter(batch_size=2), requests)
    assert [response.text for response in together] == [response.text for response in alone]
    assert [response.usage.details["batch"] for response in together] == [2 if there.case.batches else 1] * 2
    if there.case.batches:
        adapter = there.adapter()
        waves = [[request.audios[0].samples(RATE)] for request in requests]
        both = first_logits(there, adapter.prepare(there.loaded, requests, waves))
        for row in range(2):
            one = adapter.prepare(there.loaded, requests[row : row + 1], waves[row : row + 1])
            torch.testing.assert_close(both[row], first_logits(there, one)[0], atol=1e-4, rtol=0)


@ALL
def test_a_question_without_audio_is_answered(name: str, bench: Callable[[str], Bench]) -> None:
    (response,) = answers(bench(name).adapter(), [Request("What is two and two?", (), FEW)])
    assert response.error is None
    assert response.usage.audio_tokens == 0


def held_or_refused(there: Bench, press: Press, requests: Sequence[Request]) -> None:
    """The press leaves exactly its budget, or the model says in the case's words that it can't carry it."""
    if there.case.refuses is not None:
        with pytest.raises(MarathonError, match=there.case.refuses):
            there.adapter(press)
        return
    plain = answers(there.adapter(), requests)
    for before, response in zip(plain, answers(there.adapter(press), requests), strict=True):
        assert response.error is None
        heard = before.usage.audio_tokens
        assert heard is not None
        assert response.usage.audio_tokens == heard
        assert response.usage.kept_tokens == pytest.approx(budget(heard, press.ratio), abs=1)
        assert response.usage.kv_bytes < before.usage.kv_bytes  # type: ignore[operator]  # both were measured


@ALL
@pytest.mark.parametrize("press", ["random", "fastv", "dart", *EVICTION])
def test_presses_keep_their_budget(
    name: str, press: str, bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    held_or_refused(bench(name), press_of(press), [asked(clip(33.0))])


@pytest.mark.slow
@ALL
@pytest.mark.parametrize("press", [*PRUNING, *EVICTION])
@pytest.mark.parametrize("seconds", LONG)
def test_every_press_on_long_clips(
    name: str, press: str, seconds: float, bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    held_or_refused(bench(name), press_of(press), [asked(clip(seconds))])


@pytest.mark.slow
@ALL
def test_five_minutes_beside_a_minute_and_a_half(
    name: str, bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    there = bench(name)
    requests = [asked(clip(seconds)) for seconds in (300.0, 95.0, 330.0)]
    alone = answers(there.adapter(), requests)
    assert [response.error for response in alone] == [None] * 3
    assert [r.usage.audio_tokens for r in alone] == [there.case.tokens(s) for s in (300.0, 95.0, 330.0)]
    together = answers(there.adapter(batch_size=2), requests)
    assert [response.text for response in together] == [response.text for response in alone]


# -- Phi-4's speech adapter -----------------------------------------------------------------------------------------------


def test_phi4_answers_with_its_speech_adapter(bench: Callable[[str], Bench]) -> None:
    there = bench("phi4_mm")
    kept = load_file(there.folder / "speech-lora" / "adapter_model.safetensors")
    active = there.loaded.model.state_dict()
    lora = {name: part for name, part in active.items() if "lora_" in name}
    assert len(lora) == len(kept) > 0
    for name, part in kept.items():
        inside = name.removeprefix("base_model.model.").replace(".weight", ".speech.weight")
        assert torch.equal(lora[inside], part)
    inputs = there.adapter().prepare(there.loaded, [asked(Audio("unread.wav"))], [[noise(3.0)]])
    with_speech = first_logits(there, inputs)
    there.loaded.model.disable_adapters()
    try:
        assert (first_logits(there, inputs) - with_speech).abs().max() > 1e-3
    finally:
        there.loaded.model.enable_adapters()


def test_phi4_without_its_speech_adapter_is_refused(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    there = bench("phi4_mm")
    bare = tmp_path / "bare"
    shutil.copytree(there.folder, bare, ignore=shutil.ignore_patterns("speech-lora"))
    adapter = built(there.case, bare)
    with pytest.raises(MarathonError, match="has no speech-lora/adapter_config.json"):
        adapter.check()


def test_another_speech_adapter_is_another_model(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    there = bench("phi4_mm")
    other = tmp_path / there.folder.name
    shutil.copytree(there.folder, other)
    assert built(there.case, other).fingerprint == built(there.case, there.folder).fingerprint
    file = other / "speech-lora" / "adapter_model.safetensors"
    save_file({name: part + 1 for name, part in load_file(file).items()}, file)
    assert built(there.case, other).fingerprint != built(there.case, there.folder).fingerprint


# -- any model by arguments -----------------------------------------------------------------------------------------------


def test_what_arguments_say_equals_an_adapter_of_its_own(
    bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    told, own = bench("hf"), bench("qwen2_audio")
    requests, waves = [asked(clip(41.0)), asked(clip(3.0))], [[noise(41.0)], [noise(3.0)]]
    inputs = [there.adapter().prepare(there.loaded, requests, waves) for there in (told, own)]
    for name, tensor in inputs[1].tensors.items():
        torch.testing.assert_close(inputs[0].tensors[name].to(tensor.dtype), tensor, atol=0, rtol=0)
    assert inputs[0].audio_tokens == inputs[1].audio_tokens


def test_a_processor_that_cuts_without_a_word_is_caught(
    bench: Callable[[str], Bench], clip: Callable[[float], Audio]
) -> None:
    (response,) = answers(bench("hf").adapter(segment_seconds=None), [asked(clip(95.0))])
    assert response.status == "error"
    assert "audio was cut: 95.00 s were sent, the model would hear 30.00 s" in str(response.error)


# -- features of our own, and models that cannot load ------------------------------------------------------------------------


def test_granites_features_are_torchaudios() -> None:
    time = np.arange(16000)
    chirp = np.sin(time * 0.05 * (1 + time / 16000)).astype(np.float32)
    mel = LogMel()(torch.from_numpy(chirp)[None])[0]
    # torchaudio 2.11.0's MelSpectrogram, logged, scaled and stacked as transformers' extractor does
    places = [0, 3, 20, 79, 100, 159]
    expected = {10: [0.80237, 1.10033, *[-0.00647] * 4], -1: [0.23891, 0.14996, 0.38428, -0.00647, 0.90247, 0.09575]}
    for row, values in expected.items():
        torch.testing.assert_close(mel[row, places], torch.tensor(values), atol=2e-5, rtol=0)
    assert float(mel.mean()) == pytest.approx(0.2576286, abs=1e-6)


@pytest.mark.parametrize("name", ["aero1", "baichuan_omni", "audio_flamingo2"])
def test_remote_code_is_refused_and_the_way_through_a_server_named(name: str) -> None:
    with pytest.raises(MarathonError, match=r"--model openai_audio --model_args base_url=.*,model=\w+/") as error:
        Registry().model_class(name).from_args({"trust_remote_code": True})
    assert f"--model {name}: " in str(error.value)
    assert "here is transformers 5." in str(error.value)


def test_a_missing_package_is_named_with_its_extra(
    bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = bench("qwen2_audio").adapter()
    monkeypatch.setattr(type(adapter), "needs", {"no_such_module": "voxtral"})
    with pytest.raises(MarathonError, match=r"needs no_such_module: pip install 'marathon-eval\[voxtral\]'"):
        adapter.check()


# -- the official processors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("qwen2_audio", "Qwen2AudioProcessor"),
        ("audio_flamingo", "AudioFlamingo3Processor"),
        ("music_flamingo", "MusicFlamingoProcessor"),
    ],
)
@pytest.mark.parametrize("seconds", [2.03, 30.0, 71.7])
def test_inputs_are_those_of_the_official_processor(
    name: str, processor: str, seconds: float, bench: Callable[[str], Bench]
) -> None:
    there = bench(name)
    adapter, wave, request = there.adapter(), noise(seconds), asked(Audio("unread.wav"))
    ours = adapter.prepare(there.loaded, [request], [[wave]]).tensors
    official = getattr(transformers, processor)(_features(there), there.loaded.tokenizer)
    clips = list(adapter.split(wave))
    theirs = official(
        text=[adapter.chat(there.loaded, request, len(clips))],
        audio=clips,
        sampling_rate=RATE,
        return_tensors="pt",
    )
    assert set(ours) <= set(theirs)
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key].to(tensor.dtype), atol=0, rtol=0)


@pytest.mark.parametrize("seconds", [2.03, 30.0, 71.7])
def test_voxtrals_inputs_are_those_of_the_official_processor(
    seconds: float, bench: Callable[[str], Bench]
) -> None:
    there = bench("voxtral")
    adapter, wave, request = there.adapter(), noise(seconds), asked(Audio("unread.wav"))
    ours = adapter.prepare(there.loaded, [request], [[wave]]).tensors
    official = transformers.VoxtralProcessor(_features(there), there.loaded.tokenizer)
    theirs = official.apply_chat_template([adapter.turns(request, [{"type": "audio", "base64": wav(wave)}])])
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key].to(tensor.dtype), atol=0, rtol=0)


def _features(there: Bench) -> Any:
    return transformers.AutoFeatureExtractor.from_pretrained(there.folder)
