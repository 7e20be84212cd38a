"""Implements `transcript`, which removes a model's thoughts and the chat around a transcript.

Apart from thoughts (reasoning.py), only the two ends of the text are changed, never the middle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.scoring.reasoning import without_thoughts

_TOKENS = r"(?:<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|end_of_turn)>)"
_AT_ENDS = re.compile(rf"\A(?:\s*{_TOKENS})+|(?:{_TOKENS}\s*)+\Z")
_ROLE = re.compile(r"\A\s*assistant\s*\n", re.IGNORECASE)
#: A label needs its colon, because speech may begin with the word "content".
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
    """Return a filter that removes thoughts, and label, quotes, brackets and chat tokens around the whole text.

    The rule is `verbatim` where the text stays as it was, else `unwrapped`; `empty` where nothing is left.
    """

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        return [_read(repeat) if repeat.found else repeat for repeat in repeats]

    return step


def _read(repeat: Held) -> Held:
    text = unwrap(repeat.text)
    if not text:
        return Held("", "empty", False)
    return Held(text, "verbatim" if text == repeat.text.strip() else "unwrapped")


def unwrap(text: str) -> str:
    """Remove thoughts, then peel what stands around the whole text until nothing is left to peel.

    Returns "" where the last thought is never closed.
    """
    text = without_thoughts(text)
    while True:
        peeled = _LABEL.sub("", _ROLE.sub("", _AT_ENDS.sub("", text))).strip()
        if len(peeled) > 1 and _PAIRS.get(peeled[0]) == peeled[-1] and _wraps(peeled):
            peeled = peeled[1:-1].strip()
        if peeled == text:
            return peeled
        text = peeled


def _wraps(text: str) -> bool:
    """Whether the first and the last character are one pair; in `"Yes," he said, "no"` they belong to two."""
    inner, opening, closing = text[1:-1], text[0], text[-1]
    if opening == "'":
        return not re.search(r"(?<!\w)'|'(?!\w)", inner)
    return opening not in inner and closing not in inner
