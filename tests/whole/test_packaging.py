"""Tests that the installed package contains every module, YAML and template that git tracks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = (".py", ".yaml", ".j2", ".json", ".csv", ".typed", ".safetensors", ".jinja", ".txt")


def tracked() -> set[str]:
    """Files of the package by their place in the wheel, from git where there is git."""
    listing = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "marathon_eval",
            "models",
            "presses",
            "tasks",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.splitlines()
    files = [name for name in listing if not (ROOT / name).is_symlink() and (ROOT / name).is_file()]
    assert all(name.endswith(SHIPPED) for name in files), "a file of a kind that setup.cfg does not ship"
    return {name if name.startswith("marathon_eval/") else f"marathon_eval/{name}" for name in files}


def test_wheel_holds_what_git_holds(tmp_path: Path) -> None:
    # a copy, so that no build/ folder of an earlier wheel leaks in or is left behind
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    for name in filter(None, listing.split("\0")):
        source, target = ROOT / name, tmp_path / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    command = [sys.executable, "-c", "import setuptools.build_meta as b; print(b.build_wheel('dist'))"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    wheel = next((tmp_path / "dist").glob("*.whl"))
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == tracked()


def test_the_demos_checkpoint_is_made_beside_the_tests_packages(tmp_path: Path) -> None:
    """scripts/run after scripts/test: the tests' environment holds a torchvision that breaks transformers."""
    command = [sys.executable, str(ROOT / "scripts" / "dev" / "make_tiny_qwen_omni"), str(tmp_path / "tiny")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "tiny" / "config.json").is_file()
