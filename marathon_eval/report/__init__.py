"""Shows result folders as leaderboards, plots and one HTML page that opens from disk; it only reads files.

The package can be called: `marathon_eval.report("results", "report.html")` is `from_python.write_report`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    """A function of the package's name would hide it, and the package hides a function: so it is both."""

    def __call__(self, *arguments: Any, **settings: Any) -> Path:
        from marathon_eval.report.from_python import write_report

        return write_report(*arguments, **settings)


sys.modules[__name__].__class__ = _CallableModule
