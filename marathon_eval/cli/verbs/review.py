"""Check a random tenth of a data set by ear: write a page with audio players, then apply the verdicts.

Rows are read as the tasks say whose data files lie in DIR; `--tasks` names others, also YAML files.
marathon-eval review DIR                            write DIR/review.html; judge the clips there, save verdicts.json
marathon-eval review DIR --verdicts verdicts.json   apply them; audio of rejected rows moves to DIR/rejected/
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.expected import Dataset
    from marathon_eval.corpus.audit.own_tasks import OwnTasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="DIR",
        help="folder of a data set, as the benchmark released it or as `build` wrote it",
    )
    parser.add_argument(
        "--tasks",
        "--task",
        "-t",
        nargs="+",
        default=[],
        metavar="TASK",
        help="review the rows of these tasks only; names that `marathon-eval ls tasks` prints, or YAML files",
    )
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with more tasks/"
    )
    parser.add_argument(
        "--share",
        type=float,
        default=0.1,
        metavar="X",
        help="fraction of each task's rows to review (default 0.1)",
    )
    parser.add_argument(
        "--seed", type=int, default=42, metavar="N", help="seed of the random choice of rows (default 42)"
    )
    parser.add_argument("--page", metavar="FILE", help="the page to write (default DIR/review.html)")
    parser.add_argument(
        "--verdicts",
        nargs="+",
        metavar="FILE",
        help="the files saved from the page, one per reviewer: remove rows that are rejected, change answers that are "
        "relabelled; rows on which reviewers differ stay",
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.audit.expected import load_known
    from marathon_eval.corpus.audit.own_tasks import tasks_to_examine

    folder, known = Path(arguments.folder), load_known()
    names = [name for item in arguments.tasks for name in item.split(",") if name]
    own = tasks_to_examine(names, folder, known, arguments.include_path)
    if arguments.verdicts:
        return applied(folder, known, own, [Path(path) for path in arguments.verdicts])
    return write_review_page(folder, known, own, arguments, names)


def write_review_page(
    folder: Path, known: Dataset, own: OwnTasks, arguments: argparse.Namespace, names: Sequence[str]
) -> int:
    """Write the page of a random sample of rows and return the exit code. Raises MarathonError."""
    from marathon_eval.corpus.audit.doctor import surveyed_with
    from marathon_eval.corpus.audit.review_page import page, review_sample
    from marathon_eval.corpus.build.journal import write_atomic

    if not 0 < arguments.share <= 1:
        raise MarathonError(f"--share: must be above 0 and at most 1, got {arguments.share}")
    dataset = surveyed_with(folder, known, own.tasks)
    if names:
        wanted = _wanted(names, own, dataset.tasks(), folder)
        dataset.rows = [row for row in dataset.rows if row.task in wanted]
    if not dataset.rows:
        raise MarathonError(f"review: {folder} holds no rows to review; name their task with --tasks")
    rows = review_sample(dataset, arguments.share, arguments.seed)
    target = Path(arguments.page).absolute() if arguments.page else dataset.root / "review.html"
    write_atomic(target, page(dataset, rows, target.parent, arguments.share, arguments.seed))
    print(f"{len(rows)} of {len(dataset.rows)} rows to review: open {target} in a browser")
    flags = [
        f" --{flag} {shlex.join(values)}"
        for flag in ("tasks", "include_path")
        if (values := getattr(arguments, flag)) and own.tasks
    ]
    print(f"then: marathon-eval review {folder}{''.join(flags)} --verdicts verdicts.json")
    return EXIT_WHOLE


def _wanted(names: Sequence[str], own: OwnTasks, found: Collection[str], folder: Path) -> set[str]:
    """Return the tasks that the names stand for. Raises MarathonError for a name without rows in the folder."""
    from marathon_eval.errors import unknown

    of_folder = [
        Path(name).stem if name.endswith(".yaml") else name for name in names if name not in own.groups
    ]
    for name in of_folder:
        if name not in found:
            raise unknown("--tasks", f"task in {folder}", name, found)
    return {*of_folder, *own.tasks}


def applied(folder: Path, known: Dataset, own: OwnTasks, paths: Sequence[Path]) -> int:
    """Apply the verdicts of one reviewer or several to the data set and return the exit code. Raises MarathonError."""
    from marathon_eval.corpus.audit.review import apply, read_verdicts
    from marathon_eval.corpus.audit.reviewers import merge_reviews
    from marathon_eval.scoring.intervals import count_interval

    merged = merge_reviews([read_verdicts(path, "--verdicts") for path in paths])
    outcome = apply(folder, known, merged.verdicts, "--verdicts", own.tasks)
    for agreement in merged.agreements:
        kappa = "undefined" if agreement.kappa is None else f"{agreement.kappa:.2f}"
        print(
            f"two reviewers agree on {agreement.same} of {agreement.rows} rows "
            f"({agreement.same / agreement.rows:.1%}), Cohen's kappa {kappa}"
        )
    text = f"{outcome.judged} rows reviewed, {outcome.accepted} accepted"
    if outcome.judged:
        found = count_interval(outcome.accepted, outcome.judged)
        ends = found.reason or ""
        if found.ci95 is not None:
            ends = f"95 % CI {found.ci95[0]:.1%}-{found.ci95[1]:.1%}"
        text += f" ({outcome.accepted / outcome.judged:.1%}, {ends})"
    print(f"{text}; {len(outcome.rows)} rows and {len(outcome.files)} files removed")
    for row in outcome.rows:
        print(f"  rejected: {row}")
    for row in outcome.relabelled:
        print(f"  relabelled: {row}")
    disputed = {key for _, key in merged.disputed}
    for row in outcome.unsure:
        print(f"  {'reviewers differ' if row in disputed else 'unsure'}: {row}")
    return EXIT_WHOLE
