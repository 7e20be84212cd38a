"""Formats `--help` for 80 columns, with an example for each verb."""

from __future__ import annotations

import argparse
import re

#: The widest help, also in a wider terminal.
HELP_WIDTH = 80
EXAMPLES = {
    "build": "marathon-eval build gtzan --source GTZAN --output_path DATA",
    "completion": "marathon-eval completion bash >> ~/.bashrc",
    "cache": "marathon-eval cache why --model dummy --tasks gtzan",
    "compare": "marathon-eval compare RUN_A RUN_B --gate 'gtzan>=-2'",
    "doctor": "marathon-eval doctor DATA",
    "durations": "marathon-eval durations gtzan,race --data_dir DATA",
    "env": "marathon-eval env make baichuan_omni",
    "export": "marathon-eval export rows.parquet DIR",
    "judge_agreement": "marathon-eval judge_agreement RUN_A RUN_B",
    "leaderboard": "marathon-eval leaderboard RESULTS --latex",
    "ls": "marathon-eval ls models qwen_omni",
    "pack": "marathon-eval pack RUN --output run.tar.gz",
    "push": "marathon-eval push RUN hf://datasets/OWNER/NAME",
    "report": "marathon-eval report RESULTS -o report.html",
    "review": "marathon-eval review DATA --tasks gtzan",
    "run": "marathon-eval --model qwen_omni --tasks gtzan --limit 10 -o results",
    "score": "marathon-eval score RUN --data_dir DATA",
    "selftest": "marathon-eval selftest --model dummy",
    "show": "marathon-eval show RUN --wrong",
    "sweep": "marathon-eval sweep --model qwen_omni --tasks gtzan --presses none,dart",
    "unpack_verify": "marathon-eval unpack_verify run.tar.gz",
    "validate": "marathon-eval validate my_task --include_path DIR",
    "view": "marathon-eval view RESULTS",
}


#: The beginning of a line of a list: a name and at least two spaces.
_LISTED = re.compile(r"\S+ {2,}")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps help and description to the terminal, at most HELP_WIDTH; lines with a command, and lists, stay whole."""

    def __init__(self, prog: str) -> None:
        import shutil

        columns = min(HELP_WIDTH, shutil.get_terminal_size((HELP_WIDTH, 24)).columns)
        super().__init__(prog, width=columns, max_help_position=26)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = text.strip().split("\n\n")
        return "\n\n".join(_filled(block, width, indent) for block in blocks)


def _filled(block: str, width: int, indent: str) -> str:
    import textwrap

    lines = block.splitlines()
    if any(line.startswith(("marathon-eval ", "example: ")) for line in lines):
        return "\n".join(
            piece
            for line in lines
            for piece in textwrap.wrap(re.sub(r" {3,}", "   ", line), width, subsequent_indent="    ")
        )
    if len(lines) > 1 and all(_LISTED.match(line) for line in lines):
        return "\n".join(
            textwrap.fill(line, width, subsequent_indent=" " * _LISTED.match(line).end())  # type: ignore[union-attr]
            for line in lines
        )
    return textwrap.fill(" ".join(lines), width, initial_indent=indent, subsequent_indent=indent)


def example_of(verb: str) -> str | None:
    """Return the last lines of a verb's help, or None for a verb without an example."""
    return f"example: {EXAMPLES[verb]}" if verb in EXAMPLES else None
