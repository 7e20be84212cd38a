"""Where a model's weights are, and what identifies them: known without torch, without loading, mostly without network.

A local folder is identified by what is in its config, tokenizer and weight files, hashed once and memoised by (path,
size, mtime). A name on the hub is identified by its commit: pinned by us, given as `revision=`, or resolved.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from marathon_eval.errors import MarathonError

#: What a checkpoint is made of; anything else in its folder (readmes, logs, optimizer states) changes no answer.
CONFIG_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
WEIGHT_FILES = ("*.safetensors", "*.bin")
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
HUB_SECONDS = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Memo(Protocol):
    """A place that keeps JSON values by key: the answers' cache is one."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]: ...
    def put(self, key: str, value: Any) -> None: ...


def local_folder(pretrained: str) -> Path | None:
    """The folder that `pretrained=` names, or None for a name on the hub. Raises MarathonError."""
    folder = Path(pretrained).expanduser()
    if folder.is_dir():
        return folder
    if pretrained.startswith((".", "/", "~")) or len(folder.parts) != 2:
        raise MarathonError(f"--model_args: pretrained={pretrained}: no such folder, and no name on the hub (OWNER/NAME)")
    return None


def folder_hash(folder: Path, memo: Memo | None = None) -> str:
    """SHA-256 over names and contents of config and weight files. Raises MarathonError where weights are missing."""
    files = sorted({path for kind in (*CONFIG_FILES, *WEIGHT_FILES) for path in folder.glob(kind) if path.is_file()})
    if not (folder / "config.json").is_file() or not any(path.match(kind) for path in files for kind in WEIGHT_FILES):
        raise MarathonError(
            f"--model_args: pretrained={folder}: holds no checkpoint (config.json and *.safetensors or *.bin)"
        )
    keys = {path: _memo_key(path) for path in files}
    known = memo.get_many(keys.values()) if memo is not None else {}
    digests = []
    for path, key in keys.items():
        if key not in known:
            known[key] = file_hash(path)
            if memo is not None:
                memo.put(key, known[key])
        digests.append([path.name, known[key]])
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _memo_key(path: Path) -> str:
    stat = path.stat()
    return f"file/{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}"


def hub_commit(name: str, revision: str | None) -> str:
    """The commit behind a name on the hub: as given, as last downloaded, or as the hub says. Raises MarathonError."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(found, str):
        return Path(found).parent.name
    return asked_commit(name, revision)


def asked_commit(name: str, revision: str | None) -> str:
    """The commit as the hub says it now; raises MarathonError naming the weights when it does not answer."""
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS).sha
    except Exception as error:  # the client's network library, and so its errors, change between versions
        raise unreachable(name, _refusal(error)) from None
    if commit is None:
        raise unreachable(name, "the hub names no commit")
    return commit


def _refusal(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return "the hub knows no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub knows no such model, or wants a login"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return f"the hub does not answer ({type(error).__name__})"


def unreachable(name: str, why: str) -> MarathonError:
    """The one wording for weights that are not to be had."""
    return MarathonError(
        f"no weights: {name} is not in the local hub cache, and {why}. "
        "Give a checkpoint's folder with --model_args pretrained=FOLDER"
    )


def downloaded(name: str, commit: str) -> bool:
    """Whether config and weights (or their index) of that commit are in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache

    def here(file: str) -> bool:
        return isinstance(try_to_load_from_cache(name, file, revision=commit), str)

    return here("config.json") and (here(INDEX) or here(SINGLE))


def fetched(name: str, commit: str, prefix: str | None) -> Path:
    """The local snapshot, downloading what is missing: config and tokenizer files, and the weight shards that hold
    tensors named `prefix...`. Raises MarathonError where the hub does not answer."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=commit, allow_patterns=list(CONFIG_FILES)))
        shards = needed_shards(folder, prefix) or [SINGLE]
        if not all((folder / shard).exists() for shard in shards):
            snapshot_download(name, revision=commit, allow_patterns=shards)
    except MarathonError:
        raise
    except Exception as error:  # as above
        raise unreachable(name, _refusal(error)) from None
    missing = [shard for shard in shards if not (folder / shard).exists()]
    if missing:
        raise unreachable(name, f"the download lacks {', '.join(missing)}")
    return folder


def weight_map(folder: Path) -> dict[str, str]:
    """Tensor name -> shard, as the index says it; empty for weights in one file. Raises MarathonError."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError) as error:
        raise MarathonError(f"{path}: is no index of weights ({error})") from None
    return dict(names)


def needed_shards(folder: Path, prefix: str | None) -> list[str]:
    """The shards that hold tensors named `prefix...`; all of them where no tensor is named so."""
    names = weight_map(folder)
    wanted = {shard for name, shard in names.items() if prefix and name.startswith(prefix)}
    return sorted(wanted or set(names.values()))
