"""A local text model: greedy and sampled answers, its chat template, and what it refuses."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import benchmarks
import pytest

from marathon_eval import simple_evaluate
from marathon_eval.audio import Audio
from marathon_eval.errors import MarathonError
from marathon_eval.model import Generation, Model, Request, Response, complete
from marathon_eval.registry import Registry

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if loud %}!{% endif %}<assistant>"
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of a few thousand random weights, with a tokenizer of bytes."""
    # first of all: it hides a torchvision that would break the next imports
    import_module("marathon_eval.hf")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("text_lm")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: number for number, token in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=0,
    )
    model = LlamaForCausalLM(config)
    for weight in model.parameters():
        weight.data *= 4
    model.save_pretrained(folder)
    return folder


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


def test_audio_and_overlong_prompts_are_error_rows(checkpoint: Path) -> None:
    heard, long = answers(built(checkpoint), Request("x", (Audio("a.wav"),)), Request("x" * 3000))
    assert "reads text and hears nothing" in str(heard.error)
    assert "the model has 2048" in str(long.error)


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match="holds no checkpoint"):
        list(built(tmp_path).generate([Request("x")]))


def test_a_local_model_judges_and_its_noise_is_never_scored(checkpoint: Path, tmp_path: Path) -> None:
    benchmarks.chat(tmp_path, rows=1)
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
