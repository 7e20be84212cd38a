"""Finds options in scripts without spaces between words (Chinese, Japanese, Thai) and in Korean, by their characters."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.languages import UNSPACED_BEFORE, UNSPACED_BEHIND, pattern_of
from marathon_eval.scoring.filters.words import UNSPACED

_SCRIPT = lazy_pattern(f"[{UNSPACED}]")
_BREAK = pattern_of(
    r"[.,;:!?\n\u3001\u3002]|而是|但是|但|然而|所以|因此|แต่|하지만|지만|しかし|けど|ではなく(?=.)|が(?=\s*[、,])"
)
# "\u3001" joins what one denial excludes
_CLAUSE_BEGIN = pattern_of(r"[.,;:!?\n\u3002]|而是|但是|但|然而|所以|因此|只有|只是|แต่|しかし|けど")
_CLAUSE_END = pattern_of(r"[.,;:!?\n\u3001\u3002]|而是|但|แต่")
#: Words that stand inside many others; they count only where they are all of a clause.
_COMMON = frozenset(
    [
        "是",
        "否",
        "有",
        "无",
        "無",
        "不",
        "对",
        "對",
        "错",
        "錯",
        "没有",
        "沒有",
        "是的",
        "不是",
        "都",
        "全部",
        "都不是",
        "はい",
        "いいえ",
        "ある",
        "ない",
        "네",
        "예",
        "아니요",
        "아니오",
        "있다",
        "없다",
        "ใช่",
        "ไม่ใช่",
        "มี",
        "ไม่มี",
        "ไม่",
        "จริง",
        "เท็จ",
    ]
)  # none of them changes under NFKC
_COUNTED = frozenset("一二三四五六七八九十两兩")
_LEAD = (
    r"(?:所以|因此|那么|我觉得|我认为|我想|应该|正确|的|答案|是|为|選|选|就|会|録音|录音|答え|正解|は|つまり|だから|정답|답|은|는|그래서|따라서|คำตอบ|คือ"
    r"|ดังนั้น|\s|:)*"
)
_TAIL = r"(?:です|だ|でした|입니다|이에요|예요|요|이다|的|ครับ|ค่ะ|คะ|\s)*"


class UnspacedNames(NamedTuple):
    """Holds compiled names: `anywhere` finds them in running text, `alone` those that must be a whole clause."""

    anywhere: re.Pattern[str] | None
    alone: re.Pattern[str] | None
    places: dict[str, int]


def is_unspaced(name: str) -> bool:
    """Return whether a name has letters of a script whose words run together."""
    return not name.isascii() and _SCRIPT.search(name) is not None


@lru_cache(maxsize=2048)
def unspaced_names(names: tuple[tuple[str, int], ...]) -> UnspacedNames:
    """Compile pairs of a plain name and its place."""
    places = {name.replace(" ", ""): place for name, place in names}
    ordered = sorted(places, key=len, reverse=True)
    common = [name for name in ordered if name in _COMMON]
    anywhere = [
        _spelled(name) + ("(?=[个個人位种種只隻次名声聲点點])" if name in _COUNTED else "")
        for name in ordered
        if name not in _COMMON
    ]
    return UnspacedNames(
        re.compile("|".join(anywhere)) if anywhere else None,
        pattern_of(rf"{_LEAD}({'|'.join(map(_spelled, common))}){_TAIL}") if common else None,
        places,
    )


def _spelled(name: str) -> str:
    return r"\s*".join(map(re.escape, name))


def unspaced_named(text: str, names: UnspacedNames) -> set[int]:
    """Return the places of the options that a text names and does not deny."""
    text = unicodedata.normalize("NFKC", text).casefold()
    found: set[int] = set()
    if names.anywhere:
        spans = list(names.anywhere.finditer(text))
        for at, match in enumerate(spans):
            following = spans[at + 1].start() if at + 1 < len(spans) else None
            if not _denied(text, match.start(), match.end(), following):
                found.add(names.places["".join(match[0].split())])
    if names.alone:
        for clause in _BREAK.split(text):
            if only := names.alone.fullmatch(clause.strip(" \"'*()[]「」『』")):
                found.add(names.places["".join(only[1].split())])
    return found


def _denied(text: str, start: int, end: int, following: int | None) -> bool:
    """Whether the clause of text[start:end] denies it; `following` is where the next option begins."""
    before = _CLAUSE_BEGIN.split(text[max(0, start - 60) : start])[-1]
    if UNSPACED_BEFORE.search(before):
        return True
    clause = _CLAUSE_END.split(text[end : end + 60])[0]
    stop = len(clause) if following is None else min(len(clause), following - end)
    behind = UNSPACED_BEHIND.search(clause[:stop])
    if behind is None:
        return False
    # "A, not B" denies B: the denial stands right before the next option
    denies_next = following is not None and behind.end() == following - end
    return not (denies_next and UNSPACED_BEFORE.search(behind[0]) is not None)
