"""List tasks, models, presses, metrics, filters or row steps, explain one by its NAME, or list finished runs.

Presses are listed with their rule and its source; runs with their label, date, tasks, rows and headline scores.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.api.registry import FOLDERS, PluginKind, Registry
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.api.press import Press

RUNS = "runs"
DETAILS_PIPE_WIDTH = 120
PLUGIN_KINDS: dict[str, PluginKind] = {name: kind for kind, name in FOLDERS.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=[*PLUGIN_KINDS, RUNS], help="what to list")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="print what this one does, with its arguments, types, defaults and limits; with `runs` a folder",
    )
    parser.add_argument("--names", action="store_true", help="list presses without their rules")
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of yours with more tasks/, models/, presses/, metrics/, filters/ or row_steps/",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == RUNS:
        if arguments.name is None:
            raise MarathonError("ls runs: give the folder to list the runs of")
        from marathon_eval.cli.left_out import code_of_left_out
        from marathon_eval.report.damaged import without_damaged
        from marathon_eval.report.run_list import run_lines

        folder = Path(arguments.name)
        lines, left_out = without_damaged([folder], lambda leave_out: run_lines(folder, leave_out))
        print("\n".join(lines))
        return code_of_left_out(left_out)
    if arguments.name is not None:
        from marathon_eval.cli.details import details
        from marathon_eval.cli.fitted_table import table_console

        kind, width = PLUGIN_KINDS[arguments.what], table_console(DETAILS_PIPE_WIDTH).width
        print("\n".join(details(kind, arguments.name, Registry(arguments.include_path), width)))
        return 0
    if arguments.what == "presses" and not arguments.names:
        lines = presses(Registry(arguments.include_path))
    else:
        lines = names(arguments.what, arguments.include_path)
    print("\n".join(lines))
    return 0


def names(what: str, include_path: list[str]) -> list[str]:
    """Return the sorted names; those in files are read from file names without importing them."""
    found = Registry(include_path).names(PLUGIN_KINDS[what])
    if what == "metrics":
        from marathon_eval.scoring.metrics.build import metric_names

        found += metric_names()
    if what == "filters":
        from marathon_eval.scoring.filters.build import filter_names

        found += filter_names()
    if what == "row_steps":
        from marathon_eval.task.data.row_steps import row_step_names

        found += row_step_names()
    return sorted(set(found))


def presses(registry: Registry) -> list[str]:
    """Return one line per press: name, kind, rule, paper, settings and supported models; pruning presses first.

    Raises MarathonError.
    """
    from marathon_eval.api.press import PruningPress
    from marathon_eval.backends.hf.kvpress import KVPress

    listed = [(name, registry.press_class(name)) for name in registry.names("press")]
    listed.sort(key=lambda item: not issubclass(item[1], PruningPress))
    listed.append(("kvpress:NAME", KVPress))
    width = max(len(name) for name, _ in listed)
    return [f"{name:<{width}}  {press_line(press)}" for name, press in listed]


def press_line(press: type[Press]) -> str:
    """Return `pruning   Rule. URL of the paper (own settings: a, b; supports x, y; differs from the paper: z)`.

    The rule is the first line of the class's docstring, the URL the first one in its file's docstring.
    """
    from marathon_eval.api.press import PruningPress

    kind = "pruning " if issubclass(press, PruningPress) else "eviction"
    rule = (press.__doc__ or "").strip().partition("\n")[0]
    paper = re.search(r"https?://[^\s,;)]*[^\s,;).]", sys.modules[press.__module__].__doc__ or "")
    source = f" {paper.group()}" if paper else ""
    settings = [name for name in press.arguments() if name in vars(press).get("__annotations__", {})]
    details = [f"own settings: {', '.join(settings)}"] if settings else []
    details += [f"supports {', '.join(press.supports())}"] if press.supports() else []
    details += [f"differs from the paper: {press.differs}"] if press.differs else []
    return f"{kind}  {rule}{source}" + (f" ({'; '.join(details)})" if details else "")
