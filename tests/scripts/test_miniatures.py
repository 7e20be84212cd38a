"""Tests that every miniature of a benchmark is read and scored by the command that make_mini prints for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.miniatures import MINIATURES, write_miniatures
from helpers.called_command import called
from marathon_eval.errors import MarathonError


@pytest.mark.parametrize("name", MINIATURES)
def test_its_command_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write_miniatures(out, name)
    command = capsys.readouterr().out.partition("marathon-eval ")[2]
    env = {"MARATHON_EVAL_CACHE": str(tmp_path / "cache"), "HF_DATASETS_CACHE": str(tmp_path / "datasets")}
    done = called(command.split(), out, {**env, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    assert "from the cache" in done.stdout + done.stderr


def test_an_unknown_miniature_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"--benchmarks: no miniature 'blob'\. Did you mean blab"):
        write_miniatures(tmp_path, "mmsu,blob")
    assert list(tmp_path.iterdir()) == []
