"""Tests that what Nemotron 3 Nano Omni thinks is counted and cut off its answers, on texts that the tiny model is made to write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny_model_cases import FEW, MODELS, Bench, Benches, Clips, answers, asked, built
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.errors import MarathonError

NAME = "nemotron_h_omni"


@pytest.fixture
def there(bench: Benches) -> Bench:
    return bench(NAME)


def chat(there: Bench, **args: Any) -> str:
    return there.adapter(**args).chat(there.loaded, asked(Audio("unread.wav")), 1)


@contextmanager
def saying(there: Bench, *rows: str) -> Iterator[list[int]]:
    """Let the model write these texts, whatever it hears; yields a list that grows with every token."""
    tokenizer, steps = there.loaded.tokenizer, list[int]()
    scripts = [tokenizer(row, add_special_tokens=False)["input_ids"] for row in rows]

    def say(module: Any, args: Any, logits: torch.Tensor) -> torch.Tensor:
        said = torch.zeros_like(logits)
        for row, script in enumerate(scripts):
            said[row, -1, script[min(len(steps), len(script) - 1)]] = 1
        steps.append(len(steps))
        return said

    handle = there.loaded.model.get_output_embeddings().register_forward_hook(say)
    try:
        yield steps
    finally:
        handle.remove()


def thinking(there: Bench, requests: Sequence[Request], *rows: str, tokens: int = 40, size: int = 1) -> Any:
    with saying(there, *rows) as steps:
        return answers(there.adapter(thinking_tokens=tokens, batch_size=size), requests), len(steps)


def limited(clip: Audio, tokens: int, *stop: str) -> Request:
    return Request("What is heard?", (clip,), Generation(max_new_tokens=tokens, stop=stop))


def test_the_template_is_told_to_think_or_not(there: Bench) -> None:
    assert chat(there, thinking_tokens=10).endswith("assistant\n<think>\n")
    assert chat(there).endswith("assistant\n<think></think>")


def test_the_answer_is_what_follows_the_thought(there: Bench, clip: Clips) -> None:
    (response,), steps = thinking(there, [limited(clip(1.0), 8)], "a dog, or B</think>A dog.<|im_end|>")
    assert (response.text, response.finish_reason, response.error) == ("A dog.", "stop", None)
    assert response.usage.details["thinking_tokens"] == len("a dog, or B") + 1
    assert response.usage.output_tokens == steps == len("a dog, or B") + 1 + len("A dog.") + 1


def test_thinking_has_tokens_of_its_own(there: Bench, clip: Clips) -> None:
    said = "x" * 39 + "</think>" + "y" * 9
    (response,), steps = thinking(there, [limited(clip(1.0), 5)], said)
    assert (response.text, response.finish_reason, steps) == ("yyyyy", "length", 45)


def test_a_thought_without_an_end_is_an_error_row(there: Bench, clip: Clips) -> None:
    (response,), _ = thinking(there, [limited(clip(1.0), 5)], "x" * 60)
    assert response.status == "error"
    assert str(response.error).startswith(
        "no answer: all 45 tokens went into thinking; allow more (thinking_tokens="
    )
    assert response.usage.output_tokens == 45


def test_a_model_that_ends_within_its_thought_gave_an_empty_answer(there: Bench, clip: Clips) -> None:
    (response,), _ = thinking(there, [limited(clip(1.0), 5)], "hm<|im_end|>")
    assert (response.text, response.finish_reason, response.error) == ("", "stop", None)


def test_stop_strings_end_answers_and_no_thoughts(there: Bench, clip: Clips) -> None:
    said = ("one\ntwo</think>cat\ndog" + "z" * 20, "1</think>2\n3" + "z" * 20)
    requests = [limited(clip(1.0), 30, "\n"), limited(clip(2.0), 30, "\n")]
    responses, steps = thinking(there, requests, *said, size=2)
    assert [response.text for response in responses] == ["cat", "2"]
    assert [response.finish_reason for response in responses] == ["stop", "stop"]
    assert steps == len("one\ntwo") + 1 + len("cat\n")


def test_without_thinking_the_text_is_the_answer(there: Bench, clip: Clips) -> None:
    with saying(there, "A dog.<|im_end|>"):
        (response,) = answers(there.adapter(), [limited(clip(1.0), 8)])
    assert response.text == "A dog."
    assert "thinking_tokens" not in response.usage.details


def test_requests_that_differ_in_their_stop_strings_alone_are_both_answered(
    there: Bench, clip: Clips
) -> None:
    requests = [limited(clip(1.0), 8, "a"), limited(clip(1.0), 8, "b")]
    assert len(answers(there.adapter(thinking_tokens=2), requests)) == 2


def test_thinking_counts_against_the_model_s_positions(there: Bench, clip: Clips) -> None:
    (response,) = answers(there.adapter(thinking_tokens=32764), [asked(clip(2.0))])
    assert f"with {32764 + FEW.max_new_tokens} for the answer" in str(response.error)
    assert answers(there.adapter(), [asked(clip(2.0))])[0].error is None


def test_a_template_that_can_t_be_told_to_think_is_refused(there: Bench, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(there.folder, tmp_path / "mute"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8").replace("enable_thinking", "other"), "utf-8")
    silent = Bench(there.case, folder, load(built(MODELS[NAME], folder)))
    assert chat(silent).endswith("<think>\n"), "this template lets it think in any case"
    with pytest.raises(MarathonError, match="thinking_tokens=5: .* a chat template with enable_thinking"):
        chat(silent, thinking_tokens=5)
