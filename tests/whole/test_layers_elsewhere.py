"""Tests `device_map=auto`, one model over all devices, by adding accelerate's hooks to every layer on one device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile

from helpers import tiny_checkpoints
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.registry import Registry
from marathon_eval.backends.press_args import split_press_args
from marathon_eval.models.qwen_omni import QwenOmni

PRESSES = ["", "dart", "fastv", "snapkv", "streaming_llm"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    folder = tmp_path_factory.mktemp("clips")
    for clip in range(2):
        soundfile.write(folder / f"{clip}.wav", noise(3 + clip, seed=clip), 16000)
    return [
        Request(prompt, (Audio(str(folder / f"{clip}.wav")),), Generation(8))
        for clip in range(2)
        for prompt in ("What is heard?", "Where?")
    ]


class Hooked(QwenOmni):
    """With every layer a device of its own, as far as accelerate is concerned."""

    def after_load(self, model: Any, folder: Path) -> None:
        from accelerate import dispatch_model

        parts = [name for name, module in model.named_modules() if not list(module.children())]
        dispatch_model(model, dict.fromkeys(parts, "cpu"), main_device="cpu", force_hooks=True)
        assert sum(hasattr(module, "_hf_hook") for module in model.modules()) >= len(parts)


def texts(kind: type[QwenOmni], weights: Path, press: str, requests: list[Request], **args: Any) -> list[str]:
    given = {"pretrained": str(weights), "device": "cpu", **args}
    given |= {"press": press, "ratio": 0.5} if press else {}
    plain, made = split_press_args(given, set(kind.Settings.model_fields), Registry().press_class)
    model = kind.from_args(plain, made)
    found = dict(complete(model, requests))
    assert {response.status for response in found.values()} == {"ok"}, found
    model.close()
    return [found[request].text for request in requests]


@pytest.mark.parametrize(
    "press", [pytest.param(p, marks=[pytest.mark.slow] if p not in ("", "dart") else []) for p in PRESSES]
)
def test_answers_do_not_depend_on_where_the_layers_lie(
    weights: Path, requests: list[Request], press: str
) -> None:
    plain = texts(QwenOmni, weights, press, requests)
    assert len(set(plain)) > 1
    assert texts(QwenOmni, weights, press, requests, device_map="auto") == plain
    assert texts(Hooked, weights, press, requests, device_map="auto") == plain
