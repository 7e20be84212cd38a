"""Check task files without loading a model: keys, templates, filters, metrics and, with --data_dir, data rows."""

from __future__ import annotations

import argparse
import sys

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_MISTAKE, EXIT_WHOLE
from marathon_eval.cli.verbs._trust import add_trust_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="TASK",
        help="tasks, groups of tasks, tags, patterns such as vox_*, YAML files or folders of them (default: every task)",
    )
    parser.add_argument(
        "--tasks",
        "--task",
        "-t",
        nargs="+",
        default=[],
        metavar="TASK",
        help="the same as the TASK arguments, for commands written for lm-eval",
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of yours with more tasks/, metrics/, filters/ or row_steps/",
    )
    parser.add_argument(
        "--data_dir", metavar="DIR", help="a local copy of the dataset; its rows are checked as well"
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.task_names import resolved_names
    from marathon_eval.evaluator.validate_task import validated

    registry = Registry(arguments.include_path, arguments.trust_task_code)
    names = [name for item in [*arguments.names, *arguments.tasks] for name in item.split(",") if name]
    failed = 0
    for name in resolved_names(registry, names) or registry.names("task"):
        found = validated(registry.task_path(name), registry.task_path, arguments.data_dir, registry)
        failed += bool(found.problems)
        for problem in found.problems:
            print(f"marathon-eval: error: {problem}", file=sys.stderr)
        for warning in found.warnings:
            print(f"marathon-eval: warning: {warning}", file=sys.stderr)
        if not found.problems:
            print(f"{name}: ok" + (f" ({found.unchecked})" if found.unchecked else ""))
    return EXIT_MISTAKE if failed else EXIT_WHOLE
