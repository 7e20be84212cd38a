"""Calls `marathon-eval …` inside the test's process: what it prints and its exit code, without a new interpreter.

A process of its own costs a second of imports for each command. Tests of kills, memory or exit still start one.
"""

from __future__ import annotations

import contextlib
import io
import os
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from marathon_eval.cli.main import main


def called(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run the command in `folder` with `env` added to the environment; an exception is a traceback and exit code 1."""
    out, err = _Stream(), _Stream()
    with (
        contextlib.chdir(folder),
        patch.dict(os.environ, env or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")  # as outside pytest
        code = _exit_code(arguments)
    return CompletedProcess(["marathon-eval", *arguments], code, out.text(), err.text())


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        return main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    except Exception:  # noqa: BLE001  whatever a user would see as a traceback
        traceback.print_exc()
        return 1


class _Stream(io.TextIOWrapper):
    """A text stream as standard output is one, kept in memory."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        bytes_written = self.buffer.getvalue()  # type: ignore[attr-defined]
        return str(bytes_written.decode())
