"""Parses the command line and runs one verb; each file in verbs/ is a verb, and flags without a verb mean `run`.

A user's mistake is printed as one line on standard error, with exit code 2.
"""

from __future__ import annotations

import argparse
import errno
import gc
import io
import re
import signal
import sys
from importlib import import_module
from pathlib import Path

from marathon_eval import __version__
from marathon_eval.cli.plain_output import escaped_output, printable
from marathon_eval.errors import MarathonError, did_you_mean

TYPE_CHECKING = False  # typing's own would take a tenth of `marathon-eval --help`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import NoReturn

VERBS_FOLDER = Path(__file__).parent / "verbs"
EXIT_WHOLE, EXIT_MISTAKE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 2, 3, 130, 143
#: Exit codes of `compare --gate`: 4, a loss larger than the margin; 5, too few rows to decide.
EXIT_LOST, EXIT_UNDECIDED = 4, 5
#: Errors of a full disk, to which standard output may be redirected.
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Termination:
    """Handles SIGTERM, which schedulers send, like Ctrl-C: finished rows are saved. A second SIGTERM kills."""

    def __init__(self) -> None:
        self.received = False

    def listen(self) -> None:
        """Install the signal handler in this process."""
        signal.signal(signal.SIGTERM, self._interrupt)

    def _interrupt(self, number: int, frame: object) -> NoReturn:
        self.received = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt


class Parser(argparse.ArgumentParser):
    """Parses flags with argparse; errors are one line that suggests the nearest flag."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        unrecognized = re.match(r"unrecognized arguments: (\S+)", message)
        if unrecognized:
            from marathon_eval.cli.other_harnesses import written_elsewhere

            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            flag = unrecognized.group(1).split("=")[0]
            message += f".{written_elsewhere(flag) or did_you_mean(flag, flags)} See {self.prog} --help"
        print(f"marathon-eval: error: {printable(message)}", file=sys.stderr)
        raise SystemExit(EXIT_MISTAKE)


def verbs() -> list[str]:
    """Return the sorted names of all verbs, which are the names of the files in verbs/."""
    return sorted(path.stem for path in VERBS_FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0: complete. 2: a mistake of the user. 3: rows without a score, or faults found. Of `compare --gate`: 4, a loss
    larger than the margin; 5, too few rows to decide. 130: Ctrl-C. 143: SIGTERM.
    """
    termination = Termination()
    if argv is None:  # only in our own process: a program that calls main() keeps its signal handlers
        termination.listen()
    code = _exit_code(argv)
    if argv is None:
        # the process ends and frees all memory: its last searches for cycles would visit every object of a run
        gc.freeze()
    return EXIT_TERMINATED if termination.received and code == EXIT_INTERRUPTED else code


def _run_arguments(arguments: list[str], alone: bool) -> int:
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(overview())
        return EXIT_WHOLE if arguments else EXIT_MISTAKE
    if arguments == ["--version"]:
        print(f"marathon-eval {__version__}")
        return EXIT_WHOLE
    return dispatch(arguments, alone)


def _exit_code(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # data may hold characters that the encoding lacks
            stream.reconfigure(errors="backslashreplace")
    code = EXIT_WHOLE
    try:
        with escaped_output():
            code = _run_arguments(arguments, alone=argv is None)
        sys.stdout.flush()
        return code
    except MarathonError as error:
        from marathon_eval.api.secrets import without_all_secrets

        print(f"marathon-eval: error: {printable(without_all_secrets(str(error)))}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `marathon-eval ls tasks | head`
        sys.stderr.close()
        return code
    except OSError as error:
        where = error.filename
        if where is None and error.errno in FULL_DISK_ERRORS:
            where = "output"
            sys.stdout = io.StringIO()  # else Python would try to flush the old one again at exit
        if where is None:  # not about a path that the user named: a bug
            raise
        print(f"marathon-eval: error: {printable(str(where))}: {error.strerror}", file=sys.stderr)
        return EXIT_MISTAKE


def dispatch(arguments: list[str], alone: bool = False) -> int:
    """Parse the flags of a verb, run it and return its exit code. Raises MarathonError for an unknown verb.

    `alone`: the process ends after this verb.
    """
    verb, rest = (arguments[0], arguments[1:]) if not arguments[0].startswith("-") else ("run", arguments)
    if verb not in verbs():
        from marathon_eval.cli.other_harnesses import written_elsewhere

        if verb in ("version", "V"):
            raise MarathonError(f"no verb '{verb}'. The version is printed by: marathon-eval --version")
        nearest = written_elsewhere(verb) or did_you_mean(verb, verbs())
        raise MarathonError(f"no verb '{verb}'.{nearest} Verbs: {', '.join(verbs())}")
    parser = verb_parser(verb)
    if any(word.startswith(("-C", "--config")) for word in rest):
        from marathon_eval.cli.config_file import with_config_file
        from marathon_eval.cli.evaluation_set import runs_of_set

        runs = runs_of_set(parser, rest) if verb == "run" else None
        if runs is not None:
            parsed = {each.name: parser.parse_args(each.words) for each in runs}
            return int(_module("_set").run_set(parsed))
        rest = with_config_file(parser, rest)
    flags = parser.parse_args(rest)
    code: int = _run_alone(flags) if alone and verb == "run" else _module(verb).run(flags)
    return code


def _run_alone(flags: argparse.Namespace) -> int:
    """Run the verb `run` in a process that ends afterwards."""
    from marathon_eval.evaluator.gc_pause import seldom_collected

    with seldom_collected():
        code: int = _module("run").run(flags)
        # the end of the block would be followed by a search of all objects that are left: 2 % of a cached rerun
        gc.freeze()
    return code


def _module(verb: str) -> ModuleType:
    return import_module(f"marathon_eval.cli.verbs.{verb}")


def verb_parser(verb: str) -> Parser:
    """Return the parser of a verb's flags, with its help."""
    from marathon_eval.cli.help_text import HelpFormatter, example_of

    command = _module(verb)
    parser = Parser(
        prog=f"marathon-eval {verb}",
        description=command.__doc__,
        allow_abbrev=False,
        epilog=example_of(verb),
        formatter_class=HelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def sentence(verb: str) -> str:
    """Return the first line of a verb's docstring. The file is read, not imported, so that --help stays fast."""
    with (VERBS_FOLDER / f"{verb}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def overview() -> str:
    """Return the text of `marathon-eval --help`: every verb with the first line of its docstring, within 80 columns."""
    from textwrap import wrap

    from marathon_eval.cli.help_text import HELP_WIDTH

    lines = [
        "usage: marathon-eval [VERB] ...",
        "",
        "Without a VERB the flags are those of `run`. `marathon-eval VERB --help`",
        "explains a verb's flags; `marathon-eval --version` prints the version.",
        "",
    ]
    for verb in verbs():
        lines += wrap(sentence(verb), HELP_WIDTH, initial_indent=f"  {verb:<18}", subsequent_indent=" " * 20)
    example = "marathon-eval --model qwen_omni --model_args press=dart,ratio=0.5 -t gtzan"
    return "\n".join([*lines, "", "example:", f"  {example}"])
