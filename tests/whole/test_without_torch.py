"""Tests the plain installation, without the extra `local`: API models, scoring and reports need no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from helpers.api_server import FakeServer
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError

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
