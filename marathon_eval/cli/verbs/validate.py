"""Check task files before any weight loads: keys, templates, filters, metrics and, where data is at hand, rows."""

from __future__ import annotations

import argparse
import sys

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_MISTAKE, EXIT_WHOLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="TASK", help="tasks, groups or YAML paths; none: all that are known"
    )
    parser.add_argument(
        "--tasks", "-t", nargs="+", default=[], metavar="TASK", help="the same, as lm-eval spells it"
    )
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders with more tasks/"
    )
    parser.add_argument("--data_dir", metavar="DIR", help="a local copy of the dataset: rows are checked too")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.validate_task import validate_task

    registry = Registry(arguments.include_path)
    asked = [name for item in [*arguments.names, *arguments.tasks] for name in item.split(",") if name]
    failed = 0
    for name in asked or registry.names("task"):
        problems = validate_task(registry.task_path(name), registry.task_path, arguments.data_dir)
        failed += bool(problems)
        for problem in problems:
            print(f"marathon-eval: error: {problem}", file=sys.stderr)
        if not problems:
            print(f"{name}: ok")
    return EXIT_MISTAKE if failed else EXIT_WHOLE
