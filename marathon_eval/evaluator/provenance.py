"""Records what produced a result: package versions and the git commit, read without importing the packages."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from marathon_eval.files import PACKAGE

#: Packages whose versions results.json records, because they can change a score.
RECORDED_PACKAGES = (
    "marathon-eval",
    "torch",
    "transformers",
    "numpy",
    "av",
    "soundfile",
    "soxr",
    "jiwer",
    "whisper-normalizer",
)


def recorded_versions() -> dict[str, Any]:
    """Return the versions of Python and RECORDED_PACKAGES (None: not installed), and the commit of a checkout."""
    return {**_package_versions(), "git_commit": git_commit()}


@cache
def _package_versions() -> dict[str, Any]:
    """Return what was installed when this process first asked: what it has imported does not change later."""
    versions: dict[str, Any] = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


@cache
def git_commit() -> str | None:
    """Return the git commit of this source tree as this process first saw it; None for an installed wheel or if git fails."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() or None
