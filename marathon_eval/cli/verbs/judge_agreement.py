"""How far two judges agree, or a judge and people: agreement, Cohen's kappa, and each judge's position bias."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.results.agreement import Agreement, Bias

LABEL_KINDS = {
    "pair": "answer against reference",
    "align": "which option an answer means",
    "rubric": "rating of the reasoning",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("one", "other"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="a judged run's folder (the same answers in both), or a json, jsonl or csv file of labels: "
            "doc_id, and label (win, tie, loss, an option's letter, none) or score; task where there are several",
        )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results.agreement import agreement_as_json, bias, compared_labels
    from marathon_eval.results.judge_labels import judgements

    for path in (arguments.one, arguments.other):
        if not Path(path).exists():
            raise MarathonError(f"judge_agreement: {path}: no such file or folder")
    one, other = judgements(Path(arguments.one)), judgements(Path(arguments.other))
    found, biases = compared_labels(one, other), (bias(one), bias(other))
    if arguments.json:
        print(json.dumps(agreement_as_json(found, *biases), indent=1))
        return EXIT_WHOLE
    for agreement in found:
        print("\n".join(agreement_lines(agreement)))
    for path, judge in zip((arguments.one, arguments.other), biases, strict=True):
        if judge.n:
            print(order_told(path, judge))
    return EXIT_WHOLE


def agreement_lines(found: Agreement) -> list[str]:
    """One kind of judging in one task."""
    lines = [
        f"{found.task or 'all rows'}: {LABEL_KINDS.get(found.kind, found.kind)}, {found.n} rows judged by both"
    ]
    if found.n_one_alone or found.n_other_alone:
        lines[0] += f" ({found.n_one_alone} and {found.n_other_alone} by one alone)"
    if found.agreement is not None and found.ci95 is not None:
        low, high = found.ci95
        lines.append(f"  agreement        {found.agreement:.1%}  [{low:.1%}, {high:.1%}]")
    for name, value in (
        ("Cohen's kappa", found.kappa),
        ("weighted kappa", found.weighted_kappa),
        ("Spearman", found.spearman),
        ("mean difference", found.mean_difference),
    ):
        if value is not None:
            lines.append(f"  {name:<16} {value:.3f}")
    return lines


def order_told(path: str, found: Bias) -> str:
    """What one judge makes of the order of answers."""
    return (
        f"{path}: position bias {found.position_bias:+.3f} points for the second place, verdict turns with the order "
        f"in {found.flip_rate:.1%} of {found.n} rows, win rate {found.win_rate:.1%}"
    )
