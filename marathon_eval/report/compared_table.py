"""Formats the comparison of two runs as a LaTeX table: a row per task with its headline's difference, in points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marathon_eval.report.cost import starred
from marathon_eval.report.tables import STAR, STAR_NOTE, for_latex, one_line
from marathon_eval.scoring.stats import p_text

_HEAD = r"task & metric & A & B & B $-$ A & 95\,\% CI & $p$ (Holm) & $n$ \\"


def comparison_latex(comparison: Mapping[str, Any]) -> str:
    r"""Return a LaTeX tabular of `compare`'s result; it needs \usepackage{booktabs}.

    Numbers are on the scale of the task's headline (0 to 100 for most tasks); a task without one has its first metric.
    """
    names = [
        one_line(f"% {side.upper()}: {comparison[side]['name']} ({comparison[side]['folder']})")
        for side in "ab"
    ]
    return "\n".join(
        [
            *names,
            f"% Differences are B minus A, paired by document. {STAR_NOTE}",
            r"\begin{tabular}{llrrrlrr}",
            r"\toprule",
            _HEAD,
            r"\midrule",
            *_rows(comparison),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _rows(comparison: Mapping[str, Any]) -> Iterator[str]:
    for task in comparison["tasks"].values():
        headline = task["headline"] or {}
        reading = task["readings"].get(headline.get("reading")) or next(iter(task["readings"].values()), None)
        if reading is None or not reading["metrics"]:
            continue
        wanted = str(headline.get("metric"))
        name: str = wanted if wanted in reading["metrics"] else next(iter(reading["metrics"]))
        metric, scale = reading["metrics"][name], headline.get("scale", 1.0)
        scores = ("--" if metric[side] is None else _number(metric[side], scale) for side in "ab")
        p = reading["discordance"]["holm_p"] if reading["discordance"] else None
        cells = [
            for_latex(task["task"]),
            for_latex(name),
            *scores,
            _difference(metric, scale, p),
            _interval(metric, scale),
            "--" if p is None else p_text(p).replace("<", "$<$"),
            str(task["n_paired"]),
        ]
        yield " & ".join(cells) + r" \\"


def _number(value: float, scale: float, sign: str = "") -> str:
    """Return a number on its scale: points with one digit, fractions with three."""
    return f"{value * scale:{sign}.{1 if scale > 1 else 3}f}".replace("-", "$-$")


def _difference(metric: Mapping[str, Any], scale: float, p: float | None) -> str:
    if metric["difference"] is None:
        return "--"
    low, high = metric["ci95"] or (None, None)
    return _number(metric["difference"], scale, "+") + (STAR if starred(p, low, high) else "")


def _interval(metric: Mapping[str, Any], scale: float) -> str:
    if metric["ci95"] is None:
        return for_latex(metric["no_interval"] or metric["reason"] or "--")
    return " to ".join(_number(end, scale, "+") for end in metric["ci95"])
