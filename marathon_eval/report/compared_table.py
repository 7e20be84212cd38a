"""Formats the comparison of two runs as a LaTeX table: a row per task with its headline's difference, in points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marathon_eval.report.cost import STAR_P, starred
from marathon_eval.report.tables import LATEX_LOWER, STAR, for_latex, one_line
from marathon_eval.results.directions import marked
from marathon_eval.scoring.stats import p_text

#: Heads hold names up to this length; longer ones stand in rows below the table, where the heads are A and B.
_LONGEST_HEAD = 24
_P_ROW = "$p$: exact sign-flip test of right answers over clips, also where the metric is another, such as macro-F1"
#: Where a row has its p.
_P_PLACE = 6
_STAR_ROW = f"{STAR}: $p$ below {STAR_P} after Holm's correction over the tasks of a reading"
_NO_P_ROW = f"{STAR} without a $p$ (graded answers): the 95\\,\\% interval leaves out 0"
_COMMENTS = (
    r"% Needs \usepackage{booktabs}. Differences are paired by document.",
    "% The star marks a difference; in the table that `compare` prints, the star marks the headline metric.",
)


def comparison_latex(comparison: Mapping[str, Any]) -> str:
    r"""Return a LaTeX tabular of `compare`'s result; it needs \usepackage{booktabs}.

    Numbers are on the scale of the task's headline (0 to 100 for most tasks); a task without one has its first metric.
    """
    names = _names(comparison)
    folders = [
        one_line(f"% {side.upper()}: {name} ({comparison[side]['folder']})")
        for side, name in zip("ab", names, strict=True)
    ]
    rows = list(_rows(comparison))
    return "\n".join(
        [
            *folders,
            *_COMMENTS,
            r"\begin{tabular}{llrrrlrr}",
            r"\toprule",
            _head(names),
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            *(
                rf"\multicolumn{{8}}{{l}}{{\footnotesize {note}}} \\"
                for note in _notes(names, rows, comparison["tasks"])
            ),
            r"\end{tabular}",
            "",
        ]
    )


def _names(comparison: Mapping[str, Any]) -> list[str]:
    """Return the runs' names with condition and selection; those that are alike have the time they started."""
    names = [", ".join([comparison[side]["name"], *comparison[side]["label"]]) for side in "ab"]
    if names[0] == names[1]:
        return [f"{name} @ {comparison[side]['started']}" for name, side in zip(names, "ab", strict=True)]
    return names


def _in_heads(names: Sequence[str]) -> bool:
    return names[0] != names[1] and all(len(name) <= _LONGEST_HEAD for name in names)


def _head(names: Sequence[str]) -> str:
    a, b, difference = (*map(for_latex, names), "difference") if _in_heads(names) else ("A", "B", "B $-$ A")
    return rf"task & metric & {a} & {b} & {difference} & 95\,\% CI & $p$ (Holm) & $n$ \\"


def _notes(names: Sequence[str], rows: Sequence[Sequence[str]], tasks: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rows below the table: the sides' names, what a star says, and which tasks had two judges or metrics."""
    a, b = map(for_latex, names)
    yield from [f"difference: {b} $-$ {a}"] if _in_heads(names) else [f"A: {a}", f"B: {b}"]
    if any(row[_P_PLACE] != "--" for row in rows):
        yield _P_ROW
    yield _STAR_ROW
    if any(row[_P_PLACE] == "--" for row in rows):
        yield _NO_P_ROW
    if any(LATEX_LOWER in row[1] for row in rows):
        yield f"{LATEX_LOWER}: lower is better"
    yield from (
        f"{for_latex(name)}: the judges of the two runs differ"
        for name, task in tasks.items()
        if task["judge_differences"]
    )
    yield from (
        f"{for_latex(name)}: the metrics of the two runs differ"
        for name, task in tasks.items()
        if task["metric_differences"]
    )
    yield from _left_out(tasks)


def _left_out(tasks: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row for each task of whose headline the table's n leaves out documents that both runs scored."""
    for name, task in tasks.items():
        reading = task["readings"].get((task["headline"] or {}).get("reading"))
        if reading is not None and reading["n_left_out"]:
            yield f"{for_latex(name)}: {reading['n_left_out']} of {task['n_paired']} documents without a judgement in one run are left out"


def _rows(comparison: Mapping[str, Any]) -> Iterator[list[str]]:
    for task in comparison["tasks"].values():
        headline = task["headline"] or {}
        wanted = headline.get("reading")
        of_row = wanted if wanted in task["readings"] else next(iter(task["readings"]), None)
        reading = task["readings"].get(of_row)
        if reading is None or not reading["metrics"]:
            continue
        wanted = str(headline.get("metric"))
        name: str = wanted if wanted in reading["metrics"] else next(iter(reading["metrics"]))
        lower = name in task["lower_is_better"].get(of_row, ())
        metric, scale = reading["metrics"][name], headline.get("scale", 1.0)
        scores = ("--" if metric[side] is None else _number(metric[side], scale) for side in "ab")
        p = reading["discordance"]["holm_p"] if reading["discordance"] else None
        yield [
            for_latex(task["task"]),
            marked(for_latex(name), lower != (scale < 0), LATEX_LOWER),
            *scores,
            _difference(metric, scale, p),
            _interval(metric, scale),
            "--" if p is None else p_text(p).replace("<", "$<$"),
            str(reading["n"] - metric["n_unscored"]),
        ]


def _number(value: float, scale: float, sign: str = "") -> str:
    """Return a number on its scale: points with one digit, fractions with three."""
    return f"{value * scale:{sign}.{1 if abs(scale) > 1 else 3}f}".replace("-", "$-$")


def _difference(metric: Mapping[str, Any], scale: float, p: float | None) -> str:
    if metric["difference"] is None:
        return "--"
    low, high = metric["ci95"] or (None, None)
    return _number(metric["difference"], scale, "+") + (STAR if starred(p, low, high) else "")


def _interval(metric: Mapping[str, Any], scale: float) -> str:
    if metric["ci95"] is None:
        return for_latex(metric["no_interval"] or metric["reason"] or "--")
    ends = metric["ci95"] if scale > 0 else reversed(metric["ci95"])
    return " to ".join(_number(end, scale, "+") for end in ends)
