"""List the names of tasks, models, presses or metrics."""

from __future__ import annotations

import argparse

from marathon_eval.registry import Registry

KINDS = {"tasks": "task", "models": "model", "presses": "press"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=[*KINDS, "metrics", "filters"])
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders with more of them"
    )


def run(arguments: argparse.Namespace) -> int:
    print("\n".join(names(arguments.what, arguments.include_path)))
    return 0


def names(what: str, include_path: list[str]) -> list[str]:
    """Sorted names; tasks, models and presses from file names alone."""
    if what == "metrics":
        from marathon_eval.metrics import metric_names

        return metric_names()
    if what == "filters":
        from marathon_eval.filters import filter_names

        return filter_names()
    registry = Registry(include_path)
    kind = KINDS[what]
    if kind == "task":
        return registry.names("task")
    return registry.names("model") if kind == "model" else registry.names("press")
