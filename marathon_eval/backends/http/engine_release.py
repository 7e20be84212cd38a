"""Finds the program that serves a model, and its release, which is part of every cache key."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from marathon_eval.backends.env.environment import asked_environment, clean_environment
from marathon_eval.errors import MarathonError

#: Seconds in which a program must name its release; vLLM imports torch first.
VERSION_SECONDS = 300.0


class Engine(NamedTuple):
    """Names a server's program and its release."""

    executable: str
    release: str


@cache
def found_engine(package: str, env: str | None, executable: str | None, flags: str) -> Engine:
    """Return the program: `executable`, else the one in the environment `env`, else the one on the PATH.

    Its release is that of `package` in the Python that its first line names; other programs are asked by `--version`.
    Raises MarathonError, which begins with `flags`, when there is none or it names no release.
    """
    wanted = executable or (str(Path(env).expanduser() / "bin" / package) if env else package)
    path = shutil.which(wanted)
    if path is None:
        raise MarathonError(
            f"{flags}: no program {wanted}: install {package} in an environment and name it with env=DIR, or name the "
            "program with executable=FILE"
        )
    return Engine(path, _by_python(path, package, flags) or _by_asking(path, flags))


def _by_python(path: str, package: str, flags: str) -> str | None:
    with open(path, "rb") as file:
        first = file.readline(1024).decode(errors="replace").strip()
    python = Path(first.removeprefix("#!").split(" ")[0])
    if not first.startswith("#!") or not python.name.startswith("python") or not python.is_file():
        return None
    return asked_environment(python, (package,), flags).packages[package]


def _by_asking(path: str, flags: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_SECONDS,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MarathonError(f"{flags}: {path} --version: {error}") from None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not lines:
        raise MarathonError(f"{flags}: {path} --version names no release (exit code {done.returncode})")
    return lines[-1]
