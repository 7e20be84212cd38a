"""Tells which damaged runs a table or report leaves out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.cli.plain_output import printable


def code_of_left_out(errors: Sequence[str]) -> int:
    """Print a line for each damaged run and return the exit code: 3 if there is one, else 0."""
    for error in errors:
        print(f"marathon-eval: a damaged run is left out: {printable(error)}", file=sys.stderr)
    return EXIT_INCOMPLETE if errors else EXIT_WHOLE
