"""Builds the prompts of each kind of judging and parses the replies; a reply that breaks the format is unparsed.

    align    one letter of the row's options, or "none" (AIR-Bench, foundation; there no match means a random letter)
    pair     two whole numbers separated by one space, as cal_score.py reads them (AIR-Bench, chat)
    rubric   a JSON list with one allowed score per criterion (MMAR, evaluation_rubrics.py)
    grade    the general judge: a JSON object with grades on the task's own scale (grading.py)

Templates may use the row's columns, `options`, `choices`, `letters`, `response` (without the reasoning before it) and
`reasoning`; `pair` also `first` and `second`, the reference and the response in either order. `grade` sees `asked` (the
question as the model got it), `reference`, `form` (which grades there are and how to reply; added at the end of a
prompt that does not use it), and with `against` also `first` and `second`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marathon_eval.api.filter import Answer
from marathon_eval.api.model import Generation, Request
from marathon_eval.errors import MarathonError, RowError, unknown
from marathon_eval.evaluator.grading import Grading
from marathon_eval.scoring.grades import AnswerOrder, Vote, votes_text
from marathon_eval.scoring.judge import NO_CHOICE, UNPARSED, Pair, Pass, read_letter
from marathon_eval.scoring.reasoning import UNCLOSED, Parted
from marathon_eval.scoring.released.air_bench import two_scores
from marathon_eval.scoring.scorer import scored_row
from marathon_eval.task.judged_readings import judge_kinds, readings_of_kind
from marathon_eval.task.prompt.prompt import OURS
from marathon_eval.task.prompt.template import check_names, from_row, wording
from marathon_eval.task.yaml.judge_keys import GradePrompt

if TYPE_CHECKING:
    from marathon_eval.task.task import Doc, Task
    from marathon_eval.task.yaml.judge_keys import JudgePrompt

#: The rule of a row that gets the lowest grade because it is below the task's gate.
BELOW_GATE = "below_gate"
_LIST = re.compile(r"\[.*\]", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """Holds one request to the judge. `read` parses a reply, and returns None if the reply cannot be parsed."""

    key: Hashable
    request: Request
    read: Callable[[str], Any]
    #: JSON Schema of the reply, for a judge that can be held to one.
    schema: str | None = None
    #: Says of a reply that was not parsed which grade in it the task does not have.
    off_scale: Callable[[str], str | None] | None = None


class JudgeKind:
    """Builds calls and verdicts for one kind of judging in one task. Raises MarathonError for a broken template."""

    def __init__(self, name: str, spec: JudgePrompt, task: Task) -> None:
        where = f"{task.document.where('judge', name, 'prompt')}: judge: {name}: prompt"
        self.name = name
        self.spec = spec
        self.task = task
        self.grading = Grading(spec) if isinstance(spec, GradePrompt) else None
        self.prompt = wording(self.grading.prompt() if self.grading else spec.prompt, where)
        if self.grading is not None and "form" not in self.prompt.names:
            self.prompt = wording(spec.prompt + "\n\n{{ form }}", where)
        self.against = (
            from_row(spec.against, f"{task.document.where('judge', name, 'against')}: judge: {name}: against")
            if isinstance(spec, GradePrompt) and spec.against
            else None
        )

    def calls(self, doc: Doc, response: Parted) -> list[Call]:
        """Build the calls about one response. Raises RowError if the row lacks a column that the prompt needs."""
        return [*_CALLS[self.name](self, doc, response)]

    def settled(self, doc: Doc, response: Parted, text: str) -> Answer | None:
        """Return the verdict if no call is needed, else None; `text` is the whole response, which the gate reads."""
        # a pair's reference is graded beside an empty answer: without grades the row would leave the mean
        if response.answer is None and self.name != "pair":
            return Answer(None, UNCLOSED)
        if self.grading is not None and not (response.answer or "").strip():
            return Answer(None, "empty")
        if self._passes_gate(doc, text):
            return None
        return Answer("0" if self.name == "rubric" else None, BELOW_GATE)

    def _passes_gate(self, doc: Doc, text: str) -> bool:
        gate = self.spec.gate
        if gate is None:
            return True
        reading, context = self.task.readings[gate.reading], self.task.context(doc)
        row = scored_row(doc, context, reading.pipeline.apply([text], context), self.task.scorer.cluster(doc))
        score = next(metric for metric in reading.metrics if metric.name == gate.metric).score(row)
        return score is not None and score >= gate.at_least

    def verdict(self, doc: Doc, replies: Mapping[str, Sequence[Any]]) -> Answer:
        """Combine each judge's parsed replies, in the order of `calls`, into a verdict; None is a reply never parsed.

        `grade` takes any number of judges, the other kinds one.
        """
        if self.name == "grade":
            return _grade_verdict(self, replies)
        (of_judge,) = replies.values()
        return _VERDICTS[self.name](doc, of_judge)

    def hashed(self) -> list[str | None]:
        """Return the texts that every prompt of this kind has, for the run's manifest."""
        form = [] if self.grading is None else [self.grading.form()]
        return [self.spec.system, self.grading.prompt() if self.grading else self.spec.prompt, *form]

    def call(
        self, key: Hashable, values: Mapping[str, Any], read: Callable[[str], Any], seed: int | None = None
    ) -> Call:
        """Build one call. It is greedy; only raters have a seed, so that their cache keys differ."""
        generation = Generation(max_new_tokens=self.spec.max_new_tokens, seed=seed)
        request = Request(str(self.prompt.value(values)), (), generation, self.spec.system)
        if self.grading is None:
            return Call((self.name, key), request, read)
        return Call((self.name, key), request, read, self.grading.schema(), self.grading.off_scale)

    def values(self, doc: Doc, response: Parted) -> dict[str, Any]:
        """Return the variables of the prompt template; the response is data and is never rendered as a template."""
        row = self.task.writer.question.values(doc.fields)
        # a predictions file in MMAR's format has the reasoning in its own column
        reasoning = response.reasoning or str(doc.fields.get("thinking_prediction") or "")
        return {**row, "response": response.answer or "", "reasoning": reasoning}


def check_judging(task: Task) -> None:
    """Raise MarathonError if a judge's template is broken or names a reading that the task does not have."""
    for name, spec in judge_kinds(task.config).items():
        for reading in readings_of_kind(spec):
            if reading not in task.readings:
                where = f"{task.document.where('judge', name, 'readings')}: judge: {name}: readings"
                raise unknown(where, "reading", reading, task.readings)
        if isinstance(spec, GradePrompt) or spec.prompt not in _CHECKED:
            JudgeKind(name, spec, task)
            _CHECKED.add(spec.prompt)


def check_judge_columns(task: Task, docs: Iterable[Doc]) -> None:
    """Raise MarathonError, with the nearest name, if a judge's template uses a name that no row has."""
    kinds = judge_kinds(task.config)
    if not kinds:
        return
    columns = {name for doc in docs for name in doc.fields}
    if task.writer.question.choices.given:
        columns |= OURS
    for name, spec in kinds.items():
        kind = JudgeKind(name, spec, task)
        check_names(kind.prompt, columns | _names_of(kind))
        if kind.against is not None:
            check_names(kind.against, columns)
        _refuse_unseen_answer(kind)


def _refuse_unseen_answer(kind: JudgeKind) -> None:
    """Raise MarathonError for a prompt in which the judge would not see what it is to judge."""
    compares = kind.name == "pair" or kind.against is not None
    seen = {"first", "second"} if compares else {"response", "reasoning"}
    if len(seen & set(kind.prompt.names)) < (2 if compares else 1):
        needed = "{{ first }} and {{ second }}, the two answers" if compares else "{{ response }}, the answer"
        raise MarathonError(f"{kind.prompt.where}: must hold {needed} that the judge is to see")


def _names_of(kind: JudgeKind) -> set[str]:
    """Return the names that the kind's template sees in addition to the row's columns and options."""
    names = {"response", "reasoning"}
    if kind.grading is not None:
        names |= {"asked", "reference", "criteria", "form"}
    return names | ({"first", "second"} if kind.name == "pair" or kind.against is not None else set())


#: Prompts already checked: tasks of one benchmark share a prompt, and compiling it is the slowest check.
_CHECKED: set[str] = set()


def _align_calls(kind: JudgeKind, doc: Doc, response: Parted) -> Iterator[Call]:
    values = kind.values(doc, response)
    yield kind.call(doc.doc_id, values, lambda reply: read_letter(reply, values["letters"]))


def _pair_calls(kind: JudgeKind, doc: Doc, response: Parted) -> Iterator[Call]:
    values = kind.values(doc, response)
    for order, first, second in (
        ("straight", doc.target, values["response"]),
        ("swapped", values["response"], doc.target),
    ):
        yield kind.call((doc.doc_id, order), {**values, "first": first, "second": second}, two_scores)


def _rubric_calls(kind: JudgeKind, doc: Doc, response: Parted) -> Iterator[Call]:
    values = kind.values(doc, response)
    allowed = _allowed(doc.fields.get("rubric"))
    for rater in range(kind.spec.raters):
        # seeds are 100 apart, so that a rater's retries (seed + attempt) never equal another rater's seed
        seed = kind.spec.seed + 100 * rater
        yield kind.call((doc.doc_id, rater), values, lambda reply: read_rubric(reply, allowed), seed)


def _grade_calls(kind: JudgeKind, doc: Doc, response: Parted) -> Iterator[Call]:
    """Build one call per rater, or two with a second answer: behind it and before it. Raises RowError."""
    grading = kind.grading
    assert grading is not None
    asked = kind.task.writer.question.text_for(doc.fields)
    target = _reference(kind.task, doc, asked)
    if not target and grading.spec.reference == "required":
        raise RowError("the row has no right answer; `reference: optional` grades without")
    values = {
        **kind.values(doc, response),
        "asked": asked,
        "reference": "" if grading.spec.reference == "none" else target,
        "criteria": [{"name": name, "text": text} for name, text in grading.criteria.items()],
        "form": grading.form(),
    }
    for rater in range(kind.spec.raters):
        seed = kind.spec.seed + 100 * rater if kind.spec.raters > 1 else None
        for order, answers in _orders(kind, doc, values["response"]).items():
            yield kind.call((doc.doc_id, rater, order), {**values, **answers}, grading.read, seed)


def _reference(task: Task, doc: Doc, asked: str) -> str:
    """Return the right answers as the judge reads them: a letter with its option, if the question does not show the options."""
    targets = (doc.target,) if isinstance(doc.target, str) else doc.target or ()
    context = task.context(doc)
    if not context.free_gold and not all(text in asked for text in context.choices):
        options = dict(zip(context.letters, context.choices, strict=False))
        targets = tuple(f"{each}. {options[each]}" if each in options else each for each in targets)
    return "; ".join(targets)


def _orders(kind: JudgeKind, doc: Doc, response: str) -> dict[AnswerOrder, dict[str, str]]:
    """Return what the template sees of the two answers, by the place of the response."""
    if kind.against is None:
        return {"alone": {}}
    other = str(kind.against.value({**kind.task.writer.question.values(doc.fields), "reference": doc.target}))
    return {"second": {"first": other, "second": response}, "first": {"first": response, "second": other}}


def _grade_verdict(kind: JudgeKind, replies: Mapping[str, Sequence[Any]]) -> Answer:
    """Return all votes as text. A row that one of the judges left ungraded would shift the mean, and is left out."""
    orders: Sequence[AnswerOrder] = ("alone",) if kind.against is None else ("second", "first")
    votes = []
    for judge, of_judge in replies.items():
        for place, grades in enumerate(of_judge):
            if grades is None:
                return Answer(None, UNPARSED)
            rater, order = place // len(orders), orders[place % len(orders)]
            mine, others = (
                ("only", "") if order == "alone" else (order, "second" if order == "first" else "first")
            )
            votes.append(Vote(judge, rater, order, grades[mine], grades.get(others, {})))
    return Answer(votes_text(votes), "graded")


def _allowed(rubric: Any) -> list[list[float]]:
    """Return the possible scores of each criterion. Raises RowError for a rubric that cannot be scored."""
    if not isinstance(rubric, list) or not rubric:
        raise RowError(f"the row's rubric must be a list of criteria, got {rubric!r}")
    scores = [criterion.get("choices") if isinstance(criterion, dict) else None for criterion in rubric]
    if not all(isinstance(options, list) and _are_scores(options) for options in scores):
        raise RowError(
            "a criterion of the row's rubric has no list of possible scores, numbers of which one is above 0"
        )
    return [[float(score) for score in options or ()] for options in scores]


def _are_scores(options: Sequence[Any]) -> bool:
    """Return whether these are numbers of which one is above 0."""
    return all(isinstance(option, (int, float)) for option in options) and max(options, default=0) > 0


def read_rubric(reply: str, allowed: Sequence[Sequence[float]]) -> float | None:
    """Parse points / possible points; None unless every criterion has exactly one of its allowed scores."""
    match = _LIST.search(reply)
    try:
        rated = json.loads(match[0]) if match else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(rated, list) or len(rated) != len(allowed):
        return None
    scores = [item.get("score") if isinstance(item, dict) else None for item in rated]
    # not float(x): a judge may write a number that no float can hold
    points = [x for x in scores if isinstance(x, (int, float)) and not isinstance(x, bool)]
    if len(points) < len(scores) or any(x not in options for x, options in zip(points, allowed, strict=True)):
        return None
    return sum(points) / sum(max(options) for options in allowed)


def trimmed_mean(scores: Sequence[float]) -> float:
    """Return the mean; of three or more scores, without the lowest and the highest."""
    trimmed = sorted(scores)[1:-1] if len(scores) >= 3 else scores
    return sum(trimmed) / len(trimmed)


def _align_verdict(doc: Doc, replies: Sequence[Any]) -> Answer:
    (letter,) = replies
    if letter is None:
        return Answer(None, UNPARSED)
    return (
        Answer(None, "none_fits")
        if letter == NO_CHOICE
        else Answer(doc.choices[ord(letter) - ord("A")], "judge")
    )


def _pair_verdict(doc: Doc, replies: Sequence[Any]) -> Answer:
    straight, swapped = replies
    pair = Pair(straight and Pass(*straight), swapped and Pass(swapped[1], swapped[0]))
    rule = ("both" if swapped else "straight_only") if straight else "swapped_only" if swapped else UNPARSED
    return Answer(pair.text() if pair.passes else None, rule)


def _rubric_verdict(doc: Doc, replies: Sequence[Any]) -> Answer:
    if any(score is None for score in replies):
        return Answer(None, UNPARSED)
    return Answer(repr(trimmed_mean(replies)), "raters")


_CALLS: dict[str, Callable[[JudgeKind, Doc, Parted], Iterator[Call]]] = {
    "align": _align_calls,
    "pair": _pair_calls,
    "rubric": _rubric_calls,
    "grade": _grade_calls,
}
_VERDICTS: dict[str, Callable[[Doc, Sequence[Any]], Answer]] = {
    "align": _align_verdict,
    "pair": _pair_verdict,
    "rubric": _rubric_verdict,
}
