"""Lists the chat models under test, each on its tiny checkpoint, with what their requests need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from helpers import tiny_chat_models
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.api.press import Decoder, Press, PruningPress
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.chat import ChatModel
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.runner import Runner
from marathon_eval.backends.hf.inputs import RATE, Inputs

ROOT = Path(__file__).resolve().parents[2]
FEW = Generation(max_new_tokens=4)


@dataclass(frozen=True)
class Case:
    """Describes a model on its tiny checkpoint: the adapter, its arguments, and the expected audio tokens."""

    model: str
    tokens: Callable[[float], int]
    args: dict[str, Any] = field(default_factory=dict)
    batches: bool = True
    placeholder_is_text: bool = False
    """Its tokenizer takes a placeholder in the question for the letters that it is made of."""
    at_input: bool = False
    """It carries presses that drop tokens before the first layer, and no others."""
    transcribes: bool = False
    """It sends no question to the model, and refuses a request without a clip."""
    recurrent: bool = False
    """It has layers that keep a state of all that they read, the first one among them."""

    @property
    def layers(self) -> str:
        """Return what the model's refusals say of its layers, as a pattern."""
        return "has Mamba layers, which keep a state" if self.recurrent else "attends in windows"

    def refuses(self, press: type[Press]) -> str | None:
        """Return the expected refusal of a press that the model can't carry."""
        if self.transcribes and issubclass(press, PruningPress) and press.needs_question:
            return "compares the audio with the question, and this model is sent none"
        if self.recurrent and issubclass(press, PruningPress) and press.needs_projections:
            return "this model's first layer is a Mamba layer"
        if not self.at_input:
            return None
        if not issubclass(press, PruningPress):
            return f"{self.layers}.* not every layer has keys of the whole prompt to evict"
        return "before the first layer, and the rule reads attention" if press.needs_attention else None


def per_second(rate: float) -> Callable[[float], int]:
    return lambda seconds: int(np.ceil(seconds * rate))


def per_window(tokens: int) -> Callable[[float], int]:
    """Return a function that counts a fixed number of tokens for every 30 s begun."""
    return lambda seconds: tokens * int(np.ceil(seconds / 30))


def three_per_window(seconds: float) -> int:
    """Count as Granite's projector: three tokens for every 15 encoder frames begun."""
    return 3 * int(np.ceil((int(seconds * RATE) // 160 + 1) // 2 / 15))


def joined_by_four(seconds: float) -> int:
    """Count as GLM-ASR's projector: one token for four of the frames that a convolution halved."""
    return (int(seconds * 100) + 1) // 2 // 4


def halved_thrice(seconds: float) -> int:
    """Count as Parakeet's encoder: one token for every eight mel frames begun, of which a clip has one more than 10 ms."""
    return int(np.ceil((int(seconds * 100) + 1) / 8))


BY_ARGUMENTS = {
    "model_class": "Qwen2AudioForConditionalGeneration",
    "token": "<|AUDIO|>",
    "segment_seconds": 30.0,
}
CASES = {
    "qwen2_audio": Case("qwen2_audio", per_second(25)),
    "aero1": Case("aero1", per_second(25)),
    "audio_flamingo": Case("audio_flamingo", per_second(25)),
    "music_flamingo": Case("audio_flamingo", per_second(25), {"kind": "music"}),
    "voxtral": Case("voxtral", per_window(375), placeholder_is_text=True),
    "qwen3_omni": Case("qwen3_omni", per_second(13)),
    "phi4_mm": Case("phi4_mm", per_second(12.5), batches=False),
    "hf": Case("hf", per_second(25), BY_ARGUMENTS),
    "gemma4": Case("gemma4", per_second(25), at_input=True),
    "granite_speech": Case("granite_speech", three_per_window, batches=False),
    "granite_speech_plus": Case("granite_speech_plus", three_per_window, batches=False),
    "gemma4_unified": Case("gemma4_unified", per_second(25), at_input=True),
    "qwen3_asr": Case("qwen3_asr", per_second(13), transcribes=True),
    "glm_asr": Case("glm_asr", joined_by_four, transcribes=True),
    "nemotron_h_omni": Case("nemotron_h_omni", halved_thrice, at_input=True, recurrent=True),
}
#: Encoder and decoder are another case's, or nearly: what depends on these alone is tested by `scripts/test --full`.
RELATED = ("granite_speech_plus", "gemma4_unified", "glm_asr")
#: Here, or in the process that `test_what_needs_torchvision_passes_beside_it` starts.
TORCHVISION = sys.modules.get("torchvision") is not None
if TORCHVISION:
    CASES["gemma3n"] = Case("gemma3n", per_window(188), at_input=True)
PRESSES = {
    path.stem: Registry().press_class(path.stem)
    for path in sorted((ROOT / "presses").glob("*.py"))
    if path.stem != "__init__"
}
PRUNING = [name for name, press in PRESSES.items() if issubclass(press, PruningPress)]
EVICTION = ["snapkv", "expected_attention"]
#: With the model that most press tests run on.
MODELS = {"qwen_omni": Case("qwen_omni", per_second(25)), **CASES}


def slow_if_related(names: Iterable[str]) -> list[Any]:
    """Return parameters of a test, those of `RELATED` models marked as slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in RELATED else []) for name in names]


@dataclass(frozen=True)
class Bench:
    """Holds one case's checkpoint with its weights in memory once, and adapters that use them."""

    case: Case
    folder: Path
    loaded: Loaded
    known: dict[Request, Response] = field(default_factory=dict)

    def plain(self, request: Request) -> Response:
        """Return the answer without a press, computed once for all presses that are compared with it."""
        if request not in self.known:
            (self.known[request],) = answers(self.adapter(), [request])
        return self.known[request]

    def adapter(self, press: Press | None = None, **args: Any) -> ChatModel:
        adapter = built(self.case, self.folder, press, **args)
        runner = Runner(adapter)
        runner._loaded = self.loaded
        adapter._runner = runner
        return adapter

    @cached_property
    def decoder(self) -> Decoder:
        """Return the parts that presses work on, after one request, because `hf` learns its placeholder from it."""
        adapter = self.adapter()
        adapter.prepare(self.loaded, [asked(Audio("unread.wav"))], [[noise(1.0)]])
        return adapter.decoder(self.loaded.model)


def built(case: Case, folder: Path, press: Press | None = None, **args: Any) -> ChatModel:
    model = Registry().model_class(case.model)
    adapter = model.from_args({"pretrained": str(folder), "device": "cpu", **case.args, **args}, press)
    assert isinstance(adapter, ChatModel)
    return adapter


def benches(tmp_path_factory: pytest.TempPathFactory) -> Benches:
    """Return each case's checkpoint, written and loaded on first use."""

    @cache
    def make(name: str) -> Bench:
        folder = tiny_chat_models.BUILDERS[name](tmp_path_factory.mktemp(name))
        return Bench(MODELS[name], folder, load(built(MODELS[name], folder)))

    return make


def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Return noise of the given seconds."""

    folder = tmp_path_factory.mktemp("clips")

    @cache
    def make(seconds: float) -> Audio:
        path = folder / f"{seconds}.wav"
        soundfile.write(path, noise(seconds, int(seconds)), RATE)
        return Audio(str(path))

    return make


Benches = Callable[[str], Bench]
Clips = Callable[[float], Audio]


def asked(audio: Audio, prompt: str = "What is heard?") -> Request:
    return Request(prompt, (audio,), FEW)


def answers(model: ChatModel, requests: Sequence[Request]) -> list[Response]:
    found = dict(complete(model, requests))
    return [found[request] for request in requests]


def press_of(name: str, case: Case, ratio: float = 0.5) -> Press:
    """Build the press with settings that the case's model can carry, if it can carry it at all."""
    press_class = PRESSES[name]
    arguments: dict[str, Any] = {"m": 2} if name == "pool" else {"ratio": ratio}
    if case.at_input and issubclass(press_class, PruningPress) and not press_class.needs_attention:
        arguments["layer"] = 0
    return press_class(**press_class.completed(arguments))


def first_logits(there: Bench, inputs: Inputs) -> torch.Tensor:
    """Return the logits [B, vocabulary] at the end of the prompt, over the positions that every batch has."""
    with torch.inference_mode():
        logits: torch.Tensor = there.loaded.model(**inputs.tensors).logits[:, -1]
    return logits
