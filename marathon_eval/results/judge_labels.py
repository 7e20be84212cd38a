"""Reads judgements to compare: the judge's last replies in a run's samples, or a file of labels given by people."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.results.files import newest_run, read_results, read_samples
from marathon_eval.scoring.judge import NO_CHOICE, Pair, Pass, read_letter
from marathon_eval.scoring.reasoning import parted
from marathon_eval.scoring.released.air_bench import two_scores
from marathon_eval.task.data.csv_rows import CSV_DELIMITERS
from marathon_eval.task.data.parsing import parsed_rows

LABEL_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PAIR_VERDICTS = ("win", "tie", "loss")
#: Kinds of judging whose judgements hold a number; `SCORE` stands for the one of them that the other side has.
SCORED = ("pair", "rubric", "grade")
SCORE = "score"
#: The metric of one judge's grades, or of several together.
_GRADE = re.compile(r"grade\[(.+)\]")


@dataclass(frozen=True)
class Judgement:
    """Holds the judgement of one row by a judge or person. `label` is a verdict, an option's letter or "none"."""

    label: str | None
    score: float | None = None
    pair: Pair | None = None
    response: Any = None
    #: The scale that the run's task declares for its judge; None where it recorded none.
    scale: tuple[float, float] | None = None
    #: File and line of a label that people gave.
    where: str | None = None


class Place(NamedTuple):
    """Identifies the row and the kind of a judgement."""

    kind: str
    task: str
    doc_id: int


Judgements = Mapping[Place, Judgement]


def judgements(path: Path, judge: str | None = None) -> dict[Place, Judgement]:
    """Read the judgements of a run's folder or of a file of labels; of a panel the grades of `judge` alone if it is named.

    Raises MarathonError.
    """
    return dict(_of_run(newest_run(path), judge) if path.is_dir() else _of_labels(path))


def judge_names(path: Path) -> list[str]:
    """Return the names of the judges that graded a run's answers, each alone; none for a file of labels."""
    if not path.is_dir():
        return []
    tasks = read_results(newest_run(path))["tasks"].values()
    readings = [task[reading] for task in tasks for reading in task["readings"]]
    found = [_GRADE.fullmatch(metric) for metrics in readings for metric in metrics]
    return list(dict.fromkeys(name[1] for name in found if name is not None and "+" not in name[1]))


def _of_run(folder: Path, judge: str | None) -> Iterator[tuple[Place, Judgement]]:
    any_judged = False
    results = read_results(folder)
    for task in results["tasks"]:
        scales = _scales(results, task)
        for row in read_samples(folder, task):
            for kind, texts in row.get("judge", {}).items():
                any_judged = True
                judgement = _judged(kind, texts, row, judge)
                if judgement is not None:
                    yield Place(kind, task, row["doc_id"]), replace(judgement, scale=scales.get(kind))
    if not any_judged:
        raise MarathonError(f"{folder}: no row was judged (was the run made with --judge_model?)")


def _scales(results: Mapping[str, Any], task: str) -> dict[str, tuple[float, float]]:
    """Return the scale of each kind of judging that the run recorded; a file may hold anything in its place."""
    found: Any = results.get("manifests")
    for name in (task, "judge", "scales"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return {
        kind: (float(ends[0]), float(ends[1]))
        for kind, ends in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
    }


def _judged(
    kind: str, texts: Sequence[Sequence[str]], row: Mapping[str, Any], judge: str | None
) -> Judgement | None:
    """Build a row's judgement from the last reply of each call; None if there is none or it is unreadable."""
    replies = [parted(tries[-1]).answer or "" if tries else "" for tries in texts]
    if kind == "pair" and len(replies) == 2:
        straight, swapped = (two_scores(text) for text in replies)
        pair = Pair(straight and Pass(*straight), swapped and Pass(swapped[1], swapped[0]))
        return _of_pair(pair, row["response"])
    if kind == "align" and replies:
        letter = read_letter(replies[0], LABEL_LETTERS)
        return None if letter is None else Judgement(letter, response=row["response"])
    if kind in ("rubric", "grade") and replies:
        metric = "rubric_score" if kind == "rubric" else "grade[" if judge is None else f"grade[{judge}]"
        scores = [
            reading["scores"][name]
            for reading in row["readings"].values()
            for name in reading["scores"]
            if name.startswith(metric)
        ]
        return None if None in scores or not scores else Judgement(None, scores[0], response=row["response"])
    return None


def _of_pair(pair: Pair, response: Any) -> Judgement | None:
    if len(pair.passes) < 2:
        return None
    answer, reference = (
        sum(side) / 2
        for side in zip(*((rated.answer, rated.reference) for rated in pair.passes), strict=True)
    )
    label = "win" if answer > reference else "loss" if answer < reference else "tie"
    return Judgement(label, answer, pair, response)


def _of_labels(path: Path) -> Iterator[tuple[Place, Judgement]]:
    """Read rows with `doc_id`, `task` if there are several, and `label` (win, tie, loss, a letter, none) or `score`.

    A row where both are empty is passed over.
    A score alone is of the kind of judging that the other side has; `kind` names it where that has several.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MarathonError(f"{path}: cannot read ({error.strerror})") from None
    seen: set[Place] = set()
    form = path.suffix.lstrip(".").lower()
    rows = parsed_rows(content, form, None, str(path))
    for row, place_in_file in zip(rows, row_places(content, form, len(rows)), strict=True):
        where = f"{path}{place_in_file}"
        if not isinstance(row, Mapping) or "doc_id" not in row or not {"label", "score"} & row.keys():
            raise MarathonError(f"{where}: needs doc_id, and label or score")
        label, score = _label(row.get("label"), where), _number(row.get("score"), where)
        if label is None and score is None:  # an empty cell: nobody judged the row
            continue
        kind = _kind(row.get("kind"), label, where)
        place = Place(kind, str(row.get("task") or ""), _whole(row["doc_id"], where))
        if place in seen:
            raise MarathonError(f"{where}: doc_id {place.doc_id} is there twice")
        seen.add(place)
        yield place, Judgement(label, score, where=where)


def row_places(content: bytes, form: str, count: int) -> list[str]:
    """Return `:line` of each of a file's rows, or `: row N` (from 0) where rows have no lines of their own, as in JSON."""
    text = content.decode("utf-8-sig")
    numbers: list[int] = []
    if form in CSV_DELIMITERS:
        reader, begin = csv.reader(io.StringIO(text, newline=""), delimiter=CSV_DELIMITERS[form]), 1
        for cells in reader:
            numbers += [begin] if cells else []
            begin = reader.line_num + 1
        numbers = numbers[1:]
    elif form == "jsonl":
        numbers = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return (
        [f":{number}" for number in numbers]
        if len(numbers) == count
        else [f": row {n}" for n in range(count)]
    )


def _kind(named: Any, label: str | None, where: str) -> str:
    """Return the kind of judging that a row of labels is of. Raises MarathonError for a name that is none of a score."""
    if label is not None:
        return "pair" if label in PAIR_VERDICTS else "align"
    if named in (None, ""):
        return SCORE
    if named not in SCORED:
        raise unknown(where, "kind of judging with scores", str(named), SCORED)
    return str(named)


def _label(value: Any, where: str) -> str | None:
    if value in (None, ""):
        return None
    text = str(value).strip().lower()
    if text in (*PAIR_VERDICTS, NO_CHOICE):
        return text
    if len(text) == 1 and text.upper() in LABEL_LETTERS:
        return text.upper()
    error = unknown(where, "label", text, (*PAIR_VERDICTS, "A", "B", "C", "D", NO_CHOICE))
    raise MarathonError(f"{error}. A grade in words is given as its number, in score")


def _number(value: Any, where: str) -> float | None:
    try:
        number = None if value in (None, "") else float(value)
    except (TypeError, ValueError, OverflowError):
        raise MarathonError(f"{where}: score must be a number, got {value!r}") from None
    if number is not None and not math.isfinite(number):
        raise MarathonError(
            f"{where}: score must be a finite number, or empty for a row without one, got {value!r}"
        )
    return number


def _whole(value: Any, where: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    # int() takes 1.7 for 1, and true for 1
    if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise MarathonError(f"{where}: doc_id must be a row's number, got {value!r}")
    return number
