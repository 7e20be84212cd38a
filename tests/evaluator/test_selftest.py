"""Tests that a self-test passes on whole models, and that each planted fault makes the line fail that should see it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import tiny_chat_models
from helpers.api_server import FakeServer
from helpers.scripted_completions import completion, replying
from helpers.tiny_model_cases import MODELS, built, press_of
from marathon_eval.api.model import Model
from marathon_eval.backends.hf.chat import ChatModel
from marathon_eval.cli.main import main
from marathon_eval.evaluator.selftest import local
from marathon_eval.evaluator.selftest.selftest import selftest
from marathon_eval.evaluator.selftest.subject import LocalSelfTest
from marathon_eval.models.audio_flamingo import AudioFlamingo
from marathon_eval.models.openai_audio import OpenAIAudio
from marathon_eval.models.qwen2_audio import Qwen2Audio

Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return each tiny checkpoint, written once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tiny_chat_models.BUILDERS[name](tmp_path_factory.mktemp(name) / name)
        return made[name]

    return make


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the clips that take seconds on a CPU."""
    monkeypatch.setattr(local, "HEARD_LENGTHS", (30.0, 95.0))
    monkeypatch.setattr(LocalSelfTest, "long_clips_until", 0.0)


def lines(model: Model, tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Return verdict and words by check."""
    result = selftest(model, tmp_path)
    return {line.name: (line.verdict, line.said) for line in result.lines}


def failing(found: dict[str, tuple[str, str]]) -> set[str]:
    return {name for name, (verdict, _) in found.items() if verdict == "fail"}


# -- whole models --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("press", ["dart", "snapkv"])
def test_a_whole_model_passes(press: str, published: Make, tmp_path: Path) -> None:
    case = MODELS["qwen2_audio"]
    found = lines(built(case, published("qwen2_audio"), press_of(press, case)), tmp_path)
    assert failing(found) == set(), found
    passed = {name for name, (verdict, _) in found.items() if verdict == "pass"}
    assert passed >= {
        "architecture",
        "hears 30 s",
        "hears 95 s",
        "answers without a press",
        "finite logits",
        "own loop = generate",
        "batch of 4 = batches of 1",
        "kernel eager",
        f"{press}: kept tokens",
        f"{press}: ratio 0 = no press",
        f"{press}: answer = masked pass",
        "prefill and decode",
        "memory",
    }
    assert "in bfloat16 or float16 only" in found["kernel flash_attention_2"][1]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "press"),
    [
        (name, press)
        for name, case in MODELS.items()
        for press in (None, "dart", "snapkv", "pool")
        # the others need layers that can be cut or keys that can be evicted, and are refused
        if not case.at_input or press in (None, "dart")
    ],
)
def test_every_model_passes(name: str, press: str | None, published: Make, tmp_path: Path) -> None:
    case = MODELS[name]
    rule = None if press is None else press_of(press, case)
    found = lines(built(case, published(name), rule), tmp_path)
    assert failing(found) == set(), {name: found[name] for name in failing(found)}


# -- planted faults ------------------------------------------------------------------------------------------------------


def faulty(base: type[ChatModel], checkpoint: Path, **methods: Any) -> ChatModel:
    """Build an adapter with a fault on a checkpoint."""
    made = type(base.__name__, (base,), {**methods, "__module__": base.__module__})
    model = made.from_args({"pretrained": str(checkpoint), "device": "cpu"})
    assert isinstance(model, ChatModel)
    return model


@pytest.mark.usefixtures("short")
def test_audio_that_is_cut_at_30_s_is_seen(published: Make, tmp_path: Path) -> None:
    def split(self: Any, wave: Any) -> Any:
        yield wave[: 30 * 16000]

    def prepare(self: Any, loaded: Any, requests: Any, waves: Any) -> Any:
        inputs = Qwen2Audio.prepare(self, loaded, requests, waves)
        # the fault also claims to have heard everything
        inputs.heard_seconds[:] = [sum(len(wave) for wave in sample) / 16000 for sample in waves]
        return inputs

    model = faulty(Qwen2Audio, published("qwen2_audio"), split=split, prepare=prepare, token_rate=None)
    found = lines(model, tmp_path)
    assert found["hears 30 s"][0] == "pass"
    assert found["hears 95 s"][0] == "fail"
    assert "audio is cut" in found["hears 95 s"][1]


@pytest.mark.usefixtures("short")
def test_a_mask_that_is_ignored_is_seen(published: Make, tmp_path: Path) -> None:
    def prepare(self: Any, loaded: Any, requests: Any, waves: Any) -> Any:
        inputs = Qwen2Audio.prepare(self, loaded, requests, waves)
        inputs.tensors["attention_mask"].fill_(1)
        return inputs

    found = lines(faulty(Qwen2Audio, published("qwen2_audio"), prepare=prepare), tmp_path)
    assert failing(found) == {"batch of 4 = batches of 1"}


@pytest.mark.usefixtures("short")
def test_a_second_bos_is_seen(published: Make, tmp_path: Path) -> None:
    base = type(built(MODELS["gemma4"], published("gemma4")))

    def ids(self: Any, loaded: Any, *args: Any) -> Any:
        made = base.ids(self, loaded, *args)
        bos = torch.full((len(made["input_ids"]), 1), loaded.tokenizer.bos_token_id)
        return {
            "input_ids": torch.cat([bos, made["input_ids"]], dim=1),
            "attention_mask": torch.cat([torch.ones_like(bos), made["attention_mask"]], dim=1),
        }

    found = lines(faulty(base, published("gemma4"), ids=ids), tmp_path)
    assert "start of the prompt" in failing(found)
    assert "begins with 2 BOS tokens" in found["start of the prompt"][1]


@pytest.mark.usefixtures("short")
def test_features_that_are_not_cast_are_seen(published: Make, tmp_path: Path) -> None:
    def hear(self: Any, loaded: Any, clips: Sequence[Any]) -> Any:
        heard = AudioFlamingo.hear(self, loaded, clips)
        heard.tensors["input_features"] = heard.tensors["input_features"].float()
        return heard

    model = faulty(AudioFlamingo, published("audio_flamingo"), hear=hear)
    model.settings = model.settings.model_copy(update={"dtype": "bfloat16"})
    found = lines(model, tmp_path)
    assert failing(found) == {"answers without a press"}
    assert "Float" in found["answers without a press"][1]


@pytest.mark.usefixtures("short")
def test_an_adapter_that_is_missing_in_the_model_is_seen(
    published: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = MODELS["phi4_mm"]
    model = built(case, published("phi4_mm"))
    monkeypatch.setattr(type(model), "after_load", lambda self, model, folder: None)
    found = lines(model, tmp_path)
    assert "adapter (LoRA)" in failing(found)
    assert "the base model answers" in found["adapter (LoRA)"][1]


@pytest.mark.usefixtures("short")
def test_another_kind_of_checkpoint_is_seen(published: Make, tmp_path: Path) -> None:
    checkpoint = tmp_path / "other"
    shutil.copytree(published("audio_flamingo"), checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    model = faulty(
        AudioFlamingo, checkpoint, kind="audio", weights_class="AudioFlamingo3ForConditionalGeneration"
    )
    (checkpoint / "config.json").write_text(json.dumps(config))
    loaded_as = local.inputs.read_json

    def read(file: Path) -> Any:
        return {**loaded_as(file), "model_type": "musicflamingo"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.inputs, "read_json", read)
        found = lines(model, tmp_path)
    assert "architecture" in failing(found)
    assert "another kind of checkpoint" in found["architecture"][1]


# -- servers -------------------------------------------------------------------------------------------------------------


def server(url: str, **args: Any) -> Model:
    return OpenAIAudio.from_args({"model": "m", "base_url": url, "retries": 0, **args})


def test_a_server_that_hears_everything_passes(tmp_path: Path) -> None:
    with FakeServer() as fake:
        found = lines(server(f"{fake.url}/v1"), tmp_path)
    assert failing(found) == set(), found
    assert found["hears 300 s"][0] == "pass"


def test_a_server_that_cuts_audio_fails(tmp_path: Path) -> None:
    with FakeServer(hears=30.0) as fake:
        found = lines(server(f"{fake.url}/v1"), tmp_path)
    assert failing(found) == {"hears 95 s", "hears 300 s"}


def test_a_server_without_token_counts_is_not_judged(tmp_path: Path) -> None:
    with FakeServer(usage=False) as fake:
        found = lines(server(f"{fake.url}/v1"), tmp_path)
    assert failing(found) == set()
    assert found["hears 300 s"] == ("not applicable", "answered, but the server reports no token counts")


def test_a_server_that_thinks_until_it_is_cut_fails(tmp_path: Path) -> None:
    body = completion({"content": None, "reasoning": "Let me think"}, "length")
    with replying(body) as (url, _):
        found = lines(server(url, stream=False, audio_tokens_per_second=1e-3), tmp_path)
    assert "thinking_tokens=" in found["thinking that is cut"][1]
    assert "thinking that is cut" in failing(found)


def test_end_tokens_in_a_text_are_seen(tmp_path: Path) -> None:
    with FakeServer(answer="A<|im_end|>") as fake:
        found = lines(server(f"{fake.url}/v1"), tmp_path)
    assert found["stop tokens"] == ("fail", "the text contains <|im_end|>: the server does not stop at it")


# -- the verb ------------------------------------------------------------------------------------------------------------


def test_the_verb_prints_a_table_writes_json_and_exits_with_3_for_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "selftest.json"
    with FakeServer(hears=30.0) as fake:
        args = f"model=m,base_url={fake.url}/v1,retries=0"
        code = main(["selftest", "--model", "openai_audio", "--model_args", args, "--output", str(file)])
    assert code == 3
    assert "hears 95 s" in capsys.readouterr().out
    written = json.loads(file.read_text())
    verdicts = {line["check"]: line["verdict"] for line in written["lines"]}
    assert (verdicts["hears 30 s"], verdicts["hears 300 s"]) == ("pass", "fail")
    assert written["fingerprint"]["model"] == "m"


def test_other_models_have_one_line_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--model", "dummy"]) == 0
    assert "neither a local transformers model nor a server's" in capsys.readouterr().out
