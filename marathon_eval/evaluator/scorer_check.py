"""Whether a task's scorers can tell right from wrong: tried on real rows before any weight loads.

For every reading and metric some way of writing a gold answer must get the best score, and the same way of writing a
wrong one must not. Rows are tried until one shows both, for a released rule may misread one gold answer by design; what
no row shows is a scorer that would call every answer wrong, or every answer right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.doc import Doc
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import RowError
from marathon_eval.evaluator.gold_spellings import spellings

if TYPE_CHECKING:
    from marathon_eval.api.filter import FilterContext
    from marathon_eval.scoring.scorer import Reading
    from marathon_eval.task.task import Task

#: Metrics whose best value is no matter of being right: baselines, counts of what was read, and judges' opinions.
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
        "rubric_score",
        # parts of a rate that the whole of is checked; one kind of edit may be absent from a wrong answer
        "substitution_rate",
        "deletion_rate",
        "insertion_rate",
    }
)
ROWS_TRIED = 8
WORDS_TRIED = 12
#: What no gold answer is.
NONSENSE = "zq xv kw jj"


@dataclass
class Checked:
    """What came of one task: scorers that tell, that do not, and those of which nothing can be said."""

    telling: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


def check_scorers(task: Task, docs: Sequence[Doc]) -> Checked:
    """Every reading and metric of a task on its own rows, one line for each that cannot be right."""
    found = Checked()
    rows = _chosen(docs)
    judged = judged_readings(task)
    for name, reading in task.readings.items():
        for metric in reading.metrics:
            said = f"{name}: {metric.name}"
            if name in judged or not tells(metric):
                continue
            fault = _fault(task, reading, metric, rows) if rows else ""
            if fault is None:
                found.telling.append(said)
            elif fault:
                where = task.document.where("filter_list", list(task.readings).index(name))
                found.faults.append(f"{where}: {task.name}: {metric.name} of the reading '{name}' {fault}")
            else:
                found.untold.append(said)
    return found


def tells(metric: Metric) -> bool:
    """Whether being right is what the metric measures. One of another package is not run to find out: that may load a hub."""
    called = str(metric.spec.get("metric", ""))
    return called not in NEUTRAL and not called.startswith("evaluate:") and not metric.spec.get("hf_evaluate")


def judged_readings(task: Task) -> set[str]:
    """Readings of what a judge said: nobody has been asked yet."""
    return {
        str(spec["name"])
        for spec in task.config.filter_list
        if any(str(step.get("function", "")).startswith("judge_") for step in spec["filter"])
    }


def _chosen(docs: Sequence[Doc]) -> list[Doc]:
    """A few rows that can be asked, with different right answers as far as there are."""
    usable = [doc for doc in docs if doc.error is None and doc.target]
    first = {doc.target: doc for doc in reversed(usable)}
    others = [doc for doc in usable if first[doc.target] is not doc]
    return [*first.values(), *others][:ROWS_TRIED]


class Shown(NamedTuple):
    """What rows show of one scorer: a gold answer with the best score, a wrong one with it, one with another."""

    right: bool
    wrong_best: bool
    wrong_less: bool


def _fault(task: Task, reading: Reading, metric: Metric, rows: Sequence[Doc]) -> str | None:
    """What is wrong, None where nothing is, "" where no row says."""
    steps = _steps(task, reading)
    best = 1.0 if metric.higher_is_better else 0.0
    shown: list[Shown] = []
    complete = True
    for doc in rows:
        others = [text for other in rows if other.target != doc.target for text in _targets(other)]
        ways = _ways(steps, doc, task.context(doc), others)
        found = _shown(partial(_score, task, reading, metric, doc), best, ways.texts)
        complete = complete and ways.complete
        if found is not None and found.right and found.wrong_less:
            return None
        shown += [found] if found is not None else []
    if any(one.right and one.wrong_best for one in shown):
        return f"gives {best:g} whatever is answered: a wrong answer gets it too"
    if any(one.right for one in shown) or not shown or not complete:
        return ""
    if len({doc.target for doc in rows}) < 2:  # a released rule may misread one gold answer
        return ""
    gold = shorten(", ".join(_targets(rows[0])), 60, placeholder=" …")
    return f"never gives {best:g}: no gold answer of {len(shown)} rows gets it, such as '{gold}', however it is written"


def _shown(
    score: Callable[[str], float | None], best: float, ways: Sequence[tuple[str, list[str]]]
) -> Shown | None:
    """One row's; None where the metric says nothing of it."""
    spoken = right = wrong_best = False
    for gold, wrongs in ways:
        given = score(gold)
        spoken = spoken or given is not None
        if given != best:
            continue
        right = True
        others = {score(wrong) for wrong in wrongs} - {None}
        wrong_best = wrong_best or best in others
        if others - {best}:
            return Shown(True, wrong_best, True)
    return Shown(right, wrong_best, False) if spoken else None


def _steps(task: Task, reading: Reading) -> Sequence[Mapping[str, Any]]:
    spec = next(spec for spec in task.config.filter_list if spec["name"] == reading.name)
    steps: Sequence[Mapping[str, Any]] = spec["filter"]
    return steps


def _score(task: Task, reading: Reading, metric: Metric, doc: Doc, text: str) -> float | None:
    """One answer's score; None where the metric says nothing of the row."""
    context = task.context(doc)
    try:
        answer = reading.pipeline.apply([text] * task.config.repeats, context)
        return metric.score(ScoredRow(answer, doc.target or "", context, ""))
    except RowError:
        return None


def _targets(doc: Doc) -> tuple[str, ...]:
    return (doc.target,) if isinstance(doc.target, str) else doc.target or ()


class Ways(NamedTuple):
    """(a gold answer as a model may write it, wrong ones written the same way); as `Spelled` says of completeness."""

    texts: list[tuple[str, list[str]]]
    complete: bool


def _ways(
    steps: Sequence[Mapping[str, Any]], doc: Doc, context: FilterContext, others: Sequence[str]
) -> Ways:
    gold, wrong = _contents(doc, context)
    texts, complete = [], True
    for form in (_plain, _lettered, _bracketed, _named):
        for content in gold:
            golden = form(content, context)
            falsely = [form(text, context) for text in wrong] or [*others, NONSENSE]
            spelled = spellings(steps, _variants(golden))
            complete = complete and spelled.complete
            for text in spelled.texts:
                texts.append(
                    (text, [*(text.replace(golden, other) for other in falsely), *falsely, NONSENSE])
                )
    return Ways(texts, complete)


def _contents(doc: Doc, context: FilterContext) -> tuple[list[str], list[str]]:
    """The right answers, and the wrong options: letters where the row has them, and texts."""
    targets = _targets(doc)
    named = list(zip(context.letters or context.choices, context.choices, strict=False))
    right = {text for letter, text in named if letter in targets or text in targets}
    gold = [*targets, *(part for letter, text in named if text in right for part in (letter, text))]
    wrong = [part for letter, text in named if text not in right for part in (letter, text)]
    return list(dict.fromkeys(gold)), list(dict.fromkeys(wrong))


def _plain(text: str, context: FilterContext) -> str:
    return text


def _lettered(text: str, context: FilterContext) -> str:
    """`B. dog` where the text is an option's letter."""
    if text not in context.letters:
        return text
    return f"{text}. {context.choices[context.letters.index(text)]}"


def _bracketed(text: str, context: FilterContext) -> str:
    return f"({text})"


def _named(text: str, context: FilterContext) -> str:
    return f"The answer is {text}."


def _variants(text: str) -> list[str]:
    """Forms that a metric may take for the same answer, of which a pattern captures perhaps one only.

    Words too: gold may be a whole solution of which a metric compares the end, as in "1 + 2 is 3. #### 3".
    """
    around = " .,;:!?()[]$%\"'"
    digits = "".join(sign for sign in text if sign.isdigit() or sign in ".-")
    words = text.split()[::-1][:WORDS_TRIED]
    forms = [text, text.strip(), text.lower(), text.upper(), text.strip(around), digits]
    forms += [word for one in words for word in (one, one.strip(around), one.replace(",", ""))]
    return [form for form in dict.fromkeys(forms) if form.strip()]
