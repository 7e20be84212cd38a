"""Tests the plain installation, without the extra `local`: API models, scoring and reports need no torch."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from helpers.api_server import FakeServer
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError

ROOT = Path(__file__).resolve().parents[2]
#: Runs the command lines on standard input, one a line, in a Python that lacks the packages of `local`.
LACKING = """
import shlex, sys
for name in ("torch", "transformers", "accelerate", "safetensors"):
    sys.modules[name] = None
from marathon_eval.cli.main import main
for line in sys.stdin:
    print("CODE", main(shlex.split(line)))
"""


@pytest.mark.slow
def test_a_run_against_a_server_a_rescoring_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", 2)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    kept = f"-c {tmp_path / 'cache'} -o {tmp_path / 'out'}"
    with FakeServer() as server:
        lines = [
            f"--model openai_audio --model_args model=m,base_url={server.url}/v1 -t gtzan --data_dir {data} {kept}",
            f"score {tmp_path / 'out'} --data_dir {data}",
            f"report {tmp_path / 'out'} -o {tmp_path / 'page.html'}",
            f"show {tmp_path / 'out'} --wrong",
        ]
        done = subprocess.run(
            [sys.executable, "-c", LACKING],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert done.stdout.count("CODE 0") == len(lines), done.stdout + done.stderr
    assert (tmp_path / "page.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_wheel_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """The wheel with the extra `api` brings no torch; its command runs a model behind a server, and reports."""
    source = tmp_path / "source"
    for name in ("marathon_eval", "models", "presses", "tasks"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    build = [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('dist')"]
    subprocess.run(build, check=True, capture_output=True, cwd=source)
    (wheel,) = (source / "dist").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    bin_folder = tmp_path / "env" / "bin"
    pip = [
        bin_folder / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "-c",
        ROOT / "constraints.txt",
        f"{wheel}[api]",
    ]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(pip, check=True, env=env)
    installed = {
        path.name.split("-")[0] for path in tmp_path.glob("env/lib/python*/site-packages/*.dist-info")
    }
    assert not installed & {"torch", "transformers", "accelerate", "safetensors"}
    command = str(bin_folder / "marathon-eval")
    assert (
        least_cpu_seconds([command, "--help"], env)
        < least_cpu_seconds([sys.executable, "-c", "0"], env) + 0.15
    )
    data = make_audiomarathon_data.build(tmp_path / "data", 2)
    with FakeServer() as server:
        for line in (
            f"--model openai_audio --model_args model=m,base_url={server.url}/v1 -t gtzan --data_dir {data} -c cache -o out",
            f"score out --data_dir {data}",
            "report out -o page.html",
            "show out",
        ):
            done = subprocess.run(
                [command, *line.split()],
                env={**env, "OPENAI_API_KEY": "none"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").is_file()


def least_cpu_seconds(command: list[str], env: dict[str, str]) -> float:
    """Return the least processor time of five calls, in seconds."""
    found = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_a_local_model_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    model = Registry().model_class("qwen_omni").from_args({"pretrained": "nano"})
    with pytest.raises(
        MarathonError, match=r"needs transformers and torch: pip install 'marathon-eval\[local\]'"
    ):
        _ = model.fingerprint
