"""Checks that an error about the judge names the judge's flags, and an error about the model names the model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marathon_eval.api.model import JUDGE_FLAGS, MODEL_FLAGS, ModelFlags
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import parse_args
from marathon_eval.evaluator.evaluator import build_model

WRONG = {
    "{model}: no model 'nonsense'": ("nonsense", {}),
    "{model} openai_audio takes no press": ("openai_audio", {"press": "dart", "ratio": 0.5, "model": "m"}),
    "{args}: dummy takes no 'anser'. Did you mean answer?": ("dummy", {"anser": "B"}),
    "{args}: openai_audio takes no 'api_key'": ("openai_audio", {"api_key": "k", "model": "m"}),
    "{args}: dummy does not support press=dart": ("dummy", {"press": "dart", "ratio": 0.5}),
    "{args}: press=dart needs ratio=": ("qwen_omni", {"press": "dart"}),
    "{args}: ratio=0.5 without press=NAME": ("qwen_omni", {"ratio": 0.5}),
    "listener=dummy: {args}: dummy takes no 'x'": ("cascade", {"listener": "dummy", "listener_x": 1}),
}


@pytest.mark.parametrize("flags", [MODEL_FLAGS, JUDGE_FLAGS])
@pytest.mark.parametrize("text", WRONG)
def test_errors_while_building_name_the_flag(text: str, flags: ModelFlags) -> None:
    name, args = WRONG[text]
    with pytest.raises(MarathonError) as error:
        build_model(Registry(), name, args, flags)
    assert str(error.value).startswith(text.format(model=flags.model, args=flags.args))


@pytest.mark.parametrize(
    ("args", "expected"), [({}, "holds no checkpoint"), ({"revision": "x"}, "revision=x")]
)
def test_checks_of_weights_name_the_flag(args: dict[str, Any], expected: str, tmp_path: Path) -> None:
    model = build_model(Registry(), "text_lm", {"pretrained": str(tmp_path), **args}, JUDGE_FLAGS)
    with pytest.raises(MarathonError, match=f"^--judge_args: .*{expected}"):
        model.check()
    assert "flags" not in model.settings.model_dump()


@pytest.mark.parametrize("text", ["4", "007", "1.50", "1e3", "true", "four"])
def test_an_argument_declared_as_text_is_what_was_typed(text: str) -> None:
    args = parse_args(f"model={text},concurrency=04,base_url=http://127.0.0.1:9/v1", "--model_args")
    settings = build_model(Registry(), "openai_audio", args).settings.model_dump()
    assert (settings["model"], settings["concurrency"]) == (text, 4)


def test_a_number_is_still_no_text() -> None:
    with pytest.raises(MarathonError, match="concurrency"):
        build_model(Registry(), "openai_audio", parse_args("model=m,concurrency=four", "--model_args"))
