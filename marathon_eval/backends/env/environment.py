"""Finds the interpreter of an environment (venv or conda), asks it for its packages, and makes new environments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.backends.env.worker_main import MARK
from marathon_eval.errors import MarathonError
from marathon_eval.files import default_folder

WORKER_MAIN = Path(__file__).with_name("worker_main.py")
#: Where the interpreter lies in an environment's folder: venv and conda, venv on Windows, conda on Windows.
INTERPRETERS = ("bin/python", "Scripts/python.exe", "python.exe")
#: Seconds in which an interpreter must name its packages; a cold network disk may take most of them.
DESCRIBE_SECONDS = 120.0
OLDEST_PYTHON = (3, 9)
#: A line of a requirements file that names a package: `name==1.2`, `name[extra]>=1`, `name @ git+https://...`.
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:[=<>!~@;].*)?(?:#.*)?")


class WorkerEnvironment(NamedTuple):
    """Holds what an interpreter says of itself: `python` is major.minor; a package that is missing has None."""

    python: str
    packages: dict[str, str | None]


def interpreter(folder: str, flag: str) -> Path:
    """Return the Python of an environment's folder. Raises MarathonError when there is none."""
    base = Path(folder).expanduser()
    for place in INTERPRETERS:
        if (base / place).is_file():
            return (base / place).absolute()
    what = "holds no Python (bin/python)" if base.is_dir() else "no such folder"
    raise MarathonError(
        f"{flag}: env={folder}: {what}; it must be the folder of a venv or a conda environment"
    )


def clean_environment() -> dict[str, str]:
    """Return the environment variables without those that point Python at this process's own packages."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in os.environ.items() if name not in dropped}


@cache
def asked_environment(python: Path, packages: tuple[str, ...], flag: str) -> WorkerEnvironment:
    """Ask an interpreter for its release and its packages'. Raises MarathonError when it does not say."""
    command = [str(python), "-I", str(WORKER_MAIN), "describe", *packages]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DESCRIBE_SECONDS,
            env=clean_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MarathonError(f"{flag}: env: {python} does not run: {error}") from None
    line = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), None)
    if line is None:
        said = [text.strip() for text in done.stderr.splitlines() if text.strip()]
        raise MarathonError(
            f"{flag}: env: {python} does not run worker_main.py, which needs Python 3.9 or newer: "
            f"{said[-1] if said else f'exit code {done.returncode}'}"
        )
    found: dict[str, Any] = json.loads(line.removeprefix(MARK))
    return _recent(WorkerEnvironment(found["python"], found["packages"]), python, flag)


def _recent(environment: WorkerEnvironment, python: Path, flag: str) -> WorkerEnvironment:
    if tuple(int(part) for part in environment.python.split(".")) < OLDEST_PYTHON:
        raise MarathonError(f"{flag}: env: {python} is Python {environment.python}; 3.9 or newer is needed")
    return environment


def required_packages(requirements: Path | None) -> tuple[str, ...]:
    """Return the sorted names of the packages that a requirements file names; options and bare URLs have none."""
    if requirements is None:
        return ()
    lines = requirements.read_text(encoding="utf-8").splitlines()
    names = {match[1] for line in lines if (match := _REQUIREMENT.fullmatch(line))}
    return tuple(sorted(names))


def default_environment(name: str) -> Path:
    """Return where `env make NAME` puts an environment, and where a model looks for it without `env=`."""
    return default_folder() / "envs" / name


def make_environment(folder: Path, requirements: Sequence[Path], python: str = sys.executable) -> None:
    """Make a venv with the requirements in it; pip's output goes to standard error.

    Raises MarathonError for a folder that is there already, and when venv or pip fail.
    """
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise MarathonError(f"env make: {folder} exists already; give another folder, or delete it first")
    _run([python, "-m", "venv", str(folder)], f"env make: {python} -m venv {folder}")
    pip = [str(interpreter(str(folder), "env make")), "-m", "pip", "install", "--disable-pip-version-check"]
    for file in requirements:
        _run([*pip, "-r", str(file)], f"env make: pip install -r {file}")


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, stdout=sys.stderr.fileno(), env=clean_environment(), check=False)
    except OSError as error:
        raise MarathonError(f"{what}: {error.strerror}") from None
    if done.returncode:
        raise MarathonError(f"{what} failed with exit code {done.returncode}; its messages stand above")
