"""What a judge is asked and how its reply is read, for each kind of judging. A reply is read strictly or not at all.

    align    one letter of the row's options, or "none" (AIR-Bench, foundation; there nothing matching means a random letter)
    pair     two whole numbers with one blank between, as cal_score.py reads them (AIR-Bench, chat)
    rubric   a JSON list with one allowed score per criterion (MMAR, evaluation_rubrics.py)

Templates see the row's columns, `options`, `choices`, `letters`, `response` (without the thoughts before it) and
`reasoning` (these thoughts); pair also `first` and `second`, the reference and the response in either order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marathon_eval.api.filter import Answer
from marathon_eval.api.model import Generation, Request
from marathon_eval.errors import RowError, unknown
from marathon_eval.scoring.judge import NO_CHOICE, Pair, Pass, read_letter
from marathon_eval.scoring.reasoning import Parted
from marathon_eval.scoring.released.air_bench import two_scores
from marathon_eval.scoring.released.mmar import included
from marathon_eval.task.prompt.template import wording

if TYPE_CHECKING:
    from marathon_eval.task.task import Doc, Task
    from marathon_eval.task.yaml.config import JudgePrompt

_LIST = re.compile(r"\[.*\]", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """One question to the judge. `read` gives what a reply says, None for a reply that cannot be read."""

    key: Hashable
    request: Request
    read: Callable[[str], Any]


class JudgeKind:
    """One kind of judging in one task. Raises MarathonError for a broken template."""

    def __init__(self, name: str, spec: JudgePrompt, task: Task) -> None:
        where = f"{task.document.where('judge', name, 'prompt')}: judge: {name}: prompt"
        self.name = name
        self.spec = spec
        self.task = task
        self.prompt = wording(spec.prompt, where)

    def calls(self, doc: Doc, said: Parted) -> list[Call]:
        """What must be asked about one answer. Raises RowError where the row lacks what the prompt needs."""
        return [*_CALLS[self.name](self, doc, said)]

    def settled(self, doc: Doc, said: Parted) -> Answer | None:
        """The verdict where nothing needs to be asked."""
        if said.answer is None:
            return Answer(None, "unclosed_reasoning")
        if self.name == "rubric" and not included(str(doc.target), said.answer, doc.choices):
            return Answer("0", "wrong_answer")
        return None

    def verdict(self, doc: Doc, replies: Sequence[Any]) -> Answer:
        """What the replies say together, in the order of `calls`; None for one that was never readable."""
        return _VERDICTS[self.name](doc, replies)

    def call(
        self, key: Hashable, values: Mapping[str, Any], read: Callable[[str], Any], seed: int | None = None
    ) -> Call:
        """A first try is greedy; only raters that must differ in their cache keys have a seed."""
        generation = Generation(max_new_tokens=self.spec.max_new_tokens, seed=seed)
        request = Request(str(self.prompt.value(values)), (), generation, self.spec.system)
        return Call((self.name, key), request, read)

    def values(self, doc: Doc, said: Parted) -> dict[str, Any]:
        """What the template sees; the response is data and is never read as a template."""
        row = self.task.writer.question.values(doc.fields)
        # a predictions file in MMAR's form keeps the thoughts in a column of their own
        reasoning = said.reasoning or str(doc.fields.get("thinking_prediction") or "")
        return {**row, "response": said.answer, "reasoning": reasoning}


def check_judging(task: Task) -> None:
    """Raise MarathonError for a judge's template that is broken, and for a reading that the task does not have."""
    for name, spec in task.config.judge or ():
        if spec is None:
            continue
        wanted = [spec.readings] if isinstance(spec.readings, str) else spec.readings
        for reading in wanted:
            if reading not in task.readings:
                where = f"{task.document.where('judge', name, 'readings')}: judge: {name}: readings"
                raise unknown(where, "reading", reading, task.readings)
        if spec.prompt not in _CHECKED:
            JudgeKind(name, spec, task)
            _CHECKED.add(spec.prompt)


#: Tasks of one benchmark share their judge's prompt, and compiling takes longer than all other checks.
_CHECKED: set[str] = set()


def _align_calls(kind: JudgeKind, doc: Doc, said: Parted) -> Iterator[Call]:
    values = kind.values(doc, said)
    yield kind.call(doc.doc_id, values, lambda reply: read_letter(reply, values["letters"]))


def _pair_calls(kind: JudgeKind, doc: Doc, said: Parted) -> Iterator[Call]:
    values = kind.values(doc, said)
    for order, first, second in (("straight", doc.target, said.answer), ("swapped", said.answer, doc.target)):
        yield kind.call((doc.doc_id, order), {**values, "first": first, "second": second}, two_scores)


def _rubric_calls(kind: JudgeKind, doc: Doc, said: Parted) -> Iterator[Call]:
    values = kind.values(doc, said)
    allowed = _allowed(doc.fields.get("rubric"))
    for rater in range(kind.spec.raters):
        # far apart, so that a rater's retries (seed + i) never meet another rater's first try
        seed = kind.spec.seed + 100 * rater
        yield kind.call((doc.doc_id, rater), values, lambda reply: read_rubric(reply, allowed), seed)


def _allowed(rubric: Any) -> list[list[float]]:
    """The possible scores of each criterion. Raises RowError for a rubric that cannot be scored."""
    if not isinstance(rubric, list) or not rubric:
        raise RowError(f"the row's rubric must be a list of criteria, got {rubric!r}")
    scores = [criterion.get("choices") if isinstance(criterion, dict) else None for criterion in rubric]
    if not all(isinstance(options, list) and options and max(options) > 0 for options in scores):
        raise RowError("a criterion of the row's rubric has no list of possible scores")
    return [[float(score) for score in options or ()] for options in scores]


def read_rubric(reply: str, allowed: Sequence[Sequence[float]]) -> float | None:
    """Points over possible points; None unless every criterion has exactly one of its allowed scores."""
    found = _LIST.search(reply)
    try:
        rated = json.loads(found[0]) if found else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(rated, list) or len(rated) != len(allowed):
        return None
    given = [item.get("score") if isinstance(item, dict) else None for item in rated]
    # not float(x): a judge may write a number that no float can hold
    points = [x for x in given if isinstance(x, (int, float)) and not isinstance(x, bool)]
    if len(points) < len(given) or any(x not in options for x, options in zip(points, allowed, strict=True)):
        return None
    return sum(points) / sum(max(options) for options in allowed)


def trimmed_mean(scores: Sequence[float]) -> float:
    """Without the lowest and the highest where there are at least three."""
    kept = sorted(scores)[1:-1] if len(scores) >= 3 else scores
    return sum(kept) / len(kept)


def _align_verdict(doc: Doc, replies: Sequence[Any]) -> Answer:
    (letter,) = replies
    if letter is None:
        return Answer(None, "unparsed")
    return (
        Answer(None, "none_fits")
        if letter == NO_CHOICE
        else Answer(doc.choices[ord(letter) - ord("A")], "judge")
    )


def _pair_verdict(doc: Doc, replies: Sequence[Any]) -> Answer:
    straight, swapped = replies
    pair = Pair(straight and Pass(*straight), swapped and Pass(swapped[1], swapped[0]))
    rule = ("both" if swapped else "straight_only") if straight else "swapped_only" if swapped else "unparsed"
    return Answer(pair.text() if pair.passes else None, rule)


def _rubric_verdict(doc: Doc, replies: Sequence[Any]) -> Answer:
    if any(score is None for score in replies):
        return Answer(None, "unparsed")
    return Answer(repr(trimmed_mean(replies)), "raters")


_CALLS: dict[str, Callable[[JudgeKind, Doc, Parted], Iterator[Call]]] = {
    "align": _align_calls,
    "pair": _pair_calls,
    "rubric": _rubric_calls,
}
_VERDICTS: dict[str, Callable[[Doc, Sequence[Any]], Answer]] = {
    "align": _align_verdict,
    "pair": _pair_verdict,
    "rubric": _rubric_verdict,
}
