"""Finds what some pruning presses read beside the states: a prompt's question, and when each audio token begins."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from marathon_eval.backends.hf.inputs import Inputs, PromptFacts
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from marathon_eval.api.model import Request


def with_facts(
    inputs: Inputs, requests: Sequence[Request], tokenizer: Any, audio_ids: Sequence[int]
) -> Inputs:
    """Return the inputs with the facts of each request's prompt. Raises RowError for a prompt without a question."""
    if inputs.alone:
        alone = [
            with_facts(row, [request], tokenizer, audio_ids)
            for row, request in zip(inputs.alone, requests, strict=True)
        ]
        return replace(inputs, alone=alone, facts=[facts for row in alone for facts in row.facts or []])
    ids, mask = inputs.tensors["input_ids"], inputs.tensors["attention_mask"]
    facts = []
    for row, request in enumerate(requests):
        question = question_places(ids[row][mask[row].bool()], request, tokenizer, audio_ids)
        if not len(question) and inputs.audio_tokens[row]:
            raise RowError("the press compares the audio with the question, and none stands in the prompt")
        times = None if inputs.token_times is None else torch.from_numpy(inputs.token_times[row][:, 0])
        facts.append(PromptFacts(question, times))
    return replace(inputs, facts=facts)


def question_places(ids: Tensor, request: Request, tokenizer: Any, audio_ids: Sequence[int]) -> Tensor:
    """Return the positions [Q] in a prompt `ids` [T] of the tokens that write the request's prompt, the user's last turn.

    They are found by decoding: the tokens with a character of the prompt, where it stands last; of a prompt with clips
    in it those of all its texts. Special tokens and white space at the texts' ends are left out, and so are the system
    prompt, turns before, and whatever else the chat template writes.
    """
    audio = torch.tensor([*audio_ids])
    places = (~torch.isin(ids, audio)).nonzero().squeeze(1)
    words: list[int] = ids[places].tolist()

    def decoded(count: int) -> str:
        return str(
            tokenizer.decode(words[:count], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    text, counts = decoded(len(words)), range(len(words) + 1)
    end = len(text)
    found: list[int] = []
    for part in reversed(request.parts() if request.placed else [request.prompt]):
        start, stop = _last(text[:end], part.strip())
        if start < stop:
            # a token's characters are those by which the text grows with it
            first = bisect_right(counts, start, key=lambda count: len(decoded(count))) - 1
            last = bisect_left(counts, stop, key=lambda count: len(decoded(count)))
            found += range(first, last)
            end = start
    special = special_ids(tokenizer)
    return places[[number for number in sorted(set(found)) if words[number] not in special]]


def _last(text: str, part: str) -> tuple[int, int]:
    """Return where a part stands last in the text, start and stop; equal where it is empty or does not stand there."""
    for spelling in dict.fromkeys((part, unicodedata.normalize("NFC", part))):
        start = text.rfind(spelling)
        if start >= 0:
            return start, start + len(spelling)
    return 0, 0


def special_ids(tokenizer: Any) -> set[int]:
    """Return the ids that a tokenizer calls special."""
    added = getattr(tokenizer, "added_tokens_decoder", None)
    # mistral_common's is a method
    named = added if isinstance(added, Mapping) else {}
    return {*tokenizer.all_special_ids, *(number for number, token in named.items() if token.special)}


def marked_questions(facts: Sequence[PromptFacts], valid: Tensor) -> Tensor:
    """Mark the questions' tokens in left-padded prompts [B, T]; `valid` marks all but padding."""
    marks = torch.zeros_like(valid)
    for row, each in enumerate(facts):
        marks[row, int(valid[row].int().argmax()) + each.question.to(valid.device)] = True
    return marks


def prunable_seconds(facts: Sequence[PromptFacts], audio: Tensor, prunable: Tensor) -> list[Tensor | None]:
    """Return per sample the seconds at which its prunable audio tokens begin; `audio` and `prunable` are [B, T]."""
    return [
        None if each.seconds is None else each.seconds[prunable[row][audio[row]].cpu()]
        for row, each in enumerate(facts)
    ]
