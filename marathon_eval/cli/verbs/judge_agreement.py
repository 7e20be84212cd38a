"""Measure how far two judges (models or people) agree on the same answers.

Of labels (win, tie, loss; an option's letter): agreement and Cohen's kappa. Of grades: the same (kappa of whole grades, or of up to five
different ones), rank correlation and mean difference. Of a rating of the reasoning: the last two. Position bias: of each judge that compared an
answer with a reference in both orders, as in AIR-Bench's chat.

marathon-eval judge_agreement RUN_1 RUN_2      two runs whose open answers were graded with --judge_model
marathon-eval judge_agreement RUN labels.csv   a judge model and labels that people gave
marathon-eval judge_agreement RUN labels.csv --judge NAME   the same of one judge of a panel
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError, unknown

if TYPE_CHECKING:
    from marathon_eval.results.agreement import Agreement, Bias


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "one",
        metavar="ONE",
        help="folder of a run with --judge_model (both runs must hold the same answers), or a .json, .jsonl or "
        ".csv file of labels with the keys doc_id, label (win, tie, loss, an option's letter or none) or "
        "score (a grade or rating on the judge's scale), task if the labels are of several tasks, and kind (pair, rubric "
        "or grade) if a task was judged in several ways",
    )
    parser.add_argument("other", metavar="OTHER", help="the second judge: a folder or file as for ONE")
    parser.add_argument(
        "--judge",
        metavar="NAME",
        help="of a panel only the grades of the judge of this name, as in grade[NAME]; of both sides where both have it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results.agreement import agreement_as_json, bias, compared_labels
    from marathon_eval.results.judge_labels import judgements

    for path in (arguments.one, arguments.other):
        if not Path(path).exists():
            raise MarathonError(f"judge_agreement: {path}: no such file or folder")
    one, other = (judgements(Path(path), judge) for path, judge in _judges(arguments))
    agreements = compared_labels(one, other, _shared_judges(arguments))
    biases = (bias(one), bias(other))
    if arguments.json:
        print(json.dumps(agreement_as_json(agreements, *biases), indent=1))
        return EXIT_WHOLE
    for agreement in agreements:
        print("\n".join(agreement_lines(agreement)))
    for path, judge in zip((arguments.one, arguments.other), biases, strict=True):
        if judge.n:
            print(order_told(path, judge))
    return EXIT_WHOLE


def _shared_judges(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the judge's name of each task that the same judge judged on both sides. Raises MarathonError for the same run or file on both."""
    from marathon_eval.results.files import newest_run, read_results
    from marathon_eval.results.judges import shared_judges

    paths = [Path(path) for path in (arguments.one, arguments.other)]
    read = [newest_run(path) if path.is_dir() else path for path in paths]
    if read[0].resolve() == read[1].resolve():
        raise MarathonError(
            f"judge_agreement: both sides are {read[0]}, and a judge agrees with itself. Name two runs that judged the same answers, "
            "or a run and a file of labels; of two judges of a panel, run the task with each of them alone"
        )
    if not all(path.is_dir() for path in paths):
        return {}
    return shared_judges(read_results(read[0]), read_results(read[1]), arguments.judge)


def _judges(arguments: argparse.Namespace) -> list[tuple[str, str | None]]:
    """Return each side with the judge whose grades are meant, None for all. Raises MarathonError for an unknown judge."""
    from marathon_eval.results.judge_labels import judge_names

    paths, judge = (arguments.one, arguments.other), arguments.judge
    if judge is None:
        return [(path, None) for path in paths]
    names = {path: judge_names(Path(path)) for path in paths}
    if not any(judge in found for found in names.values()):
        known = list(dict.fromkeys(name for found in names.values() for name in found))
        raise unknown("judge_agreement: --judge", "judge", judge, known)
    return [(path, judge if judge in names[path] else None) for path in paths]


def agreement_lines(compared: Agreement) -> list[str]:
    """Return the lines about one task and one kind of judging."""
    from marathon_eval.results.agreement import LABEL_KINDS

    lines = [f"{compared.task or 'all rows'}: {LABEL_KINDS[compared.kind]}, {compared.n} rows judged by both"]
    alone = {"first": compared.n_one_alone, "second": compared.n_other_alone}
    if any(alone.values()):
        # labels of a kind that the other side was not judged by are named, not passed over
        told = [
            f"{n} by the {side} alone" if n or compared.n else f"the {side} has none of these"
            for side, n in alone.items()
        ]
        lines[0] += f" ({', '.join(told)})"
    if compared.same_judge is not None and compared.n:
        lines.append(
            f"  the same judge in both runs ({compared.same_judge}), so this is how far it agrees with itself: wholly, where one cache gave its replies"
        )
    if compared.agreement is not None:
        ends = compared.ci95
        interval = compared.no_interval if ends is None else f"{ends[0]:.1%}, {ends[1]:.1%}"
        lines.append(f"  agreement        {compared.agreement:.1%}  [{interval}]")
    for name, value in (
        ("Cohen's kappa", compared.kappa),
        ("weighted kappa", compared.weighted_kappa),
        ("Spearman", compared.spearman),
    ):
        if value is not None:
            lines.append(f"  {name:<16} {value:.3f}")
    if compared.other_minus_one is not None:
        lines.append(
            f"  mean difference  {compared.other_minus_one:+.3f}  (the second minus the first; "
            f"{compared.mean_difference:.3f} without signs)"
        )
    return lines


def order_told(path: str, judge: Bias) -> str:
    """Return the line on how the order of the two answers influences one judge."""
    return (
        f"{path}: position bias {judge.position_bias:+.3f} points for the second place; the verdict changes with the "
        f"order in {judge.flip_rate:.1%} of {judge.n} rows; win rate {judge.win_rate:.1%}"
    )
