"""Tests that `ls models NAME` lists exactly the presses that a run of the model accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.key_arguments import BASE
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.kvpress import KVPress
from marathon_eval.cli.details import details
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import build_model

REGISTRY = Registry()
KVPRESS = "kvpress:NAME"
PRESSES = [*REGISTRY.names("press"), KVPRESS]
SERVED = ("vllm", "sglang")


@pytest.fixture(autouse=True)
def without_packages_and_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for the hub, from whose config audio_flamingo reads its architecture, and for kvpress."""
    (tmp_path / "config.json").write_text('{"model_type": "audioflamingo3"}')
    monkeypatch.setattr(weights, "hub_config", lambda *_: tmp_path / "config.json")
    monkeypatch.setattr(KVPress, "made", lambda self: None)


def listed(model: str, registry: Registry = REGISTRY) -> set[str]:
    """Return the names in the lines about presses of `ls models NAME`."""
    lines = details("model", model, registry, 100_000)
    (first,) = (number for number, line in enumerate(lines) if line.startswith("presses   "))
    if lines[first] == "presses   none":
        return set()
    found = [lines[first], *(line for line in lines[first + 1 : first + 2] if line.startswith(" " * 10))]
    return {name for line in found for name in line.partition(": ")[2].split(", ")}


def accepted(model: str, press: str) -> bool:
    """Return whether a run builds the model with the press, at the layer that it cuts at by itself or at the first."""
    name = "kvpress:KnormPress" if press == KVPRESS else press
    amount: dict[str, Any] = {"m": 2} if press == "pool" else {"ratio": 0.5}
    known = REGISTRY.model_class(model).Settings.model_fields
    left_out = ("base_url", "identity") if model in SERVED else ()
    base = {key: value for key, value in BASE.items() if key in known and key not in left_out}
    build_model(REGISTRY, model, base)  # what is refused below is refused for the press
    for layer in ({}, {"layer": 0}):
        try:
            build_model(REGISTRY, model, {**base, "press": name, **amount, **layer})
        except MarathonError:
            continue
        return True
    return False


@pytest.mark.parametrize("model", REGISTRY.names("model"))
def test_a_press_is_listed_if_and_only_if_a_run_accepts_it(model: str) -> None:
    assert listed(model) == {press for press in PRESSES if accepted(model, press)}


def test_a_layer_that_is_needed_is_named() -> None:
    for model in ("gemma3n", "nemotron_h_omni"):
        text = "\n".join(details("model", model, REGISTRY, 300))
        assert "\npresses   pruning with layer=0: dart, " in text
        assert "eviction:" not in text
    assert "with layer=0" not in "\n".join(details("model", "qwen_omni", REGISTRY, 300))


def test_a_press_of_ones_own_that_works_elsewhere_alone_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "presses").mkdir()
    for name, layer in (("early", 0), ("late", 3)):
        (tmp_path / "presses" / f"{name}.py").write_text(
            "from dataclasses import dataclass\n"
            "from marathon_eval.api.press import PruningPress\n\n"
            "@dataclass(frozen=True)\nclass Mine(PruningPress):\n"
            f'    """Keeps the first tokens."""\n\n    only_layer = {layer}\n    layer: int = {layer}\n\n'
            "    def select(self, view):\n        return view.audio[: view.keep]\n"
        )
    registry = Registry([str(tmp_path)])
    assert {"early", "late"} <= listed("qwen_omni", registry)
    assert {"early", "late"} & listed("gemma4", registry) == {"early"}
    with pytest.raises(MarathonError, match="gemma4 does not support press=late: .* works at layer 3 alone"):
        build_model(registry, "gemma4", {"press": "late", "ratio": 0.5})
