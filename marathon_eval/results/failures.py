"""Groups the errors of failed rows by their kind, and lists the rows of a run with their outcomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import nsmallest
from pathlib import Path
from typing import Any

from marathon_eval.api.same_failures import NEVER_SENT
from marathon_eval.results.files import read_samples
from marathon_eval.results.outcomes import (
    ERROR,
    GRADED,
    NAMES,
    RIGHT,
    UNANSWERED,
    UNSCORED,
    WRONG,
    Deciding,
    deciding,
    outcome_of,
)
from marathon_eval.scoring.grades import grades_in_words
from marathon_eval.scoring.judge import FAILED_MARK, JUDGE_FAILED, JUDGE_NOT_ASKED, OFF_SCALE, OFF_SCALE_MARK

#: Parts of an error that differ between rows which failed for the same reason: paths, addresses, quotes, numbers other
#: than a server's status code.
_OWN_PARTS = re.compile(
    r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|(?:[A-Za-z]:)?(?:[\w.~-]*[\\/])+[^\s:;,]*"""
    r"""|\b[\w-]+\.(?:wav|mp3|flac|ogg|m4a|opus)\b|\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"""
    r"""|(?<!http )(?<!status )(?<!code )(?<!code: )\b\d+(?:\.\d+)?""",
    re.IGNORECASE,
)
_SEVERAL = re.compile("…(?: …)+")
#: Outcomes that `show RUN --only` takes, by its words.
ONLY = {
    "wrong": WRONG,
    "unanswered": UNANSWERED,
    "failed": ERROR,
    "unscored": UNSCORED,
    "graded": GRADED,
}
#: Outcomes of which `show RUN --wrong` lists every row; of graded rows, which are neither right nor wrong, the worst.
NOT_RIGHT = (WRONG, UNANSWERED, ERROR, UNSCORED)
#: Graded rows of a task that `show RUN --wrong` lists.
MOST_GRADED = 10
#: What the rules of rows that a reading leaves out mean.
_LEFT_OUT_WORDS = {
    "judge_failed": "the judge failed",
    "judge_unparsed": "no grade can be read from the judge's reply",
    "judge_off_scale": "the judge's reply has a grade that is not on the scale",
    "judge_not_asked": "the judge could not be asked about this row",
    "not_judged": "it needs the judge, and the run had none",
}


@dataclass
class FailureKind:
    """Holds the rows that failed for one reason: the first row's error, and the number of rows by task."""

    error: str
    first: str
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The rows of all tasks."""
        return sum(self.rows.values())


@lru_cache(maxsize=4096)
def failure_kind(error: str) -> str:
    """Return what rows that failed for the same reason share: the error without its paths, quoted texts and numbers."""
    return _SEVERAL.sub("…", _OWN_PARTS.sub("…", " ".join(error.split())))


def failure_kinds(failed: Iterable[tuple[str, int, str | None]]) -> list[FailureKind]:
    """Group (task, row, error) by the error without its paths, quoted texts and numbers; the most frequent first."""
    kinds: dict[str, FailureKind] = {}
    for task, row, error in failed:
        text = " ".join((error or "no reason given").split())
        kind = kinds.setdefault(failure_kind(text), FailureKind(text, f"{task} {row}"))
        kind.rows[task] = kind.rows.get(task, 0) + 1
    return sorted(kinds.values(), key=lambda kind: -kind.count)


@dataclass(frozen=True)
class ListedRow:
    """Holds one row of a run with its outcome under the task's headline reading."""

    task: str
    row: int
    outcome: str
    target: str | list[str] | None
    answer: str | None
    response: str | list[str] | None
    error: str | None
    #: Why the row is not scored; None for a row with a score or an error.
    reason: str | None
    #: The metric that decided the outcome, its score, and whether a higher one is better.
    metric: str | None
    score: float | None
    higher_is_better: bool | None
    #: The right options' texts, where the target is the letters of options.
    target_text: str | list[str] | None
    choices: list[str] | None
    prompt_sha256: str | None
    #: The clips as the sample has them.
    audio: list[dict[str, Any]]


@dataclass
class GradedRows:
    """Counts the graded rows of a task by the metric that graded them."""

    count: int = 0
    metrics: dict[str, bool] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)

    def add(self, row: ListedRow) -> None:
        """Count a row."""
        self.count += 1
        if row.metric is not None and row.score is not None:
            self.metrics[row.metric] = row.higher_is_better is not False
            self.scores = [min([*self.scores, row.score]), max([*self.scores, row.score])]

    def told(self) -> str:
        """Return `by wer ↓ (lower is better), from 1.00 to 0.33`, the worst score first."""
        names = " and ".join(metric_words(name, rises) for name, rises in self.metrics.items())
        falls = not all(self.metrics.values())
        text = f"by {names}" + (" (↓: lower is better)" if falls else "")
        if len(self.metrics) != 1:
            return text
        worst, best = reversed(self.scores) if falls else self.scores
        return f"{text}, " + (f"all {worst:.2f}" if worst == best else f"from {worst:.2f} to {best:.2f}")


def metric_words(metric: str, higher_is_better: bool | None) -> str:
    """Return the metric's name, with ↓ where a lower value is better."""
    return f"{metric} ↓" if higher_is_better is False else metric


def graded_words(metric: str | None, score: float, higher_is_better: bool | None) -> str:
    """Return `wer ↓ 1.00`, or `graded 1.00` where no metric is named."""
    return f"{metric_words(metric or NAMES[GRADED], higher_is_better)} {score:.2f}"


#: Reads the lines of a run's folder and task.
ReadRows = Callable[[Path, str], Iterable[dict[str, Any]]]


def rows_not_right(
    rows: Iterable[ListedRow], only: str | None = None, graded: dict[str, GradedRows] | None = None
) -> Iterator[ListedRow]:
    """Yield a task's wrong, unanswered, failed and unscored rows, then the worst of its graded ones.

    `only` is a word of `ONLY`: rows of that outcome alone, every graded one too. The graded rows are
    counted in `graded`, by task.
    """
    outcomes = {NAMES[code] for code in (NOT_RIGHT if only is None else [ONLY[only]])} - {NAMES[GRADED]}
    counted = {} if graded is None else graded
    waiting: list[ListedRow] = []
    for row in rows:
        if row.outcome in outcomes:
            yield row
        elif row.outcome == NAMES[GRADED]:
            counted.setdefault(row.task, GradedRows()).add(row)
            waiting.append(row)
            if (
                only is None and len(waiting) > 100 * MOST_GRADED
            ):  # so that not all rows of a large run are kept
                waiting = nsmallest(MOST_GRADED, waiting, key=_badness)
    if only in (None, "graded"):
        yield from sorted(waiting, key=_badness)[: None if only else MOST_GRADED]


def _badness(row: ListedRow) -> float:
    """Return a number by which the worst graded row comes first."""
    score = row.score or 0.0
    return -score if row.higher_is_better is False else score


def listed_rows(
    folder: Path,
    results: Mapping[str, Any],
    task: str,
    reading: str | None = None,
    read: ReadRows = read_samples,
) -> Iterator[ListedRow]:
    """Yield all rows of a task with their outcomes under a reading (default: the headline's). Raises MarathonError."""
    summary = results["tasks"][task]
    headline = summary["headline"] or {}
    shown = reading or headline.get("reading") or next(iter(summary["readings"]), "")
    decides = deciding(headline, summary.get("metrics"))
    for row in read(folder, task):
        yield listed_row(task, row, shown, decides)


def listed_row(task: str, row: Mapping[str, Any], reading: str, headline: Deciding) -> ListedRow:
    """Return one line of samples_<task>.jsonl with its outcome under a reading; `headline` is the task's."""
    found = outcome_of(row, reading, headline)
    scored = row["readings"].get(reading) or {}
    return ListedRow(
        task,
        row["doc_id"],
        NAMES[found.code],
        row["target"],
        grades_in_words(scored.get("answer")),
        row["response"],
        row["error"],
        unscored_reason(scored, row.get("judge")) if found.code == UNSCORED else None,
        found.metric,
        found.score,
        None if found.metric is None else not headline.falls(found.metric),
        target_text(row),
        row.get("choices") or None,
        row["prompt_sha256"],
        list(row["audio"]),
    )


def target_text(row: Mapping[str, Any]) -> str | list[str] | None:
    """Return the texts of the options whose letters are a row's target; None where it is no letter."""
    options = dict(zip(row.get("letters") or (), row.get("choices") or (), strict=False))
    target = row["target"]
    if isinstance(target, list):
        return [options[letter] for letter in target] if target and set(target) <= options.keys() else None
    return options.get(target)


def unscored_reason(scored: Mapping[str, Any], judge: Mapping[str, Any] | None = None) -> str:
    """Return why a row has no score under a reading, whose entry in the sample is `scored` (empty if it has none).

    `judge` holds the judge's texts in the sample.
    """
    rule = scored.get("rule")
    if not scored:
        return "the row has no entry for this reading"
    if rule == OFF_SCALE and (words := _off_scale(judge or {})):
        return f"{rule}: {words}"
    if rule in (JUDGE_FAILED, JUDGE_NOT_ASKED) and (words := _failure_in(judge or {})):
        return words
    if rule in _LEFT_OUT_WORDS:
        return f"{rule}: {_LEFT_OUT_WORDS[rule]}"
    return "the metric has no value for the target or the answer"


def _failure_in(judge: Mapping[str, Any]) -> str | None:
    """Return `not asked: --max_requests 5 is reached` or `judge_failed: HTTP 500`; None if the judge's texts do not say."""
    for end in (end for kind in judge for end in _last_texts(judge, kind)):
        error = end.removeprefix(FAILED_MARK)
        if error.startswith(NEVER_SENT):
            return error
        if error != end:
            return f"{JUDGE_FAILED}: {error}"
    return None


def _last_texts(judge: Mapping[str, Any], kind: str) -> list[str]:
    """Return the last text of each call of a kind of judging, which says why it failed, if it did."""
    calls = judge.get(kind)
    found = calls if isinstance(calls, list) else []
    return [str(texts[-1]) for texts in found if isinstance(texts, list) and texts]


def _off_scale(judge: Mapping[str, Any]) -> str | None:
    """Return which grade is off the scale, from the judge's texts; None if they do not say so."""
    ends = _last_texts(judge, "grade")
    return next(
        (end.removeprefix(OFF_SCALE_MARK) for end in ends if end.startswith(OFF_SCALE_MARK)),
        None,
    )


def verdict_words(row: Mapping[str, Any], reading: str, headline: Deciding) -> str:
    """Return `right`, `wrong: read as 'C'`, `wer ↓ 0.71` and the like for one answer."""
    found = outcome_of(row, reading, headline)
    word = NAMES[found.code]
    if found.code == GRADED and found.score is not None:
        return graded_words(found.metric, found.score, not headline.falls(found.metric or ""))
    if found.code in (RIGHT, WRONG):
        answer = row["readings"][reading]["answer"]
        return f"{word}: read as {answer!r}"
    if found.code == UNSCORED:
        scored = row["readings"].get(reading) or {}
        if scored.get("rule") == "not_judged":
            return f"{word} here: it needs the judge; `show RUN ROW` has the grade of a run"
        return f"{word}: {unscored_reason(scored, row.get('judge'))}"
    return word
