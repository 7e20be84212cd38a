"""Tests which files are downloaded from a hub: adapters, a checkpoint's own code, older layouts, interrupted downloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import hub_server

ROOT = Path(__file__).resolve().parents[3]
NAME = "someone/tiny"
FETCH = """
import sys
from marathon_eval.backends.hf import lora, weights
from marathon_eval.errors import MarathonError
try:
    if sys.argv[2] == "peft":
        folder = lora.adapter_folder(sys.argv[1], "--model_args")
    else:
        folder = weights.fetched(sys.argv[1], sys.argv[3], None, code=sys.argv[2] == "code")
    print(*sorted(path.name for path in folder.iterdir()))
except MarathonError as error:
    sys.exit(str(error))
"""


def published(folder: Path, **files: str | bytes) -> Path:
    """Write a repository; in the names of `files`, two underscores stand for a dot."""
    folder.mkdir(exist_ok=True)
    for name, content in {"config__json": "{}", "README__md": "never asked for", **files}.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def fetched(home: Path, hub: str, kind: str = "weights") -> subprocess.CompletedProcess[str]:
    own = {
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub,
    }
    command = [sys.executable, "-c", FETCH, NAME, kind, hub_server.COMMIT]
    return subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pytorch_model__bin": "old"}, {"pytorch_model.bin"}),
        ({"pytorch_model__bin": "old", "model__safetensors": "new"}, {"model.safetensors"}),
        (
            {
                "pytorch_model__bin__index__json": '{"weight_map": {"a": "one.bin", "b": "two.bin"}}',
                "one__bin": "1",
                "two__bin": "2",
                "training_args__bin": "never asked for",
            },
            {"pytorch_model.bin.index.json", "one.bin", "two.bin"},
        ),
        (
            {"model__safetensors": "new", "adapter_config__json": "{}", "adapter_model__safetensors": "lora"},
            {"model.safetensors", "adapter_config.json", "adapter_model.safetensors"},
        ),
    ],
    ids=["bin only", "both", "bin shards", "adapter beside"],
)
def test_files_that_are_downloaded(files: dict[str, str], expected: set[str], tmp_path: Path) -> None:
    repository = published(tmp_path / "published", **files)
    with hub_server.serving(repository, NAME) as hub:
        out = fetched(tmp_path / "home", hub.url)
        assert out.returncode == 0, out.stderr
        assert set(out.stdout.split()) == {"config.json", *expected}
        assert "README.md" not in hub.files
        sent = len(hub.files)
        again = fetched(tmp_path / "home", hub.url)
        assert (again.stdout, len(hub.files)) == (out.stdout, sent), "a second run downloads nothing"


def test_code_is_downloaded_only_where_it_may_run(tmp_path: Path) -> None:
    config = json.dumps({"auto_map": {"AutoModel": "modeling_own.Own", "AutoConfig": "other/name--config.C"}})
    files = {"config__json": config, "model__safetensors": "w", "modeling_own__py": "A = 1"}
    with hub_server.serving(published(tmp_path / "published", **files), NAME) as hub:
        assert "modeling_own.py" not in fetched(tmp_path / "home", hub.url).stdout
        assert "modeling_own.py" in fetched(tmp_path / "home", hub.url, "code").stdout
    (tmp_path / "published" / "modeling_own.py").unlink()
    with hub_server.serving(tmp_path / "published", NAME) as hub:
        out = fetched(tmp_path / "other", hub.url, "code")
    assert "the hub has no modeling_own.py" in out.stderr


def test_an_adapter_named_by_peft_is_downloaded_alone(tmp_path: Path) -> None:
    files = {"adapter_config__json": "{}", "adapter_model__safetensors": "lora", "model__safetensors": "base"}
    with hub_server.serving(published(tmp_path / "published", **files), NAME) as hub:
        out = fetched(tmp_path / "home", hub.url, "peft")
        assert out.returncode == 0, out.stderr
        assert set(out.stdout.split()) == {"adapter_config.json", "adapter_model.safetensors"}
    offline = fetched(tmp_path / "home", hub.url, "peft")
    assert offline.stdout == out.stdout, "a second run needs no hub"


@pytest.mark.parametrize("lost", ["model.safetensors", "adapter_model.safetensors"])
def test_an_interrupted_download_is_completed(lost: str, tmp_path: Path) -> None:
    files = {"model__safetensors": "w", "adapter_config__json": "{}", "adapter_model__safetensors": "lora"}
    with hub_server.serving(published(tmp_path / "published", **files), NAME) as hub:
        first = fetched(tmp_path / "home", hub.url)
        (held,) = (tmp_path / "home").rglob(f"snapshots/*/{lost}")
        held.unlink()
        assert fetched(tmp_path / "home", hub.url).stdout == first.stdout


def test_an_adapter_without_weights_on_the_hub_is_refused(tmp_path: Path) -> None:
    files = {"model__safetensors": "w", "adapter_config__json": "{}"}
    with hub_server.serving(published(tmp_path / "published", **files), NAME) as hub:
        out = fetched(tmp_path / "home", hub.url)
    assert "the hub has no adapter_model.safetensors" in out.stderr
