"""Turns questions into token ids, and into batches with audio vectors in the places of the audio tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nano.clips import GROUPS, KINDS
from nano.questions import LABELS, Asked, Asker, option

Random = np.random.Generator

#: The furthest that a text token may stand from the beginning: 150 s of audio and the prompt.
FURTHEST = 3750
NOT_ASKED = -100


class Question(NamedTuple):
    """Holds ids before and after the audio, where in `after` each option ends (`ends`), and each option's class."""

    before: list[int]
    after: list[int]
    first: int
    ends: list[int]
    options: tuple[int, ...]
    right: int
    answer: int


class Batch(NamedTuple):
    """Holds a right-padded batch; `ends` [B, 4] is -1 if a question has no options to point at."""

    ids: Tensor
    positions: Tensor
    is_audio: Tensor
    after_audio: Tensor
    answer_at: Tensor
    answers: Tensor
    ends: Tensor
    right: Tensor


class Questions:
    """Holds rendered and tokenised questions for every class."""

    def __init__(self, tokenizer: Any, system: str, random: Random, each: int) -> None:
        self.tokenizer, self.system = tokenizer, system
        asker = Asker()
        self.stock: dict[tuple[str, str], list[Question]] = defaultdict(list)
        self.audio = int(tokenizer.convert_tokens_to_ids("<|AUDIO|>"))
        self.ends_turn = int(tokenizer.convert_tokens_to_ids("<|im_end|>"))
        self.pad = int(tokenizer.pad_token_id)
        for kind in KINDS:
            for label in LABELS[kind]:
                for _ in range(each):
                    self.stock[kind, label].append(self._tokenised(asker.ask(random, kind, label), kind))

    def draw(self, random: Random, kind: str, label: str) -> Question:
        stock = self.stock[kind, label]
        return stock[int(random.integers(len(stock)))]

    def _tokenised(self, asked: Asked, kind: str) -> Question:
        text = chat(asked, self.system)
        told = self.tokenizer(text, return_offsets_mapping=True)
        ids, offsets = list(told["input_ids"]), told["offset_mapping"]
        middle = ids.index(self.audio)
        ends, first = [], 0
        if kind != "spoken":
            at = text.index("<|AUDIO|>")
            for label in asked.options:
                at = text.index(option(kind, label), at)
                first = first or _token(offsets, at) - 2 - middle - 1
                at += len(option(kind, label))
                ends.append(_token(offsets, at - 1) - middle - 1)
        group = {"acted": "mood", "spoken": "gender"}.get(kind, kind)
        options = tuple(GROUPS[group].index(label) for label in asked.options)
        answer = int(self.tokenizer.convert_tokens_to_ids(asked.letter))
        return Question(ids[:middle], ids[middle + 1 :], first, ends, options, asked.right, answer)


def chat(asked: Asked, system: str) -> str:
    """Return the chat as the adapter writes it, with one audio token."""
    told = asked.request.system if asked.request.system is not None else system
    return (
        f"<|im_start|>system\n{told}<|im_end|>\n<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>"
        f"{asked.request.prompt}<|im_end|>\n<|im_start|>assistant\n"
    )


def _token(offsets: Sequence[tuple[int, int]], character: int) -> int:
    return next(i for i, (first, last) in enumerate(offsets) if first <= character < last)


def bare(question: Question) -> Question:
    """Return only the options, which the model learns first."""
    if not question.ends:
        return question._replace(before=question.before[-1:])
    cut, last = question.first - 1, question.ends[-1] + 1
    after = [question.after[0], *question.after[question.first : last], *question.after[-5:]]
    return question._replace(
        before=question.before[-1:], after=after, first=1, ends=[end - cut for end in question.ends]
    )


def batch(questions: Questions, random: Random, asked: Sequence[Question], counts: Sequence[int]) -> Batch:
    """Build a batch with the audio tokens of each question; half of the rows spread them over a long range."""
    rows = []
    for question, count in zip(asked, counts, strict=True):
        head = question.before + [questions.audio] * count
        rows.append([*head, *question.after, question.answer])
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), questions.pad)
    positions = torch.arange(longest).repeat(len(rows), 1)
    ends = torch.full((len(rows), 4), -1)
    answer_at = torch.tensor([len(row) - 2 for row in rows])
    after = torch.zeros_like(ids, dtype=torch.bool)
    for number, (row, question, count) in enumerate(zip(rows, asked, counts, strict=True)):
        ids[number, : len(row)] = torch.tensor(row)
        start = len(question.before)
        if random.random() < 0.5 and count < FURTHEST:
            positions[number] = torch.from_numpy(_spread(random, start, count, longest))
        after[number, start + count :] = True
        ends[number, : len(question.ends)] = torch.tensor(question.ends, dtype=torch.long) + start + count
    return Batch(
        ids,
        positions,
        ids == questions.audio,
        after,
        answer_at,
        torch.tensor([question.answer for question in asked]),
        ends,
        torch.tensor([question.right for question in asked]),
    )


def _spread(random: Random, start: int, count: int, length: int) -> Any:
    """Return positions of a row whose `count` audio tokens stand for a clip of up to FURTHEST tokens."""
    far = int(np.exp(random.uniform(np.log(count + 1), np.log(FURTHEST))))
    audio = start + np.sort(random.choice(far, count, replace=False)) if count else np.zeros(0, int)
    rest = start + far + np.arange(length - start - count)
    return np.concatenate([np.arange(start), audio, rest])
