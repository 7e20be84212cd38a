"""Tests the calls of three models' workers against stubs with the published signatures; the models were not run."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers

from helpers import stub_packages
from helpers.stub_packages import calls
from marathon_eval.api.registry import Registry
from marathon_eval.backends.env.adapter import EnvModel
from marathon_eval.backends.env.environment import required_packages
from marathon_eval.errors import MarathonError

SETTINGS: dict[str, Any] = {
    "max_new_tokens": 16,
    "temperature": 0.0,
    "top_p": 1.0,
    "seed": None,
    "stop": [],
    "system": None,
}
NAMES = [name for name in Registry().names("model") if issubclass(Registry().model_class(name), EnvModel)]


def worker(name: str) -> Any:
    return importlib.import_module(f"marathon_eval.models.{name}_worker")


def clip(folder: Path, seconds: float) -> str:
    path = folder / f"{seconds}.wav"
    noise = np.random.default_rng(0).normal(size=round(seconds * 16000)).astype(np.float32) / 9
    soundfile.write(path, noise, 16000, subtype="FLOAT")
    return str(path)


@pytest.mark.parametrize("seconds", [2.0, 30.0, 95.3])
def test_kimi_audio(seconds: float, tmp_path: Path) -> None:
    kimi = worker("kimi_audio")
    path = clip(tmp_path, seconds)
    with stub_packages.modules(**stub_packages.kimi()):
        kimi.load({"pretrained": str(tmp_path), "trust_remote_code": True})
        answer = kimi.answer("Is it raining?", [path], SETTINGS)
        assert calls[0] == ("load", {"model_path": str(tmp_path), "load_detokenizer": False})
        [(_, sent)] = calls[1:]
    assert sent["chats"] == [
        {"role": "user", "message_type": "text", "content": "Is it raining?"},
        {"role": "user", "message_type": "audio", "content": path},
    ]
    assert (sent["n"], sent["text_temperature"], answer["text"]) == (16, 0.0, "text: A. Yes")
    assert answer["heard_seconds"] == pytest.approx(seconds, abs=0.08)
    for lost in ({"system": "Be brief."}, {"temperature": 0.7, "top_p": 0.9}, {"max_new_tokens": 5000}):
        with pytest.raises(ValueError, match=r"\w"):
            kimi.answer("Is it raining?", [path], {**SETTINGS, **lost})


def flamingo(tmp_path: Path, **args: Any) -> Any:
    code, weights = tmp_path / "code", tmp_path / "weights"
    if not code.exists():
        stub_packages.write_flamingo(code, weights)
    module = worker("audio_flamingo2")
    module.load({"pretrained": str(weights), "code": str(code), "device": "cpu", **args})
    return module


@pytest.fixture
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("src", "src.factory"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("_paths")
@pytest.mark.parametrize(("seconds", "windows"), [(2.0, 1), (10.0, 1), (10.5, 2), (95.0, 10), (120.0, 12)])
def test_audio_flamingo_2(seconds: float, windows: int, tmp_path: Path) -> None:
    with stub_packages.modules(src=None, src__factory=None):
        module = flamingo(tmp_path)
        answer = module.answer("Choices: (A) Wind (B) Rain", [clip(tmp_path, seconds)], SETTINGS)
        (_, loaded), (_, sent) = calls
    assert loaded["clap"]["checkpoint"] == str(tmp_path / "weights" / "clap_ckpt" / "epoch_16.pt")
    assert sent["audio"].shape == (1, windows, 160000)
    assert float(sent["audio"].abs().max()) == pytest.approx(1.0)
    assert sent["prompt"] == "<audio>choices: (a) wind (b) rain<|im_start|>"
    assert sent["weight"] == [1.0, 1.0], "the chunks of the checkpoint are in the model"
    assert (sent["max_new_tokens"], sent["do_sample"]) == (16, False)
    assert (answer["text"], answer["heard_seconds"]) == ("(b) rain", seconds)


@pytest.mark.usefixtures("_paths")
def test_audio_flamingo_2_says_what_it_would_cut(tmp_path: Path) -> None:
    with stub_packages.modules(src=None, src__factory=None):
        module = flamingo(tmp_path)
        assert module.answer("Rain?", [clip(tmp_path, 130.0)], SETTINGS)["heard_seconds"] == 120.0
        module = flamingo(tmp_path, max_windows=30)
        assert module.answer("Rain?", [clip(tmp_path, 130.0)], SETTINGS)["heard_seconds"] == 130.0
        with pytest.raises(ValueError, match="the authors' script cuts at 512"):
            module.answer("Rain? " * 200, [clip(tmp_path, 2.0)], SETTINGS)
        with pytest.raises(ValueError, match="one clip per question, 2 were sent"):
            module.answer("Rain?", [clip(tmp_path, 2.0)] * 2, SETTINGS)
        silence, _ = module.windows_of(np.zeros(16000, np.float32), module._loaded["clap"])
        assert not silence.any(), "silence has no peak to divide by"


@pytest.mark.parametrize("seconds", [2.0, 30.0, 95.3])
def test_baichuan_omni(seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "AutoTokenizer", stub_packages.OmniTokenizer)
    monkeypatch.setattr(transformers, "AutoModelForCausalLM", stub_packages.OmniForCausalLM)
    calls.clear()
    module = worker("baichuan_omni")
    module.load({"pretrained": "owner/name", "revision": "abc", "trust_remote_code": True, "device": "cpu"})
    path = clip(tmp_path, seconds)
    answer = module.answer("Is it raining?", [path], {**SETTINGS, "system": "Be brief.", "stop": ["\n"]})
    by_name = dict(calls)
    assert by_name["model"]["trust_remote_code"] is True
    assert (by_name["model"]["revision"], by_name["model"]["torch_dtype"]) == ("abc", torch.bfloat16)
    assert by_name["bind_processor"] == {"training": False, "relative_path": "/"}
    assert by_name["prompt"] == (
        f'<B_SYS>Be brief.<C_Q><audio_start_baichuan>{{"path": "{path}"}}<audio_end_baichuan>Is it raining?<C_A>'
    )
    sent = by_name["generate"]
    assert (sent["do_sample"], sent["max_new_tokens"]) == (False, 16)
    assert sent["stop_strings"] == ["<|endoftext|>", "\n"]
    assert sent["bridge_length"].sum() == answer["audio_tokens"]
    assert answer["text"] == "A. Yes"
    assert answer["heard_seconds"] == pytest.approx(seconds, abs=0.16)
    with pytest.raises(ValueError, match="which mark audio"):
        module.answer("What is <audio_start_baichuan>?", [path], SETTINGS)
    with pytest.raises(ValueError, match="8192 positions"):
        module.answer("Is it raining?", [path] * 400, SETTINGS)


# -- the adapters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_without_an_environment_the_command_that_makes_one_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path))
    model = Registry().model_class(name).from_args({"revision": "a" * 40})
    with pytest.raises(
        MarathonError, match=f"--model {name} runs in .*`marathon-eval env make {name}`.*env=DIR"
    ):
        _ = model.fingerprint
    with pytest.raises(MarathonError, match="does not support press=dart"):
        Registry().model_class(name).from_args({}, Registry().press_class("dart")(ratio=0.5))


@pytest.mark.parametrize("name", ["baichuan_omni", "kimi_audio"])
def test_code_beside_the_weights_runs_only_when_it_is_trusted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = {"revision": "a" * 40, "env": sys.prefix}
    kind = Registry().model_class(name)
    monkeypatch.setattr(kind, "_lacks", lambda self, package: False)
    with pytest.raises(MarathonError, match=r"say --model_args trust_remote_code=true if you trust it"):
        kind.from_args(args).check()
    kind.from_args({**args, "trust_remote_code": True}).check()


def test_nvidias_code_must_be_named() -> None:
    model = Registry().model_class("audio_flamingo2").from_args({"env": sys.prefix})
    with pytest.raises(
        MarathonError, match=r"git clone -b audio_flamingo_2 .*code=CODE/inference_HF_pretrained"
    ):
        model.check()


@pytest.mark.parametrize("name", NAMES)
def test_each_requirement_is_one_exact_release(name: str) -> None:
    kind = Registry().model_class(name)
    assert issubclass(kind, EnvModel)
    file = kind.requirements()
    assert file is not None
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert set(required_packages(file)) == {line.partition("==")[0] for line in lines}
    assert {"torch", "transformers"} <= set(required_packages(file))


def test_an_environment_that_lacks_a_package_names_it() -> None:
    model = Registry().model_class("kimi_audio").from_args({"revision": "a" * 40, "env": sys.prefix})
    with pytest.raises(MarathonError, match=r"lacks .*torchdyn.*`marathon-eval env make kimi_audio DIR`"):
        model.check()
