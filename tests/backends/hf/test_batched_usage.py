"""Tests that a batch's answers count tokens as answers of their own do, and their speed by one definition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.tiny_model_cases import PRESSES, Bench, Benches, Clips, answers
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.api.press import Press, press_from_args

NEW_TOKENS = 12
#: No press, one that drops tokens, and one that evicts keys and so decodes outside `generate`.
PATHS = {"none": None, "pruning": ("random", 0.5), "eviction": ("knorm", 0.5)}
EVERY_PATH = pytest.mark.parametrize("path", PATHS)


def press_of(path: str) -> Press | None:
    named = PATHS[path]
    return None if named is None else press_from_args(PRESSES[named[0]], {"ratio": named[1]})


def requests(clip: Clips, *stop: str) -> list[Request]:
    generation = Generation(NEW_TOKENS, stop=stop)
    prompts = ["What is heard?" + " Say it." * number for number in range(4)]
    clips = zip(prompts, (2.0, 5.0, 3.3, 1.1), strict=True)
    return [Request(prompt, (clip(seconds),), generation) for prompt, seconds in clips]


def asked(there: Bench, path: str, wanted: list[Request], size: int) -> list[Response]:
    found = answers(there.adapter(press_of(path), batch_size=size, sharing=False), wanted)
    assert {(one.status, one.usage.details["batch"]) for one in found} == {("ok", size)}
    return found


@EVERY_PATH
def test_padding_after_a_stop_string_is_not_counted(path: str, bench: Benches, clip: Clips) -> None:
    """All stop at a character that stands at different places of their answers."""
    there = bench("qwen_omni")
    texts = [one.text for one in asked(there, path, requests(clip), 1)]
    signs = [sign for sign in dict.fromkeys("".join(texts)) if sign != "\N{REPLACEMENT CHARACTER}"]
    spread = {sign: {text.find(sign) for text in texts} for sign in signs}
    stop = max(signs, key=lambda sign: len(spread[sign]))
    assert len(spread[stop]) > 1
    alone = asked(there, path, requests(clip, stop), 1)
    together = asked(there, path, requests(clip, stop), 4)
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.finish_reason for one in together] == [one.finish_reason for one in alone]
    counts = [one.usage.output_tokens for one in together]
    assert counts == [one.usage.output_tokens for one in alone]
    assert len(set(counts)) > 1


@EVERY_PATH
@pytest.mark.parametrize("size", [1, 4])
def test_tokens_per_second_are_of_one_answer_in_the_batch_s_seconds(
    path: str, size: int, bench: Benches, clip: Clips
) -> None:
    for one in asked(bench("qwen_omni"), path, requests(clip), size):
        usage = one.usage
        assert usage.output_tokens is not None
        assert usage.decode_s is not None
        seconds = usage.decode_s * size
        assert usage.details["tokens_per_s"] == pytest.approx((usage.output_tokens - 1) / seconds, rel=0.01)


def test_a_stop_string_in_the_middle_of_the_longest_answer(bench: Benches, clip: Clips) -> None:
    """A stop string of several tokens counts to the last of them."""
    there = bench("qwen_omni")
    first, *others = requests(clip)
    (plain,) = asked(there, "none", [first], 1)
    tokens = there.loaded.tokenizer(plain.text, add_special_tokens=False)["input_ids"]
    middle = plain.text[1:3]
    assert len(tokens) > 3
    stopping = [replace(one, generation=Generation(NEW_TOKENS, stop=(middle,))) for one in (first, *others)]
    (alone,) = asked(there, "none", stopping[:1], 1)
    assert asked(there, "none", stopping, 4)[0].usage.output_tokens == alone.usage.output_tokens
