"""Checks, before weights load, that a task's scorers tell right answers from wrong ones on rows of its data.

For every reading and metric, some spelling of a gold answer must get the best score and the same spelling of a wrong
answer must not. Rows are tried until one shows both, because a released rule may misread one gold answer by design. A
scorer that no row confirms would score every answer as wrong, or every answer as right.

`validate_task` scores plain gold and wrong answers with `gold_and_wrong_text` and `row_for_text` of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.doc import Doc
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import RowError
from marathon_eval.evaluator.gold_spellings import spellings
from marathon_eval.scoring.grades import GRADE_METRICS
from marathon_eval.scoring.scorer import scored_row, target_at_turn

if TYPE_CHECKING:
    from marathon_eval.api.filter import FilterContext
    from marathon_eval.scoring.scorer import Reading
    from marathon_eval.task.task import Task

#: Metrics whose best value does not depend on right answers: baselines, counts of parsed answers, judges' ratings.
NEUTRAL = frozenset(
    {
        "chance",
        "majority",
        "parse_rate",
        "invalid",
        "air_bench.invalid",
        "judge_score",
        "reference_score",
        "win_rate",
        "position_bias",
        "flip_rate",
        "judge_parse_rate",
        "rules_followed",
        "mmau_pro.followed",
        "rubric_score",
        # parts of a word error rate, which is checked itself; a wrong answer need not have every kind of edit
        "substitution_rate",
        "deletion_rate",
        "insertion_rate",
        # what judges grade
        *GRADE_METRICS,
    }
)
#: Rows on which a scorer is tried.
ROWS_TRIED = 8
#: Words of a long gold answer, from its end, that are tried as the answer.
WORDS_TRIED = 12
#: A text that is never a gold answer.
NONSENSE = "zq xv kw jj"


@dataclass
class Checked:
    """Lists a task's scorers: those that tell right from wrong, faults of those that do not, and undecided ones."""

    telling: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


def check_scorers(task: Task, docs: Sequence[Doc]) -> Checked:
    """Check every reading and metric of a task on rows of its data; a faulty scorer is described in one line."""
    checked = Checked()
    judged = judged_readings(task)
    for name, reading in task.readings.items():
        rows = _rows_to_try(at_reading(docs, reading))
        for metric in reading.metrics:
            scorer = f"{name}: {metric.name}"
            if "code" in metric.spec:
                if reason := _fault_of_own(task, reading, metric, rows):
                    checked.faults.append(f"{task.name}: {metric.name} of the reading '{name}' {reason}")
                continue
            if name in judged or not tells(metric):
                continue
            fault = _fault(task, reading, metric, rows) if rows else ""
            if fault is None:
                checked.telling.append(scorer)
            elif fault:
                where = task.document.where("filter_list", list(task.readings).index(name))
                checked.faults.append(f"{where}: {task.name}: {metric.name} of the reading '{name}' {fault}")
            else:
                checked.untold.append(scorer)
    return checked


def tells(metric: Metric) -> bool:
    """Return whether the metric measures right answers.

    False for metrics of the `evaluate` package: they are not run to find out, because that may download from the hub.
    """
    name = str(metric.spec.get("metric", ""))
    return name not in NEUTRAL and not name.startswith("evaluate:") and not metric.spec.get("hf_evaluate")


def judged_readings(task: Task) -> set[str]:
    """Return the readings that need a judge's verdict; they are skipped, because no judge has been asked yet."""
    return {
        str(spec["name"])
        for spec in task.config.filter_list
        if any(str(step.get("function", "")).startswith("judge_") for step in spec["filter"])
    }


def at_reading(docs: Sequence[Doc], reading: Reading) -> Sequence[Doc]:
    """Return the documents with the target that the reading is compared with: of a dialogue, that of its turn."""
    turn = reading.pipeline.turn
    if turn is None:
        return docs
    return [
        replace(doc, target=target_at_turn(doc, turn))
        for doc in docs
        if turn == "last" or not isinstance(doc.target, tuple) or len(doc.target) >= turn
    ]


def _rows_to_try(docs: Sequence[Doc]) -> list[Doc]:
    """Return at most ROWS_TRIED rows that can be asked, with different targets first."""
    usable = [doc for doc in docs if doc.error is None and doc.target]
    first_by_target = {doc.target: doc for doc in reversed(usable)}
    others = [doc for doc in usable if first_by_target[doc.target] is not doc]
    return [*first_by_target.values(), *others][:ROWS_TRIED]


def _fault_of_own(task: Task, reading: Reading, metric: Metric, rows: Sequence[Doc]) -> str:
    """Return why a user's metric scores no row, neither its gold answer nor another text; empty if it scores one."""
    reason = ""
    for doc in rows:
        for text in (", ".join(_targets(doc)), NONSENSE):
            try:
                metric.score(row_for_text(task, reading, doc, text))
            except RowError as error:
                reason = str(error)
            else:
                return ""
    return f"fails on every row tried: {reason}" if reason else ""


class RowEvidence(NamedTuple):
    """Says whether, on one row, a gold answer got the best score, a wrong answer got it, and a wrong one got less."""

    right: bool
    wrong_best: bool
    wrong_less: bool


def _fault(task: Task, reading: Reading, metric: Metric, rows: Sequence[Doc]) -> str | None:
    """Describe what is wrong with a scorer; None if nothing is, "" if the rows do not decide."""
    steps = steps_of(task, reading)
    best = 1.0 if metric.higher_is_better else 0.0
    evidence: list[RowEvidence] = []
    complete = True
    for doc in rows:
        other_targets = [text for other in rows if other.target != doc.target for text in _targets(other)]
        trials = _trials(steps, doc, task.context(doc), other_targets)
        row_evidence = _evidence(partial(_score, task, reading, metric, doc), best, trials.texts)
        complete = complete and trials.complete
        if row_evidence is None:
            continue
        if row_evidence.right and row_evidence.wrong_less:
            return None
        evidence.append(row_evidence)
    if any(row.right and row.wrong_best for row in evidence):
        return f"gives {best:g} whatever is answered: a wrong answer gets it too"
    if any(row.right for row in evidence) or not evidence or not complete:
        return ""
    if len({doc.target for doc in rows}) < 2:  # a released rule may misread one gold answer
        return ""
    gold = shorten(", ".join(_targets(rows[0])), 60, placeholder=" …")
    advice = choice_advice(task, reading, rows[0])
    return f"never gives {best:g}: no gold answer of {len(evidence)} rows gets it, such as '{gold}', however it is written{advice}"


def choice_advice(task: Task, reading: Reading, doc: Doc) -> str:
    """Return which filter is meant where `choice` names options by letters that the task does not show; else an empty text."""
    context = task.context(doc)
    functions = [step["function"] for step in steps_of(task, reading)]
    if "choice" not in functions or context.letters or not context.choices:
        return ""
    return ". The filter choice answers a letter, and choice_layout: plain shows none: write the filter choice_text"


def _evidence(
    score: Callable[[str], float | None], best: float, trials: Sequence[tuple[str, list[str]]]
) -> RowEvidence | None:
    """Score the trials of one row; None if the metric gives no gold answer of the row a score."""
    scored = right = wrong_best = False
    for gold, wrongs in trials:
        gold_score = score(gold)
        scored = scored or gold_score is not None
        if gold_score != best:
            continue
        right = True
        wrong_scores = {score(wrong) for wrong in wrongs} - {None}
        wrong_best = wrong_best or best in wrong_scores
        if wrong_scores - {best}:
            return RowEvidence(True, wrong_best, True)
    return RowEvidence(right, wrong_best, False) if scored else None


def steps_of(task: Task, reading: Reading) -> Sequence[Mapping[str, Any]]:
    """Return the filters of a reading as the task writes them."""
    spec = next(spec for spec in task.config.filter_list if spec["name"] == reading.name)
    steps: Sequence[Mapping[str, Any]] = spec["filter"]
    return steps


def _score(task: Task, reading: Reading, metric: Metric, doc: Doc, text: str) -> float | None:
    """Return the score of one response text; None if the metric does not score the row."""
    try:
        return metric.score(row_for_text(task, reading, doc, text))
    except RowError:
        return None


def row_for_text(task: Task, reading: Reading, doc: Doc, text: str) -> ScoredRow:
    """Return the row as metrics take it when a model's responses (all repeats) to `doc` are `text`.

    Raises RowError where the filters or the row's target do not allow that.
    """
    context = task.context(doc)
    turn = reading.pipeline.turn
    answer = reading.pipeline.apply(
        [text] * (turn if isinstance(turn, int) else task.config.repeats), context
    )
    return scored_row(doc, context, answer, task.scorer.cluster(doc), turn)


def gold_and_wrong_text(task: Task, doc: Doc) -> tuple[str, str | None]:
    """Return a plain response that is right and one that is wrong (None for open questions).

    Options are given by letter, or by their text where they are shown without letters.
    """
    options = split_options(doc, task.context(doc))
    if not options.right:  # options that only a filter reads need not contain the gold answer
        return _targets(doc)[0], None
    return options.right[0][0], options.wrong[0][0] if options.wrong else None


def _targets(doc: Doc) -> tuple[str, ...]:
    return (doc.target,) if isinstance(doc.target, str) else doc.target or ()


class Trials(NamedTuple):
    """Pairs a gold answer, as a model may write it, with wrong answers written the same way.

    `complete` False: a filter may read spellings that are not among them (see `gold_spellings.Spelled`).
    """

    texts: list[tuple[str, list[str]]]
    complete: bool


def _trials(
    steps: Sequence[Mapping[str, Any]], doc: Doc, context: FilterContext, other_targets: Sequence[str]
) -> Trials:
    gold, wrong = _gold_and_wrong_contents(doc, context)
    texts, complete = [], True
    for form in (_plain, _lettered, _bracketed, _named):
        for content in gold:
            gold_text = form(content, context)
            wrong_texts = [form(text, context) for text in wrong] or [*other_targets, NONSENSE]
            spelled = spellings(steps, _variants(gold_text))
            complete = complete and spelled.complete
            for text in spelled.texts:
                replaced = [text.replace(gold_text, wrong_text) for wrong_text in wrong_texts]
                texts.append((text, [*replaced, *wrong_texts, NONSENSE]))
    return Trials(texts, complete)


class SplitOptions(NamedTuple):
    """Holds a row's right and wrong options as (letter, text); without letters the text stands for both."""

    right: list[tuple[str, str]]
    wrong: list[tuple[str, str]]


def split_options(doc: Doc, context: FilterContext) -> SplitOptions:
    """Split a row's options; one is right if its letter or its text is a target."""
    targets = _targets(doc)
    options = list(zip(context.letters or context.choices, context.choices, strict=False))
    right = [
        option
        for place, option in enumerate(options)
        if any(context.means(target, place) for target in targets)
    ]
    return SplitOptions(right, [option for option in options if option not in right])


def _gold_and_wrong_contents(doc: Doc, context: FilterContext) -> tuple[list[str], list[str]]:
    """Return the right answers and the wrong ones: the targets, and each option's letter and text."""
    options = split_options(doc, context)
    right_texts = {text for _, text in options.right}
    repeated = [option for option in options.wrong if option[1] in right_texts]
    # metrics of sets and intervals want all targets at once
    together = [", ".join(_targets(doc))] if len(_targets(doc)) > 1 else []
    gold = [*_targets(doc), *together, *(part for option in (*options.right, *repeated) for part in option)]
    wrong = [part for option in options.wrong if option not in repeated for part in option]
    return list(dict.fromkeys(gold)), list(dict.fromkeys(wrong))


def _plain(text: str, context: FilterContext) -> str:
    return text


def _lettered(text: str, context: FilterContext) -> str:
    """Return `B. dog` if the text is an option's letter."""
    if text not in context.letters:
        return text
    return f"{text}. {context.choices[context.letters.index(text)]}"


def _bracketed(text: str, context: FilterContext) -> str:
    return f"({text})"


def _named(text: str, context: FilterContext) -> str:
    return f"The answer is {text}."


def _variants(text: str) -> list[str]:
    """Return forms that a metric may accept as the same answer; a pattern may capture only one of them.

    Single words are included, because a target may be a whole solution of which a metric compares the end, as in
    "1 + 2 is 3. #### 3".
    """
    punctuation = " .,;:!?()[]$%\"'"
    digits = "".join(character for character in text if character.isdigit() or character in ".-")
    words = text.split()[::-1][:WORDS_TRIED]
    forms = [text, text.strip(), text.lower(), text.upper(), text.strip(punctuation), digits]
    forms += [form for word in words for form in (word, word.strip(punctuation), word.replace(",", ""))]
    return [form for form in dict.fromkeys(forms) if form.strip()]
