"""Tests runs with a manifest of `doctor`: documents whose audio differs from the manifest become error rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from marathon_eval import MarathonError, simple_evaluate
from marathon_eval.corpus.audit.doctor import examine
from marathon_eval.corpus.audit.expected import load_known
from marathon_eval.corpus.audit.fingerprint import pin


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    data = make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 4}, seconds=0.5)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(pin(examine(data, load_known()))))
    return file


def run(tmp_path: Path, manifest: Path, folder: str = "data"):
    return simple_evaluate("dummy", ["gtzan"], data_dir=str(tmp_path / folder), manifest=str(manifest)).tasks[
        "gtzan"
    ]


def test_the_same_sounds_pass_wherever_they_lie(tmp_path: Path, manifest: Path) -> None:
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    assert run(tmp_path, manifest, "moved").n_errors == 0


def test_another_sound_is_an_error_row(tmp_path: Path, manifest: Path) -> None:
    clip = min((tmp_path / "data" / "GTZAN").rglob("*.wav"))
    raw = bytearray(clip.read_bytes())
    raw[-1] ^= 1
    clip.write_bytes(raw)
    task = run(tmp_path, manifest)
    assert (task.n_scored, task.n_errors) == (3, 1)


def test_what_is_no_manifest_ends_the_run(tmp_path: Path, manifest: Path) -> None:
    manifest.write_text("[]")
    with pytest.raises(MarathonError, match=r"--manifest: .*: not a manifest of doctor"):
        run(tmp_path, manifest)
