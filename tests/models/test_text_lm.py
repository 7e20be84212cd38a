"""Tests local text models: greedy and sampled responses, chat template, and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from helpers import make_air_bench_mmar_data
from helpers.tiny_text_model import make_text_lm
from marathon_eval import simple_evaluate
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Model, Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import RunResult
from marathon_eval.errors import MarathonError
from marathon_eval.models.text_lm import TextLM
from marathon_eval.scoring.reasoning import parted


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_text_lm(tmp_path_factory.mktemp("text_lm"))


def built(folder: Path, **arguments: object) -> Model:
    return (
        Registry().model_class("text_lm").from_args({"pretrained": str(folder), "device": "cpu", **arguments})
    )


def answers(model: Model, *requests: Request) -> list[Response]:
    found = dict(complete(model, requests))
    return [found[request] for request in requests]


def test_greedy_answers_repeat_and_follow_the_prompt(checkpoint: Path) -> None:
    model = built(checkpoint)
    asked = [Request(text, generation=Generation(max_new_tokens=8)) for text in ("one", "two")]
    first, second = answers(model, *asked)
    assert first.status == second.status == "ok"
    assert first.text != second.text
    assert first.usage.output_tokens == 8
    assert first.finish_reason == "length"
    assert answers(built(checkpoint), asked[1]) == [second]


def test_sampled_answers_depend_on_their_seed_alone(checkpoint: Path) -> None:
    def sampled(seed: int) -> Request:
        return Request("one", generation=Generation(max_new_tokens=8, temperature=1.0, seed=seed))

    model = built(checkpoint)
    one, two = answers(model, sampled(1), sampled(2))
    assert one.text != two.text
    assert answers(model, sampled(2), sampled(1)) == [two, one]


def test_the_generation_settings_of_a_checkpoint_do_not_change_greedy_answers(
    checkpoint: Path, tmp_path: Path
) -> None:
    request = Request("one", generation=Generation(max_new_tokens=24))
    (expected,) = answers(built(checkpoint), request)
    folder = Path(shutil.copytree(checkpoint, tmp_path / "released"))
    file = folder / "generation_config.json"
    released = {"do_sample": True, "top_k": 20, "repetition_penalty": 5.0, "no_repeat_ngram_size": 2}
    file.write_text(json.dumps({**json.loads(file.read_text()), **released}))
    assert answers(built(folder), request)[0].text == expected.text


@pytest.mark.parametrize("change", ["renamed", "reshaped"])
def test_a_checkpoint_that_lacks_weights_is_refused(change: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "lacking"))
    file = folder / "model.safetensors"
    tensors = load_file(file)
    changed = tensors.pop("model.layers.1.mlp.up_proj.weight")
    if change == "reshaped":
        tensors["model.layers.1.mlp.up_proj.weight"] = changed[:8].contiguous()
    else:
        tensors["model.layers.1.mlp.w1.weight"] = changed
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(MarathonError, match=r"model.layers.1.mlp.up_proj.weight"):
        answers(built(folder), Request("one", generation=Generation(max_new_tokens=2)))


def test_the_date_in_a_template_is_the_same_on_every_day(checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "dated"))
    template = "{{ strftime_now('%d %b %Y') }}" + chat_template_of(folder)
    (folder / "chat_template.jinja").write_text(template)
    model = built(folder)
    request = Request("one", generation=Generation(max_new_tokens=2))
    answers(model, request)
    assert isinstance(model, TextLM)
    assert model._chat(request).startswith("01 Jan 2025<user>one")


def chat_template_of(folder: Path) -> str:
    return (folder / "chat_template.jinja").read_text()


def test_the_checkpoints_template_and_its_arguments_are_used(checkpoint: Path) -> None:
    request = Request("hello", system="be brief", generation=Generation(max_new_tokens=2))
    plain, loud = (built(checkpoint, chat_args={"loud": loud}) for loud in (False, True))
    lengths = [answers(model, request)[0].usage.input_tokens for model in (plain, loud)]
    assert lengths[0] == len("<system>be brief\n<user>hello\n<assistant>")
    assert lengths[1] == len("<system>be brief\n<user>hello\n<assistant>") + 1
    assert plain.fingerprint != loud.fingerprint


def test_stop_strings_end_an_answer(checkpoint: Path) -> None:
    model = built(checkpoint)
    whole = answers(model, Request("one", generation=Generation(max_new_tokens=8)))[0].text
    stop = whole[3]
    cut = answers(model, Request("one", generation=Generation(max_new_tokens=8, stop=(stop,))))[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_the_tokens_around_a_thought_stay_although_they_are_special(tmp_path: Path) -> None:
    folder = make_text_lm(tmp_path, says="I hear.[/THINK]B", special=("[THINK]", "[/THINK]"))
    response = answers(built(folder), Request("What?", generation=Generation(max_new_tokens=20)))[0]
    assert response.text == "I hear.[/THINK]B"
    assert (response.finish_reason, parted(response.text).answer) == ("stop", "B")


def test_audio_and_overlong_prompts_are_error_rows(checkpoint: Path) -> None:
    heard, long = answers(built(checkpoint), Request("x", (Audio("a.wav"),)), Request("x" * 3000))
    assert "reads text and hears nothing" in str(heard.error)
    assert "the model has 2048" in str(long.error)


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match="holds no checkpoint"):
        list(built(tmp_path).generate([Request("x")]))


def test_a_local_model_that_was_taught_to_judge(tmp_path: Path) -> None:
    make_air_bench_mmar_data.chat(tmp_path, rows=1)
    taught = make_text_lm(tmp_path / "judge", says="6 8")

    def run() -> RunResult:
        return simple_evaluate(
            "dummy",
            ["air_bench_chat_sound"],
            data_dir=str(tmp_path),
            use_cache=str(tmp_path / "cache"),
            judge_model="text_lm",
            judge_args={"pretrained": str(taught), "device": "cpu"},
        )

    first, second = run(), run()
    strict = first.tasks["air_bench_chat_sound"].readings["strict"]
    assert strict["judge_score[judge]"].value == 7.0
    assert strict["position_bias[judge]"].value == 2.0
    facts = [one.manifests["air_bench_chat_sound"]["judge"] for one in (first, second)]
    assert [(one["n_calls"], one["n_cached"]) for one in facts] == [(4, 0), (4, 4)]


def test_a_local_model_judges_and_its_noise_is_never_scored(checkpoint: Path, tmp_path: Path) -> None:
    make_air_bench_mmar_data.chat(tmp_path, rows=1)
    result = simple_evaluate(
        "dummy",
        ["air_bench_chat_sound"],
        data_dir=str(tmp_path),
        use_cache=str(tmp_path / "cache"),
        judge_model="text_lm",
        judge_args={"pretrained": str(checkpoint), "device": "cpu"},
        judge_gen_kwargs={"max_gen_toks": 4},
        limit=1,
    )
    facts = result.manifests["air_bench_chat_sound"]["judge"]
    assert (facts["n_calls"], facts["n_retries"], facts["n_unparsed"], facts["n_failed"]) == (8, 6, 2, 0)
    found = result.tasks["air_bench_chat_sound"].readings["paper"]
    assert found[f"judge_score[{facts['name']}]"].value is None
    assert facts["name"] == checkpoint.name
