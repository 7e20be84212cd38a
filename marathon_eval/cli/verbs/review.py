"""Listen to a tenth of a data set and judge it: writes a page with players, and takes rejected rows out by --verdicts."""

from __future__ import annotations

import argparse
from pathlib import Path

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a data set in a released or built layout")
    parser.add_argument("--tasks", "-t", nargs="+", default=[], metavar="TASK", help="only these")
    parser.add_argument(
        "--share", type=float, default=0.1, metavar="X", help="of each task's rows; default 0.1"
    )
    parser.add_argument("--seed", type=int, default=42, metavar="N")
    parser.add_argument("--page", metavar="FILE", help="the page to write; DIR/review.html by default")
    parser.add_argument(
        "--verdicts", metavar="FILE", help="apply what was judged: rejected rows leave the set"
    )


def run(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder)
    return (
        applied(folder, Path(arguments.verdicts))
        if arguments.verdicts
        else write_review_page(folder, arguments)
    )


def write_review_page(folder: Path, arguments: argparse.Namespace) -> int:
    """The page of a seeded sample."""
    from marathon_eval.corpus.audit.expected import load_known
    from marathon_eval.corpus.audit.review import page, review_sample
    from marathon_eval.corpus.audit.survey import survey
    from marathon_eval.corpus.build.journal import write_atomic
    from marathon_eval.errors import unknown

    if not 0 < arguments.share <= 1:
        raise MarathonError(f"--share: must be over 0 and at most 1, got {arguments.share}")
    found = survey(folder, load_known())
    names = [name for item in arguments.tasks for name in item.split(",") if name]
    for name in names:
        if name not in found.tasks():
            raise unknown("--tasks", f"task in {folder}", name, found.tasks())
    if names:
        found.rows = [row for row in found.rows if row.task in names]
    if not found.rows:
        raise MarathonError(f"review: {folder} holds no rows to review")
    rows = review_sample(found, arguments.share, arguments.seed)
    target = Path(arguments.page).absolute() if arguments.page else found.root / "review.html"
    write_atomic(target, page(found, rows, target.parent, arguments.share, arguments.seed))
    print(f"{len(rows)} of {len(found.rows)} rows to judge: open {target} in a browser")
    print(f"then: marathon-eval review {folder} --verdicts verdicts.json")
    return EXIT_WHOLE


def applied(folder: Path, path: Path) -> int:
    """Rejected rows leave the set."""
    from marathon_eval.corpus.audit.expected import load_known
    from marathon_eval.corpus.audit.review import apply, read_verdicts
    from marathon_eval.scoring.stats import wilson

    done = apply(folder, load_known(), read_verdicts(path))
    text = f"{done.judged} rows judged, {done.accepted} accepted"
    if done.judged:
        interval = wilson(done.accepted, done.judged)
        text += f" ({done.accepted / done.judged:.1%}, 95 % CI {interval.low:.1%}-{interval.high:.1%})"
    print(f"{text}; {len(done.rows)} rows and {len(done.files)} files left the set")
    for row in done.rows:
        print(f"  rejected: {row}")
    return EXIT_WHOLE
