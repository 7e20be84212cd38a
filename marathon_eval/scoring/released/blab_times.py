"""Reproduces BLAB's released scorers of places in a recording and of durations.

Source: src/ of https://github.com/orevaahia/brutally_long_audio_bench at 7303046; tests hold this against verdicts from
running it. There, json_repair reads an answer's JSON; here, every complete object `{...}` of a list is read, so an answer
that breaks off keeps its complete objects. Answers on which the released duration scorer stops with an error are wrong.

blab.words     metric: F1 over all rows of words with their times (column groundtruth: a list of word, start, end)
blab.frames    metric: F1 over all rows of 10 ms frames inside the named spans (groundtruth: word_timestamp and spans)
blab.seconds   metric: share of durations that are right (columns groundtruth, answer_type: seconds or minutes)
"""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: True positives, false positives and false negatives.
Hits = tuple[int, int, int]
#: A word's start and end may each be this many seconds off.
WORD_TOLERANCE = 0.2
SPAN_FRAME_SECONDS = 0.01
_OBJECT = re.compile(r"\{[^{}]*\}")
_INTEGER = re.compile(r"\b\d+\b")
_NO_MARKS = str.maketrans("", "", string.punctuation)
_CLOCKS: tuple[tuple[str, tuple[float, ...]], ...] = (
    (r"(\d+):(\d+)", (1, 0.001)),
    (r"(\d+):(\d+)\.(\d+)", (60, 1, 0.001)),
    (r"(\d+):(\d+):(\d+)", (60, 1, 0.001)),
    (r"(\d+):(\d+):(\d+)\.(\d+)", (3600, 60, 1, 0.001)),
    (r"(\d+)\.(\d+)\.(\d+)", (60, 1, 0.001)),
)


class MicroF1(Metric):
    """Computes F1 from hits that are summed over all rows; `counted` returns those of a row."""

    share = True
    name = "f1"
    rowwise: ClassVar[bool] = False

    def __init__(self, counted: Callable[[ScoredRow], Hits]) -> None:
        self._counted = counted

    def score(self, row: ScoredRow) -> float | None:
        right, added, missed = self._counted(row)
        return 2 * right / (2 * right + added + missed) if right + added + missed else None

    def tally(self) -> Tally:
        """Collect [true positives, false positives, false negatives]."""
        return NumberTally(3, lambda row, score: map(float, self._counted(row)))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2], 0.0)


def objects_in(text: str) -> list[dict[str, Any]]:
    """Return the complete JSON or Python objects of a list in an answer; none where there is no list."""
    found = []
    for match in _OBJECT.findall(text) if "[" in text else []:
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(match)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(value, dict) and value:
                found.append(value)
            break
    return found


# -- words with their times ----------------------------------------------------------------------------------


def _timed_words(objects: Iterable[Mapping[str, Any]]) -> list[tuple[str, float | None, float | None]]:
    return [
        (one["word"].translate(_NO_MARKS), _seconds_of(one["start"]), _seconds_of(one["end"]))
        for one in objects
        if all(one.get(key) not in (None, "") for key in ("word", "start", "end"))
        and isinstance(one["word"], str)
    ]


def _seconds_of(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        return float(value)
    return float(value) if isinstance(value, str) and value.isdigit() else None


def word_hits(text: str, gold: Sequence[Mapping[str, Any]]) -> Hits:
    """Count the words of an answer that are gold words with about their times, each gold word once."""
    left, said = _timed_words(gold), _timed_words(objects_in(text))
    right = 0
    for word in said:
        place = next((place for place, other in enumerate(left) if _same_word(word, other)), None)
        if place is not None:
            right += 1
            del left[place]
    return right, len(said) - right, len(left)


def _same_word(
    one: tuple[str, float | None, float | None], other: tuple[str, float | None, float | None]
) -> bool:
    return one[0] == other[0] and all(
        a is not None and b is not None and abs(a - b) <= WORD_TOLERANCE
        for a, b in zip(one[1:], other[1:], strict=True)
    )


def blab_words() -> Metric:
    """Build the F1 of words with their times."""
    return MicroF1(lambda row: word_hits(row.answer.value or "", _gold_list(row.fields.get("groundtruth"))))


# -- spans, frame by frame -----------------------------------------------------------------------------------


def frame_hits(text: str, gold: Mapping[str, Any], said_key: str, spans: str, gold_key: str) -> Hits:
    """Count frames of an answer's spans against the marked words (`#word`) of the gold's word_timestamp.

    An answer without a span misses the gold's spans, which the key `spans` lists. Raises RowError for another gold.
    """
    said = _said_spans(objects_in(text.replace("\\", "")), said_key)
    words = [list(word.values()) for word in _gold_list(gold.get("word_timestamp"))]
    words = [word for word in words if len(word) == 3]
    if not said:
        named = [span for span in _gold_list(gold.get(spans)) if isinstance(span.get(gold_key), str)]
        return 0, 0, sum(_frame(float(span["end"])) - _frame(float(span["start"])) for span in named)
    frames = _frame(max(said[-1][0], float(words[-1][2]) if words else 0.0))
    found, marked = _frames_of(said, frames), _frames_of(_marked(words), frames)
    right = len(found & marked)
    return right, len(found) - right, len(marked) - right


def _said_spans(objects: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    named = [one for one in objects if isinstance(one.get(key), str) and one[key].translate(_NO_MARKS)]
    ends = [(_clock(one.get("start")), _clock(one.get("end"))) for one in named]
    return [(start, end) for start, end in ends if start is not None and end is not None]


def _clock(value: Any) -> float | None:
    """Read a time as the released code does, where `12:34` is 12 s and 34 ms; None for what is no time."""
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, str) or not value.replace(":", "").replace(".", "").isdigit():
        return None
    with suppress(ValueError):  # no plain number: it may be a clock's time
        return float(value)
    for pattern, units in _CLOCKS:
        match = re.fullmatch(pattern, value)
        if match:
            return sum(int(part) * unit for part, unit in zip(match.groups(), units, strict=True))
    return None


def _marked(words: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    """Return the stretches of neighbouring marked words."""
    runs = groupby(words, key=lambda word: str(word[0])[:1] == "#")
    stretches = [list(run) for is_marked, run in runs if is_marked]
    return [(float(run[0][1]), float(run[-1][2])) for run in stretches]


def _frame(seconds: float) -> int:
    return int(seconds / SPAN_FRAME_SECONDS)


def _frames_of(spans: Iterable[tuple[float, float]], frames: int) -> set[int]:
    return {
        frame
        for start, end in spans
        for frame in range(max(0, _frame(start)), min(frames, max(0, _frame(end))))
    }


def _gold_list(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise RowError(f"groundtruth: must hold a list of objects, got {str(value)[:80]!r}")
    return value


#: By the key of an answer's objects: the key of the gold's spans, and of the text in each.
_SPANS = {"entity": ("entities", "entity"), "advertisement": ("ads_segment", "text")}


def blab_frames(kind: str) -> Metric:
    """Build the F1 of frames inside spans; `kind` is entity or advertisement."""
    if kind not in _SPANS:
        raise MarathonError(f"kind: must be {' or '.join(_SPANS)}, got {kind!r}")

    def counted(row: ScoredRow) -> Hits:
        gold = row.fields.get("groundtruth")
        if not isinstance(gold, Mapping):
            raise RowError(f"groundtruth: must be an object, got {str(gold)[:80]!r}")
        return frame_hits(row.answer.value or "", gold, kind, *_SPANS[kind])

    return MicroF1(counted)


# -- durations -----------------------------------------------------------------------------------------------


def blab_duration_right(text: str, gold: Any, answer_type: str, offset: int = 0) -> bool:
    """Return whether an answer states a duration, within `offset` seconds; gold and answer are of `answer_type`.

    Raises RowError for another answer_type and for a gold that is no number.
    """
    if answer_type not in ("seconds", "minutes"):
        raise RowError(f"answer_type: must be seconds or minutes, got {answer_type!r}")
    try:
        right = _gold_seconds(str(gold).strip().strip("."), answer_type)
    except ValueError:
        raise RowError(f"groundtruth: must be a number of {answer_type}, got {gold!r}") from None
    said = _said_seconds(text.strip().strip("."), answer_type)
    return said is not None and abs(said - right) <= (offset if right > 0 else 0)


def _gold_seconds(text: str, answer_type: str) -> int:
    if answer_type == "seconds":
        return int(text)
    return _of_two(text, ":") if ":" in text else int(float(text) * 60)


def _said_seconds(text: str, answer_type: str) -> int | None:
    if answer_type == "minutes":
        found = _INTEGER.search(text)
        return None if found is None else int(found[0]) * 60
    try:
        return abs(_of_two(text, ":") if ":" in text else _of_two(text, ".") if "." in text else int(text))
    except (ValueError, OverflowError):
        return None


def _of_two(text: str, between: str) -> int:
    minutes, seconds = map(float, text.split(between))
    return int(minutes * 60 + seconds)


def blab_seconds(offset: int = 0) -> Metric:
    """Build the share of answers whose duration is right, within `offset` seconds."""

    def score(row: ScoredRow) -> float:
        fields = row.fields
        kind = str(fields.get("answer_type"))
        return float(blab_duration_right(row.answer.value or "", fields.get("groundtruth"), kind, offset))

    return Mean("accuracy", score, share=True)


BLAB_TIME_METRICS: dict[str, Callable[..., Metric]] = {
    "blab.words": blab_words,
    "blab.frames": blab_frames,
    "blab.seconds": blab_seconds,
}
