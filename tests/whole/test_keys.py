"""Two runs that differ in one thing have two keys, or their answers are provably the same."""

from __future__ import annotations

import importlib.metadata
import os
import typing
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from helpers.key_arguments import BASE, CHANGES_NO_ANSWER, IN_KEY_WHERE_GIVEN
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Model, Request
from marathon_eval.api.press import Press, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf import weights
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.files import sha256_of

REGISTRY = Registry()


def shipped(name: str) -> type[Model]:
    return REGISTRY.model_class(name)


def built(kind: type[Model], /, **changed: Any) -> Model:
    known = kind.Settings.model_fields
    base = {name: value for name, value in BASE.items() if name in known and name not in refused(kind)}
    model = kind.from_args(base)
    return kind(model.settings.model_copy(update=changed)) if changed else model


def refused(kind: type[Model]) -> set[str]:
    """Declared by a base class, and refused with the reason: a server that the run starts has no address to give."""
    return {"base_url", "identity"} if kind.name() in ("vllm", "sglang") else set()


def other(value: Any, annotation: Any) -> Any:
    """Another value of that type."""
    choices = [one for one in _leaves(annotation) if one != value and one is not type(None)]
    literal = [one for one in choices if not isinstance(one, type)]
    if literal:
        return literal[0]
    if isinstance(value, bool) or (value is None and bool in choices):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("b" if value[-1:] != "b" else "c")
    if isinstance(value, list):
        return [*value, {"judge": "dummy", "answer": "C"}]
    if isinstance(value, dict):
        return {**value, "mode": "echo"}
    return 7 if int in choices or float in choices else "x"


def _leaves(annotation: Any) -> list[Any]:
    arguments = typing.get_args(annotation)
    return [leaf for one in arguments for leaf in _leaves(one)] if arguments else [annotation]


MODELS = REGISTRY.names("model")
ARGUMENTS = [
    (name, field)
    for name in MODELS
    for field in shipped(name).Settings.model_fields
    if field not in refused(shipped(name))
]


@pytest.fixture(autouse=True)
def flamingo_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for the hub: audio_flamingo reads its architecture from the config of the commit."""
    (tmp_path / "config.json").write_text('{"model_type": "audioflamingo3"}')
    monkeypatch.setattr(weights, "hub_config", lambda *_: tmp_path / "config.json")


def peft_adapter(folder: Path) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"lora_A": np.zeros(2, np.float32)}, folder / "adapter_model.safetensors")
    return str(folder)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=lambda value: str(value))
def test_each_model_argument(name: str, argument: str, tmp_path: Path) -> None:
    kind = shipped(name)
    before = built(kind)
    value = getattr(before.settings, argument)
    new = other(value, kind.Settings.model_fields[argument].annotation)
    if argument == "kv_bits" and getattr(kind, "cut_at_input", False):
        with pytest.raises(MarathonError, match=f"kv_bits=.*{kind.windows}"):
            built(kind, kv_bits=new)
        return
    if argument == "peft":
        new = peft_adapter(tmp_path / "adapter")
    if name == "audio_flamingo2" and argument == "code":
        new = str(tmp_path)
    if name == "audio_flamingo" and argument == "kind":
        new = "audio"  # the config says so too
    if name == "qwen3_asr" and argument == "language":
        new = "de"
    if name == "cascade" and argument in ("listener", "reader"):
        new = "openai_audio"
        after = build_model(
            REGISTRY,
            name,
            {"listener": "dummy", "reader": "dummy"} | {argument: new, f"{argument}_model": "m"},
        )
    else:
        after = built(kind, **{argument: new})
    assert new != value
    same = argument in kind.transport & CHANGES_NO_ANSWER or (name, argument) == ("audio_flamingo", "kind")
    assert same or before.fingerprint != after.fingerprint


def test_what_is_left_out_of_keys_is_listed_here() -> None:
    left_out = {argument for name, argument in ARGUMENTS if argument in shipped(name).transport}
    assert left_out <= CHANGES_NO_ANSWER | IN_KEY_WHERE_GIVEN


PRESSES = [
    (name, argument)
    for name in REGISTRY.names("press")
    for argument in [item.name for item in fields(REGISTRY.press_class(name))]
]


@pytest.mark.parametrize(("name", "argument"), PRESSES, ids=lambda value: str(value))
def test_each_press_argument(name: str, argument: str) -> None:
    kind = REGISTRY.press_class(name)
    if argument == "stages":
        text = {"layer": "2+8", "ratio": "0.3+0.6"}
        try:
            pair = [press_from_args(kind, {**text, "layer": layer}) for layer in ("2+8", "2+9")]
        except MarathonError:  # a press that cuts once has no stages
            pair = []
        assert all(press.fingerprint != pair[0].fingerprint for press in pair[1:])
        return
    before = press_from_args(kind, {"m": 4} if name == "pool" else {"ratio": 0.5})
    value = getattr(before, argument)
    after = object.__new__(kind)
    annotation = typing.get_type_hints(kind)[argument]
    values = {item.name: getattr(before, item.name) for item in fields(kind)}
    for field, one in {**values, argument: other(value, annotation)}.items():
        object.__setattr__(after, field, one)
    # the ratio of `pool` is what its `m` comes to
    assert before.fingerprint != after.fingerprint or argument not in kind.arguments()


REQUESTS: dict[str, Callable[[Request, Path], Request]] = {
    "prompt": lambda request, _: replace(request, prompt="Who?"),
    "a space": lambda request, _: replace(request, prompt=request.prompt + " "),
    "system": lambda request, _: replace(request, system="Be brief."),
    "no system": lambda request, _: replace(request, system=""),
    "tokens": lambda request, _: generated(request, max_new_tokens=17),
    "stop": lambda request, _: generated(request, stop=("\n",)),
    "order of stops": lambda request, _: generated(request, stop=("b", "a")),
    "temperature": lambda request, _: generated(request, temperature=0.5),
    "top_p": lambda request, _: generated(request, top_p=0.9),
    "seed": lambda request, _: generated(request, seed=1),
    "no clip": lambda request, _: replace(request, audios=()),
    "twice": lambda request, _: replace(request, audios=request.audios * 2),
    "order of clips": lambda request, _: replace(request, audios=request.audios[::-1]),
    "start": lambda request, _: heard(request, start=0.1),
    "stop second": lambda request, _: heard(request, stop=0.9),
    "transform": lambda request, _: heard(request, transform="noise:snr=10,seed=1"),
    "seed of the transform": lambda request, _: heard(request, transform="noise:snr=10,seed=2"),
    "another clip": lambda request, folder: heard(request, path=str(wav(folder / "b.wav", 500))),
    "another rate": lambda request, folder: heard(request, path=str(wav(folder / "c.wav", 440, 8000))),
    "one sample": lambda request, folder: heard(request, path=str(wav(folder / "d.wav", 440, changed=1))),
    "stereo": lambda request, folder: heard(request, path=str(wav(folder / "e.wav", 440, channels=2))),
}


def generated(request: Request, **changed: Any) -> Request:
    return replace(request, generation=replace(request.generation, **changed))


def heard(request: Request, **changed: Any) -> Request:
    return replace(request, audios=(replace(request.audios[0], **changed), *request.audios[1:]))


def wav(path: Path, hz: float, rate: int = 16000, channels: int = 1, changed: int = 0) -> Path:
    tone = (9000 * np.sin(2 * np.pi * hz * np.arange(rate) / rate)).astype(np.int16)
    tone[:changed] += 1
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate)
    return path


@pytest.mark.parametrize("change", REQUESTS)
def test_each_part_of_a_request(tmp_path: Path, change: str) -> None:
    first = Request(
        "What?",
        (Audio(str(wav(tmp_path / "a.wav", 440))), Audio(str(wav(tmp_path / "z.wav", 300)))),
        Generation(stop=("a", "b")),
    )
    pairs = [first, REQUESTS[change](first, tmp_path)]
    if change.startswith("seed of"):
        pairs[0] = REQUESTS["transform"](first, tmp_path)
    with ResponseCache(None) as cache:
        keyed, failed = cache.keyed("f" * 64, pairs)
    assert not failed
    assert keyed[pairs[0]].key != keyed[pairs[1]].key


def test_the_same_sound_has_the_same_key(tmp_path: Path) -> None:
    """Moved, in another container, with tags: what a model hears is the same."""
    first = wav(tmp_path / "a.wav", 440)
    samples, rate = soundfile.read(first, dtype="int16")
    soundfile.write(tmp_path / "b.flac", samples, rate)
    requests = [Request("What?", (Audio(str(path)),)) for path in (first, tmp_path / "b.flac")]
    with ResponseCache(None) as cache:
        keyed, _ = cache.keyed("f" * 64, requests)
    assert len({one.key for one in keyed.values()}) == 1


def checkpoint(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    contents = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}"} | files
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", '{"a": 1}'),
        ("model.safetensors", "WEIGHTS"),
        ("tokenizer.json", "{ }"),
        ("chat_template.jinja", "{{ x }}"),
        ("preprocessor_config.json", "{}"),
        ("adapter_config.json", "{}"),
        ("adapter_model.safetensors", "lora"),
        ("pytorch_model.bin", "more"),
    ],
)
@pytest.mark.parametrize("name", ["qwen2_audio", "granite_speech", "text_lm", "whisper"])
def test_each_file_of_a_checkpoint(tmp_path: Path, name: str, file: str, text: str) -> None:
    kind = shipped(name)
    folder = checkpoint(tmp_path / "c")
    with ResponseCache(tmp_path / "cache") as cache:
        prints = []
        for content in (None, text):
            if content is not None:
                before = (folder / "config.json").stat()
                checkpoint(folder, **{file: content})
                os.utime(folder / file, ns=(before.st_atime_ns, before.st_mtime_ns))
            model = kind.from_args({"pretrained": str(folder)})
            model.cache = cache
            prints.append(sha256_of(model.fingerprint))
    assert prints[0] != prints[1]


@pytest.mark.parametrize("lora", ["in the config", "beside the weights", "on the hub"])
def test_peft_is_in_the_key_where_there_is_a_lora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: str
) -> None:
    name, files = {
        "in the config": ("granite_speech", {"config.json": '{"has_lora_adapter": true}'}),
        "beside the weights": ("qwen2_audio", {"adapter_config.json": "{}"}),
        "on the hub": ("granite_speech", {}),
    }[lora]
    args = {"pretrained": str(checkpoint(tmp_path / "c", **files))}
    if lora == "on the hub":
        args = {"pretrained": "owner/name", "revision": "a" * 40}
    seen = [shipped(name).from_args(args).fingerprint]
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda package: "99.1" if package == "peft" else version(package)
    )
    seen.append(shipped(name).from_args(args).fingerprint)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    seen.append(shipped(name).from_args(args).fingerprint)
    assert [one["peft"] for one in seen[1:]] == ["99.1", None]
    assert len({sha256_of(one) for one in seen}) == 3


def test_without_a_lora_peft_is_in_no_key(tmp_path: Path) -> None:
    for name in ("granite_speech", "qwen2_audio"):
        args = {"pretrained": str(checkpoint(tmp_path / "c"))}
        assert "peft" not in shipped(name).from_args(args).fingerprint


def test_transformers_release_and_versions_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = shipped("qwen2_audio")
    seen = [built(kind).fingerprint]
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9.9.9" if name == "transformers" else version(name)
    )
    seen.append(built(kind).fingerprint)
    monkeypatch.setattr(kind, "version", 99)
    seen.append(built(kind).fingerprint)
    press: type[Press] = REGISTRY.press_class("dart")
    seen.append(
        build_model(
            REGISTRY,
            "qwen2_audio",
            {**{k: BASE[k] for k in ("pretrained", "revision")}, "press": "dart", "ratio": 0.5},
        ).fingerprint
    )
    monkeypatch.setattr(press, "version", 99)
    seen.append(
        build_model(
            REGISTRY,
            "qwen2_audio",
            {**{k: BASE[k] for k in ("pretrained", "revision")}, "press": "dart", "ratio": 0.5},
        ).fingerprint
    )
    assert len({sha256_of(one) for one in seen}) == 5


def test_no_shipped_model_or_press_has_its_source_in_the_key() -> None:
    for name in MODELS:
        assert "source" not in built(shipped(name)).fingerprint
    for name in REGISTRY.names("press"):
        args = {"pretrained": "nano", "press": name, **({"m": 4} if name == "pool" else {"ratio": 0.5})}
        assert "press_source" not in build_model(REGISTRY, "qwen_omni", args).fingerprint
