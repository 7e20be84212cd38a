"""Make an environment of its own for a model that needs other packages, or check that the model answers there.

env make NAME [DIR]    makes a venv and installs models/NAME.requirements.txt there
env check NAME [DIR]   loads the weights there and asks about two seconds of silence
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.errors import MarathonError

SILENT_CLIP_SECONDS = 2
CHECK_QUESTION = "What do you hear?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["make", "check"], help="make an environment, or check one")
    parser.add_argument("name", metavar="NAME", help="the model, as for a run")
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="the environment's folder (default: envs/NAME in the cache folder, where --model NAME looks for it)",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="FILE",
        help="make: the interpreter that the environment is made with (default: this one)",
    )
    parser.add_argument(
        "--model_args", "-a", default="", metavar="A=B,…", help="check: the model's other arguments"
    )
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with models/"
    )


def run(arguments: argparse.Namespace) -> int:
    return _made(arguments) if arguments.what == "make" else _checked(arguments)


def _made(arguments: argparse.Namespace) -> int:
    """Make the environment that the model's requirements file describes."""
    from marathon_eval.backends.env.adapter import EnvModel
    from marathon_eval.backends.env.environment import default_environment, make_environment

    kind = Registry(arguments.include_path).model_class(arguments.name)
    if not issubclass(kind, EnvModel):
        raise MarathonError(
            f"env make: {arguments.name} needs no environment of its own: it runs in this one (--model {arguments.name})"
        )
    requirements = kind.requirements()
    if requirements is None:
        raise MarathonError(
            f"env make: {kind.worker.with_name(f'{kind.name()}.requirements.txt')}: no such file; it must list the packages"
        )
    folder = Path(arguments.folder or default_environment(kind.name())).expanduser()
    make_environment(folder, [requirements], arguments.python)
    print(printable(f"{folder}: made from {requirements.name}"))
    return EXIT_WHOLE


def _checked(arguments: argparse.Namespace) -> int:
    """Ask the model about a silent clip and print how long loading and answering took."""
    import numpy as np
    import soundfile

    from marathon_eval.api.audio import Audio
    from marathon_eval.api.complete import complete
    from marathon_eval.api.model import Generation, Request
    from marathon_eval.backends.env.adapter import EnvModel
    from marathon_eval.evaluator.config import parse_args
    from marathon_eval.evaluator.evaluator import build_model

    args = parse_args(arguments.model_args, "--model_args")
    if arguments.folder is not None:
        args["env"] = arguments.folder
    model = build_model(Registry(arguments.include_path), arguments.name, args)
    if not isinstance(model, EnvModel):
        raise MarathonError(f"env check: {arguments.name} needs no environment of its own; see `selftest`")
    versions = [f"{name} {version}" for name, version in model.environment.packages.items() if version]
    print(printable(f"{model.python}: Python {model.environment.python}, {', '.join(versions)}"))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="marathon_eval_") as folder:
        clip = Path(folder) / "silence.wav"
        soundfile.write(clip, np.zeros(16000 * SILENT_CLIP_SECONDS, np.float32), 16000)
        request = Request(CHECK_QUESTION, (Audio(str(clip)),), Generation(max_new_tokens=16))
        try:
            [(_, response)] = complete(model, [request])
        finally:
            model.close()
    taken = f"{time.monotonic() - begun:.1f} s"
    if response.status not in ("ok", "unverified"):
        print(printable(f"failed after {taken}: {response.error}"))
        return EXIT_INCOMPLETE
    heard = response.usage.heard_seconds
    said = (
        "does not say how much it heard" if heard is None else f"heard {heard:.2f} of {SILENT_CLIP_SECONDS} s"
    )
    print(printable(f"answered in {taken}, {said}: {response.text.strip()!r}"))
    return EXIT_WHOLE
