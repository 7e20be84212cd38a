"""Makes the reference of the command line: every verb's arguments, read from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module

from marathon_eval.cli.main import sentence, verbs
from reference.tables import code, table, words


def pages() -> dict[str, str]:
    """Return the page by its place in the site."""
    parts = [f"## {verb}\n\n{_verb(verb)}" for verb in verbs()]
    intro = (
        "# Command line\n\n`marathon-eval VERB …`; without a verb the arguments are those of [run](#run). "
        "`marathon-eval VERB --help` prints the same on a terminal.\n"
    )
    return {"reference/cli.md": "\n".join([intro, *parts])}


def _verb(verb: str) -> str:
    command = import_module(f"marathon_eval.cli.verbs.{verb}")
    parser = argparse.ArgumentParser(prog=f"marathon-eval {verb}")
    command.add_arguments(parser)
    more = (command.__doc__ or "").partition("\n")[2].strip("\n")
    text = sentence(verb) + "\n\n" + (f"```text\n{more}\n```\n\n" if more else "")
    return text + _arguments(parser)


def _arguments(parser: argparse.ArgumentParser) -> str:
    rows, inner = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = [
                f"### {parser.prog.split(' ', 1)[1]} {name}\n\n{_arguments(sub)}"
                for name, sub in action.choices.items()
            ]
        elif not isinstance(action, argparse._HelpAction):
            rows.append([*_about(action)])
    listed = table(["argument", "meaning", "default"], rows) if rows else ""
    return "\n".join([listed, *inner])


def _about(action: argparse.Action) -> Iterator[str]:
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    shown = value if isinstance(value, str) else " ".join(value)
    names = ", ".join(action.option_strings) or action.dest
    yield code(f"{names} {shown}".strip() if action.option_strings else shown or names)
    yield words((action.help or "").replace("%%", "%"))
    plain = action.default not in (None, False, [], argparse.SUPPRESS)
    yield code(action.default) if plain else ""
