"""`transcript`: what was said, without the chat around it. Only the two ends are touched, never the middle."""

from __future__ import annotations

import re
from collections.abc import Sequence

from marathon_eval.api.filter import FilterContext, FilterStep, Held

_THOUGHT = re.compile(r"\A\s*<(think|thinking)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TOKENS = r"(?:<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|end_of_turn)>)"
_AT_ENDS = re.compile(rf"\A(?:\s*{_TOKENS})+|(?:{_TOKENS}\s*)+\Z")
_ROLE = re.compile(r"\A\s*assistant\s*\n", re.IGNORECASE)
#: With a colon only: a speech may well begin with the word "content".
_LABEL = re.compile(
    r"\A\s*(?:(?:sure|certainly|okay|ok)[,.!]?\s+)?(?:here(?:'s| is) (?:the|a|your) )?"
    r"\**(?:spoken (?:content|text)|transcription|transcript|transcribed text)(?: of (?:the|this) (?:audio|recording|speech))?"
    r"\**(?: is)?\s*:\**",
    re.IGNORECASE,
)
_PAIRS = {
    '"': '"',
    "'": "'",
    "<": ">",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u00ab": "\u00bb",
    "[": "]",
    "`": "`",
}


def transcript() -> FilterStep:
    """The text without label, quotes, brackets and chat tokens around the whole; rule `verbatim` or `unwrapped`."""

    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        return [_read(one) if one.found else one for one in held]

    return step


def _read(held: Held) -> Held:
    text = unwrap(held.text)
    if not text:
        return Held("", "empty", False)
    return Held(text, "verbatim" if text == held.text.strip() else "unwrapped")


def unwrap(text: str) -> str:
    """Peel what stands around the whole text until nothing is left to peel."""
    text = _THOUGHT.sub("", text)
    while True:
        peeled = _LABEL.sub("", _ROLE.sub("", _AT_ENDS.sub("", text))).strip()
        if len(peeled) > 1 and _PAIRS.get(peeled[0]) == peeled[-1] and _wraps(peeled):
            peeled = peeled[1:-1].strip()
        if peeled == text:
            return peeled
        text = peeled


def _wraps(text: str) -> bool:
    """Whether the first and the last character are one pair: in `"Yes," he said, "no"` they are two."""
    inner, opening, closing = text[1:-1], text[0], text[-1]
    if opening == "'":
        return not re.search(r"(?<!\w)'|'(?!\w)", inner)
    return opening not in inner and closing not in inner
