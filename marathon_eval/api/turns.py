"""Divides the clips of a request among the turns of its dialogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from marathon_eval.api.request import CLIP_MARK, Request, Turn
from marathon_eval.errors import RowError

Clip = TypeVar("Clip")


class TurnParts(NamedTuple):
    """Holds a turn's role and its contents in order: texts as `str`, clips as whatever stands for them."""

    role: str
    content: list[object]


def turns_with_clips(
    request: Request, clips: Sequence[Clip], pieces: Sequence[int] | None = None
) -> Iterator[TurnParts]:
    """Yield the request's turns, the prompt last, with each clip where its turn places it.

    `pieces` counts the entries of `clips` that make up each clip of the request, 1 by default. Raises RowError if the turns
    have places for more or fewer clips.
    """
    counts = list(pieces or [1] * len(clips))
    turns = (*request.earlier, Turn("user", request.prompt))
    marks = sum(turn.text.count(CLIP_MARK) for turn in turns if turn.role == "user") if request.placed else 0
    if marks != len(counts):
        raise RowError(f"the turns have places for {marks} clips, and there are {len(counts)}")
    waiting, sizes = iter(clips), iter(counts)
    for role, text in turns:
        if role != "user":
            yield TurnParts(role, [text])
            continue
        texts = text.split(CLIP_MARK) if request.placed else [text]
        content: list[object] = [texts[0]]
        for after in texts[1:]:
            content += [next(waiting) for _ in range(next(sizes))]
            content.append(after)
        yield TurnParts(role, [part for part in content if not isinstance(part, str) or part.strip()])
