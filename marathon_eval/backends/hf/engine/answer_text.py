"""Reads an answer's text from its tokens, without the thought that some models write before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class AnswerText(NamedTuple):
    """Holds an answer's text, and the number of tokens of the thought before it; None for a model that does not think."""

    text: str
    thinking: int | None = None
    begun: bool = True
    """False for an answer that has not begun, because the thought has not ended."""

    def record(self) -> dict[str, int]:
        """Return the usage entry that counts the thought's tokens; empty for a model that does not think."""
        return {} if self.thinking is None else {"thinking_tokens": self.thinking}


def answer_text(tokenizer: Any, tokens: Sequence[int], begins: str | None) -> AnswerText:
    """Decode an answer without special tokens; with `begins`, only what stands after the first token of that name."""
    thinking = None
    if begins is not None:
        mark = tokenizer.convert_tokens_to_ids(begins)
        if mark not in tokens:
            return AnswerText("", len(tokens), begun=False)
        thinking = list(tokens).index(mark) + 1
    return AnswerText(tokenizer.decode(tokens[thinking or 0 :], skip_special_tokens=True), thinking)


def cut_in_thought(tokens: int) -> str:
    """Return the error of a row whose tokens were all spent before its answer began."""
    return (
        f"no answer: all {tokens} tokens went into thinking; allow more (thinking_tokens=... in the model's arguments, or "
        "--gen_kwargs max_new_tokens=...) or turn thinking off"
    )
