"""Print a script that completes verbs, flags and names in bash, zsh or fish; the shell reads it at its start.

marathon-eval completion bash >> ~/.bashrc
marathon-eval completion zsh > ~/.zfunc/_marathon-eval

Names of tasks, models and presses are those of today, and those of --include_path; run it again after you add some.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_WHOLE, sentence, verb_parser, verbs

SHELLS = ("bash", "zsh", "fish")
#: Flags and arguments that take a folder or a file.
_FOLDERS = ("data_dir", "include_path", "output_path", "use_cache", "encoder_cache", "run", "run_a", "run_b")
_FILES = ("config", "samples", "manifest", "predictions", "output", "archive", "selftest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of yours whose names are completed too",
    )


def run(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(whole_parser(Registry(arguments.include_path)), arguments.shell))
    return EXIT_WHOLE


def whole_parser(registry: Registry) -> argparse.ArgumentParser:
    """Return one parser of all verbs, with the names that each flag may take; for completion, not for parsing."""
    import shtab

    whole = argparse.ArgumentParser(prog="marathon-eval", allow_abbrev=False)
    whole.add_argument("--version", action="store_true", help="print the version")
    kinds = whole.add_subparsers(metavar="VERB")
    names: Mapping[str, Sequence[str]] = {
        "model": registry.names("model"),
        "judge_model": registry.names("model"),
        "tasks": registry.names("task"),
        "names": registry.names("task"),
        "presses": ["none", *registry.names("press")],
    }
    for verb in verbs():
        made = verb_parser(verb)
        part = kinds.add_parser(verb, parents=[made], add_help=False, help=sentence(verb))
        for action in _actions(part):
            if action.dest in names and action.nargs != 0:
                action.choices = names[action.dest]
            elif action.dest in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return whole


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the actions of a parser and of its own verbs, such as `cache why`."""
    found = list(parser._actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for part in action.choices.values() for inner in part._actions]
    return found
