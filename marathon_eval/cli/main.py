"""The command line: one verb per file in verbs/; bare flags mean `run`. A user's mistake is one line and exit code 2."""

from __future__ import annotations

import argparse
import errno
import io
import re
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from marathon_eval import __version__
from marathon_eval.errors import MarathonError, did_you_mean

COMMANDS = Path(__file__).parent / "verbs"
EXIT_WHOLE, EXIT_MISTAKE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 2, 3, 130, 143
#: Of a disk, as one that standard output goes to.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Termination:
    """SIGTERM, as a scheduler sends it: the finished part is saved as after Ctrl-C. A second one kills."""

    def __init__(self) -> None:
        self.came = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._interrupt)

    def _interrupt(self, number: int, frame: object) -> NoReturn:
        self.came = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt


class Parser(argparse.ArgumentParser):
    """argparse with the nearest flag in its errors, and no silent abbreviations."""

    def error(self, message: str) -> NoReturn:
        found = re.match(r"unrecognized arguments: (\S+)", message)
        if found:
            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            message += f".{did_you_mean(found.group(1).split('=')[0], flags)} See {self.prog} --help"
        print(f"marathon-eval: error: {printable(message)}", file=sys.stderr)
        raise SystemExit(EXIT_MISTAKE)


def verbs() -> list[str]:
    """The names of the files in verbs/."""
    return sorted(path.stem for path in COMMANDS.glob("*.py") if not path.stem.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 whole, 2 a mistake, 3 incomplete coverage, 130 Ctrl-C, 143 SIGTERM."""
    termination = Termination()
    if argv is None:  # a process of our own: inside another program its signals are not ours
        termination.listen()
    code = _exit_code(argv)
    return EXIT_TERMINATED if termination.came and code == EXIT_INTERRUPTED else code


def _answered(arguments: list[str]) -> int:
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(overview())
        return EXIT_WHOLE if arguments else EXIT_MISTAKE
    if arguments == ["--version"]:
        print(f"marathon-eval {__version__}")
        return EXIT_WHOLE
    return dispatch(arguments)


def _exit_code(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # text of the data may hold what is no UTF-8
            stream.reconfigure(errors="backslashreplace")
    code = EXIT_WHOLE
    try:
        code = _answered(arguments)
        sys.stdout.flush()
        return code
    except MarathonError as error:
        print(f"marathon-eval: error: {printable(str(error))}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `marathon-eval ls tasks | head`
        sys.stderr.close()
        return code
    except OSError as error:
        where = error.filename
        if where is None and error.errno in FULL:
            where = "output"
            sys.stdout = io.StringIO()  # what cannot be written is not tried again at the exit
        if where is None:  # not about a place that a user named
            raise
        print(f"marathon-eval: error: {printable(str(where))}: {error.strerror}", file=sys.stderr)
        return EXIT_MISTAKE


def printable(text: str) -> str:
    """Control characters, which a name out of a file may hold, as escapes: a terminal would obey them."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def dispatch(arguments: list[str]) -> int:
    verb, rest = (arguments[0], arguments[1:]) if not arguments[0].startswith("-") else ("run", arguments)
    if verb not in verbs():
        raise MarathonError(f"no verb '{verb}'.{did_you_mean(verb, verbs())} Verbs: {', '.join(verbs())}")
    command = import_module(f"marathon_eval.cli.verbs.{verb}")
    parser = Parser(
        prog=f"marathon-eval {verb}",
        description=command.__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args(rest))
    return code


def sentence(verb: str) -> str:
    """The first line of a verb's file, read and not imported: one verb may need what takes longer than all of --help."""
    with (COMMANDS / f"{verb}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def overview() -> str:
    """`--help`: every verb with the first sentence of its file."""
    lines = ["usage: marathon-eval [VERB] ...      (bare flags mean `run`; VERB --help says more)", ""]
    lines += [f"  {verb:<18}{sentence(verb)}" for verb in verbs()]
    example = "marathon-eval --model qwen_omni --model_args press=dart,ratio=0.5 --tasks vox_age,gtzan"
    return "\n".join([*lines, "", f"example: {example}"])
