"""What produced the numbers: package versions and the commit, read without importing any of it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from marathon_eval.files import PACKAGE

RECORDED_PACKAGES = (
    "marathon-eval",
    "torch",
    "transformers",
    "numpy",
    "soundfile",
    "soxr",
    "jiwer",
    "whisper-normalizer",
)


def recorded_versions() -> dict[str, Any]:
    """Python, the packages that can move a score, and our commit where this is a checkout."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {**found, "git_commit": git_commit()}


def git_commit() -> str | None:
    """The commit of this source tree; None for an installed wheel or where git does not answer."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
