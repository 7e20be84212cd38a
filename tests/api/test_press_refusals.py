"""Tests how presses are listed, and which settings are refused or warned about."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from helpers import tiny_checkpoints
from helpers.tiny_press_run import RATE, noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import EvictionPress, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.cli.verbs.ls import names, presses
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.models.qwen_omni import QwenOmni
from marathon_eval.task.yaml.generation import generation_settings


def test_every_press_is_listed_with_its_kind_and_rule() -> None:
    lines = presses(Registry())
    rows = {line.split()[0]: line for line in lines}
    assert set(names("presses", [])) == set(rows) - {"kvpress:NAME"}
    for name, line in rows.items():
        if name != "kvpress:NAME":
            kind = "eviction" if issubclass(Registry().press_class(name), EvictionPress) else "pruning"
            assert re.fullmatch(rf"{name} +{kind} +[A-Z`].{{20,}}", line), line
    assert rows["dart"].endswith(
        "https://arxiv.org/abs/2502.11494 (own settings: audio_pivots, text_pivots; "
        "supports layer=0, stages, compat=audiomarathon, batches; differs from the paper: the budget is met exactly: "
        "the first pivots pick one token more where it does not divide)"
    )


@pytest.mark.parametrize("name", names("presses", []))
def test_what_a_press_is_said_to_support_it_takes_and_the_rest_it_refuses(name: str) -> None:
    press = Registry().press_class(name)
    amount = {"m": 2} if name == "pool" else {"ratio": 0.5}
    asked: dict[str, dict[str, Any]] = {
        "layer=0": {**amount, "layer": 0},
        "stages": {**amount, "layer": "1+2", "ratio": "0.2+0.5"},
        "compat=audiomarathon": {**amount, "compat": "audiomarathon"},
        "evict=prompt": {**amount, "evict": "prompt"},
        "smooth": {**amount, "smooth": 0.5},
    }
    for way, args in asked.items():
        if way in press.supports():
            press_from_args(press, args)
        else:
            with pytest.raises(MarathonError):
                press_from_args(press, args)


def test_an_own_press_is_listed_too(tmp_path: Path) -> None:
    (tmp_path / "presses").mkdir()
    (tmp_path / "presses" / "mine.py").write_text(
        '"""What I think, https://example.org/mine."""\n'
        "from dataclasses import dataclass\n"
        "from marathon_eval.api.press import PruningPress\n\n"
        "@dataclass(frozen=True)\nclass Mine(PruningPress):\n"
        '    """Whatever comes first."""\n\n    luck: int = 1\n\n'
        "    def select(self, view):\n        return view.audio[: view.keep]\n"
    )
    (line,) = (line for line in presses(Registry([str(tmp_path)])) if line.startswith("mine "))
    assert line.endswith(
        "pruning   Whatever comes first. https://example.org/mine (own settings: luck; supports layer=0, stages, batches)"
    )


@pytest.mark.parametrize(
    "name", ["dummy", "openai_audio", "gemini", "whisper", "cascade", "text_lm", "embedder"]
)
def test_models_without_audio_tokens_refuse_before_anything_loads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    given = {
        "openai_audio": {"model": "any"},
        "gemini": {"model": "any"},
        "cascade": {"listener": "dummy", "reader": "dummy"},
        "text_lm": {"pretrained": "no/such"},
        "embedder": {"pretrained": "no/such"},
    }
    with pytest.raises(MarathonError, match=rf"{name} (does not support press=dart|takes no press)") as told:
        build_model(Registry(), name, {"press": "dart", "ratio": 0.5, **given.get(name, {})})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("num_beams", "beam search mixes several KV caches"),
        ("cache_implementation", "layers of static caches can't have different lengths"),
        ("use_cache", "presses need the KV cache"),
        ("num_return_sequences", "`repeats`"),
    ],
)
def test_ways_of_generating_that_no_press_can_follow(name: str, why: str) -> None:
    with pytest.raises(MarathonError, match=f"--gen_kwargs: {name}: .*{re.escape(why)}"):
        generation_settings({name: 4}, "--gen_kwargs")


@pytest.fixture(scope="module")
def omni(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., QwenOmni]:
    folder = tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))

    def build(name: str, **settings: Any) -> QwenOmni:
        press = press_from_args(Registry().press_class(name), {"ratio": 0.5, **settings})
        model = QwenOmni.from_args({"pretrained": str(folder), "device": "cpu"}, press)
        assert isinstance(model, QwenOmni)
        return model

    return build


@pytest.mark.parametrize(
    ("evict", "tokens", "warned"), [("prompt", 1, 1), ("prompt", 6, 0), ("context", 1, 0)]
)
def test_evicting_after_the_prompt_warns_once_where_it_cannot_matter(
    omni: Callable[..., QwenOmni],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    evict: str,
    tokens: int,
    warned: int,
) -> None:
    soundfile.write(tmp_path / "clip.wav", noise(1.0), RATE)
    clip, generation = Audio(str(tmp_path / "clip.wav")), Generation(max_new_tokens=tokens)
    requests = [Request(text, (clip,), generation) for text in ("One?", "Two?")]
    answers = dict(complete(omni("snapkv", evict=evict), requests))
    assert [answer.status for answer in answers.values()] == ["ok", "ok"]
    told = capfd.readouterr().err
    assert told.count("press=snapkv,evict=prompt: answers of one token can't depend on the press") == warned


def test_the_first_batch_after_loading_is_marked(omni: Callable[..., QwenOmni], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", noise(1.0), RATE)
    clip = Audio(str(tmp_path / "clip.wav"))
    model, requests = omni("dart"), [Request(text, (clip,)) for text in ("One?", "Two?")]
    for _ in range(2):
        answers = [response.usage.details for _, response in model.generate(requests)]
        assert [details.get("warm_up") for details in answers] == [True, None]
        model.close()
