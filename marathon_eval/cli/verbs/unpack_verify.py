"""Verify an archive of `pack`: score its run again from the archive alone and compare every number bit for bit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from marathon_eval.cli.main import EXIT_MISTAKE, EXIT_WHOLE

SHOWN_DIFFERENCES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="ARCHIVE", help="a .tar.gz file that `marathon-eval pack` wrote")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.rescore.verify_archive import verify_archive

    verified = verify_archive(Path(arguments.archive))
    for line in verified.differences[:SHOWN_DIFFERENCES]:
        print(f"marathon-eval: error: {arguments.archive}: {line}", file=sys.stderr)
    verdict = f"{len(verified.differences)} differences" if verified.differences else "the same, bit for bit"
    print(
        f"{arguments.archive}: {verified.n_samples} samples scored again, {verified.n_answers} cached answers: {verdict}"
    )
    return EXIT_MISTAKE if verified.differences else EXIT_WHOLE
