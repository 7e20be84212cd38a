"""Removes what a response copies of its prompt: the list of options, and turns that a model makes up after its answer."""

from __future__ import annotations

import re
from functools import lru_cache

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.option_text import option_texts
from marathon_eval.scoring.filters.words import plain_text

_ENTRY = lazy_pattern(
    r"\s*(?:[-\u2022>]\s+)?(?P<bold>\*\*|__)?[(\[]?(?P<letter>[A-Za-z])[.):\]]+\s*(?P<text>.+)"
)
_INLINE = lazy_pattern(r"(?<![^\W_])[(\[]?([A-Z])[.):\]]\s*")
_CHOSEN = lazy_pattern(
    r"\u2713|\u2714|\u2705|\u2611|<-+|\u2190|\[x\]|\((?:correct|right|answer|chosen)(?: answer)?\)",
    re.IGNORECASE,
)
#: Only spaces within a line, and few of them where two runs may meet: a text of newlines or spaces stays linear.
_NEXT_TURN = lazy_pattern(
    r"\n[^\S\n]*(?:#{1,4}[^\S\n]{0,3})?(?:\*\*)?"
    r"(?:Question|Q|Human|User|Instruction|Next question|Example|Problem)[^\S\n]{0,3}\d{0,4}(?:\*\*)?[^\S\n]{0,3}:"
    r"|\n#{1,4}[^\S\n]{1,3}(?:Question|Instruction|Example|Problem)[^\S\n]{0,3}\d{0,4}[^\S\n]{0,3}\n"
    r"|\n[^\S\n]*(?:user|human)[^\S\n]*\n|\n-{3,}[^\S\n]*\n|<\|im_start\|>\s*user|<start_of_turn>\s*user|\[INST\]",
    re.IGNORECASE,
)
_END = lazy_pattern(
    r"<\|(?:endoftext|im_end|eot_id|end_of_text|end|eom_id|return|eos|end_of_turn|END_OF_TURN_TOKEN|user|start_header_id)\|>|</s>|<(?:eos|end_of_turn|turn\|)>"
)


def before_end(text: str) -> str:
    """Return a text up to its end token; text after it belongs to a turn that the model made up."""
    if "<" not in text:
        return text
    match = _END.search(text)
    return text[: match.start()] if match and text[: match.start()].strip(" \n<s>") else text


def first_turn(text: str) -> str | None:
    """Return a text before a next question that the model made up; None where there is none."""
    if "\n" not in text and "<" not in text and "[" not in text:
        return None
    match = _NEXT_TURN.search(text)
    return text[: match.start()] if match and text[: match.start()].strip() else None


def without_copy(text: str, choices: tuple[str, ...]) -> tuple[str, int | None]:
    """Return a text without a copied list of all options, and the place of the one entry marked as the answer.

    The text comes back whole where it holds no such list.
    """
    if len(choices) < 2:
        return text, None
    if text.count("\n") >= len(choices) - 1:
        rest, chosen = _lines_removed(text, choices)
        if rest is not text:
            return rest, chosen
    if choices[0] and choices[-1] and choices[0] in text and choices[-1] in text:
        inline = _inline_list(choices).search(text)
        if inline:
            return text[: inline.start()] + "\n" + text[inline.end() :], None
    return text, None


@lru_cache(maxsize=256)
def _inline_list(choices: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for all options with letters, in order, in one line: "(A) Dog (B) Cat"."""
    entries = (
        rf"[(\[]?{chr(ord('A') + place)}[.):\]]+\s*{re.escape(choice)}"
        for place, choice in enumerate(choices)
    )
    return re.compile(r"[ \t,;|.]*".join(entries))


def _lines_removed(text: str, choices: tuple[str, ...]) -> tuple[str, int | None]:
    whole = option_texts(choices).whole
    lines = text.split("\n")
    at: list[tuple[int, int, bool]] = []  # line, option, whether it is marked
    for number, line in enumerate(lines):
        entry = _ENTRY.fullmatch(line)
        content = _CHOSEN.sub("", entry["text"] if entry else line)
        place = whole.get(plain_text(content))
        if place is not None and not (at and at[-1][1] == place):
            marked = bool(_CHOSEN.search(line)) or line.strip().startswith(("**", "__", "- **", "* **", "> "))
            at.append((number, place, marked))
            if len({option for _, option, _ in at}) == len(choices):
                break
        elif line.strip() and at:
            at = []
    distinct = len(set(option_texts(choices).first))
    if len({option for _, option, _ in at}) < distinct or distinct < 2:
        return text, None
    marked_options = [option for _, option, marked in at if marked]
    rest = "\n".join([*lines[: at[0][0]], *lines[at[-1][0] + 1 :]])
    chosen = marked_options[0] if len(marked_options) == 1 else None
    return rest, chosen


def emphasised(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the option that is the only bold one in a text that also names all options plainly; else None."""
    if "**" not in text:
        return None
    bold = re.findall(r"\*\*(.+?)\*\*", text, re.DOTALL)
    whole = option_texts(choices).whole
    named = {whole.get(plain_text(_INLINE.sub("", part))) for part in bold}
    named.discard(None)
    plain = plain_text(re.sub(r"\*\*.+?\*\*", " ", text, flags=re.DOTALL))
    listed = sum(f" {plain_text(choice)} " in f" {plain} " for choice in choices)
    return named.pop() if len(named) == 1 and listed == len(choices) else None
