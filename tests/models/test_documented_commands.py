"""Tests that every command of docs/gpus.md names a model, arguments and a press that exist; nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marathon_eval.api.registry import Registry
from marathon_eval.evaluator.config import parse_args
from marathon_eval.evaluator.evaluator import build_model

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gpus.md"
COMMANDS = re.findall(
    r"^- .*`marathon-eval --model (\S+) --model_args (\S+) .*--tasks (\S+)`$",
    DOCUMENT.read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize(("model", "args", "task"), COMMANDS)
def test_a_documented_command_can_be_built(model: str, args: str, task: str) -> None:
    registry = Registry()
    build_model(registry, model, parse_args(args, "--model_args"))
    assert task in registry.names("task")


def test_all_families_have_commands() -> None:
    assert DOCUMENT.read_text(encoding="utf-8").count("`marathon-eval --model ") == len(COMMANDS)
    families = {
        "qwen_omni",
        "qwen3_omni",
        "qwen2_audio",
        "aero1",
        "audio_flamingo",
        "voxtral",
        "voxtral_realtime",
        "gemma4",
        "gemma4_unified",
        "phi4_mm",
        "granite_speech_plus",
        "qwen3_asr",
        "glm_asr",
        "kimi_audio",
        "nemotron_h_omni",
    }
    assert families | {"granite_speech", "openai_audio"} == {model for model, _, _ in COMMANDS}
