"""Finds a model's weights and identifies them, without torch, without loading them and mostly without the network.

A local folder is identified by the content of its config, tokenizer and weight files; each file's hash is memoised by
the file's path and identity (api/file_identity.py). A name on the hub is identified by its commit: pinned by the adapter, set by `revision=`, or
resolved.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from marathon_eval.api.file_identity import file_identity
from marathon_eval.api.hub_client import guard_hub_client
from marathon_eval.backends.hf.config_files import missing_modules
from marathon_eval.errors import MarathonError
from marathon_eval.files import PACKAGE

#: The files of a checkpoint; others in its folder (readmes, logs, optimizer states) do not change responses.
CONFIG_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
WEIGHT_FILES = ("*.safetensors", "*.bin")
#: The folder of checkpoints that come with the package, such as the demonstration model `nano`.
SHIPPED = PACKAGE / "data"
#: Describes a LoRA beside the weights.
LORA_CONFIG = "adapter_config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
#: The same files of older checkpoints, as torch.save writes them; used where there are no safetensors.
PICKLED_INDEX, PICKLED = "pytorch_model.bin.index.json", "pytorch_model.bin"
#: The weight file of CTranslate2's layout, and a key that only its Whisper configs have.
CONVERTED, CONVERTED_KEY = "model.bin", "suppress_ids"
#: The limit for a response from the hub.
HUB_SECONDS = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Memo(Protocol):
    """Stores JSON values by key; the response cache implements it."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]: ...
    def put(self, key: str, value: Any) -> None: ...


def local_folder(pretrained: str, flag: str = "--model_args") -> Path | None:
    """Return the folder that `pretrained=` names (a shipped one too), or None for a name on the hub.

    Raises MarathonError when it is neither.
    """
    folder = Path(pretrained).expanduser()
    if folder.is_dir():
        return folder
    if len(folder.parts) == 1 and (SHIPPED / folder / "config.json").is_file():
        return SHIPPED / folder
    if pretrained.startswith((".", "/", "~")) or len(folder.parts) != 2:
        raise MarathonError(
            f"{flag}: pretrained={pretrained}: no such folder, and no name on the hub (OWNER/NAME)"
        )
    return None


def folder_hash(folder: Path, memo: Memo | None = None, flag: str = "--model_args") -> str:
    """Return the SHA-256 over names and contents of config and weight files.

    Raises MarathonError when config or weights are missing.
    """
    files = checkpoint_files(folder)
    if not (folder / "config.json").is_file() or not any(
        path.match(kind) for path in files for kind in WEIGHT_FILES
    ):
        raise MarathonError(
            f"{flag}: pretrained={folder}: holds no checkpoint (config.json and *.safetensors or *.bin)"
        )
    contents = hashes(files, memo)
    digests = [[Path(os.path.relpath(path, folder)).as_posix(), contents[path]] for path in files]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the config, tokenizer and weight files of a folder, sorted; an index may name weights in other folders."""
    kinds = (*CONFIG_FILES, *WEIGHT_FILES)
    found = {path for kind in kinds for path in folder.glob(kind) if path.is_file()}
    for index in folder.glob("*.index*.json"):
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # loading it says so
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            found |= {path for shard in set(shards) if (path := folder / shard).is_file()}
    return sorted(found)


def hashes(files: Sequence[Path], memo: Memo | None) -> dict[Path, str]:
    """Return each file's SHA-256, from the memo where its key holds the file's whole identity.

    A key of earlier versions holds size and modification time only; its hash is taken over where the file's inode last
    changed when its content was written.
    """
    identities = {path: file_identity(str(path)) for path in files}
    keys = {path: f"file/{os.path.abspath(path)}|{one.text}" for path, one in identities.items()}
    earlier = {
        path: f"file/{os.path.abspath(path)}|{one.by_time}"
        for path, one in identities.items()
        if one.unchanged_since_written
    }
    known = memo.get_many([*keys.values(), *earlier.values()]) if memo is not None else {}
    found: dict[Path, str] = {}
    for path, key in keys.items():
        if key not in known:
            remembered = known.get(earlier.get(path, ""))
            known[key] = file_hash(path) if remembered is None else remembered
            if memo is not None:
                memo.put(key, known[key])
        found[path] = known[key]
    return found


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def peft_release() -> dict[str, str | None]:
    """Return peft's release as part of a model's identity; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    try:
        found = find_spec("peft") is not None
        return {"peft": ".".join(version("peft").split(".")[:2]) if found else None}
    except (PackageNotFoundError, ValueError):
        return {"peft": None}


def hub_commit(name: str, revision: str | None, flag: str = "--model_args", file: str = "config.json") -> str:
    """Return the commit of a name on the hub: `revision` itself, the last downloaded one, or the hub's current one.

    `file` is one that the repository has.

    Raises MarathonError when the hub is needed and does not answer.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, file, revision=revision)
    return Path(config).parent.name if isinstance(config, str) else asked_commit(name, revision, flag, file)


def hub_config(name: str, commit: str, flag: str = "--model_args") -> Path:
    """Return the config.json of a commit, downloaded if it is not in the local cache. Raises MarathonError."""
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, "config.json", revision=commit), str):
        asked_commit(name, commit, flag)
    return Path(str(try_to_load_from_cache(name, "config.json", revision=commit)))


def asked_commit(
    name: str, revision: str | None, flag: str = "--model_args", file: str = "config.json"
) -> str:
    """Ask the hub for the current commit by downloading `file`, so that the local cache records it.

    Raises MarathonError naming the weights when the hub does not answer.
    """
    from huggingface_hub import constants, hf_hub_download

    guard_hub_client()
    if not constants.HF_HUB_OFFLINE:
        _check_connection(name, constants.ENDPOINT, flag)
    try:
        config = hf_hub_download(name, file, revision=revision, etag_timeout=HUB_SECONDS)
    except Exception as error:  # noqa: BLE001 - the errors of the client's network library differ between versions
        raise unreachable(name, _refusal(error), flag) from None
    return Path(config).parent.name


def _check_connection(name: str, endpoint: str, flag: str) -> None:
    """Raise MarathonError at once when the hub is not reachable; its client would retry for half a minute."""
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=HUB_SECONDS).close()
    except urllib.error.HTTPError as reply:  # any reply shows that the hub is reachable
        reply.close()
    except OSError as error:
        raise unreachable(
            name, f"the hub does not answer ({getattr(error, 'reason', error)})", flag
        ) from None


def _refusal(error: Exception) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, RevisionNotFoundError):
        return "the hub knows no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub knows no such model, or requires a login"
    if isinstance(error, EntryNotFoundError) and error.__cause__ is None:
        return "the hub's copy has no config.json"
    return f"the hub does not answer ({type(error.__cause__ or error).__name__})"


def unreachable(name: str, why: str, flag: str = "--model_args") -> MarathonError:
    """Return the error for weights that are not available; `why` gives the reason."""
    return MarathonError(
        f"no weights: {name} is not in the local hub cache, and {why}. "
        f"Give a checkpoint's folder with {flag} pretrained=FOLDER"
    )


def snapshot(name: str, commit: str, prefix: str | None, code: bool = False) -> Path | None:
    """Return the commit's folder in the local hub cache if all needed files are there, else None.

    `code`: the modules beside the weights are needed too (trust_remote_code).
    """
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json", revision=commit)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    # weights are downloaded last, so if they are there, the small files are too
    complete = not missing_shards(folder, prefix) and not (code and missing_modules(folder))
    return folder if complete and not lacks_adapter(folder) else None


def lacks_adapter(folder: Path) -> bool:
    """Return whether a checkpoint has the config of an adapter and not its weights."""
    return (folder / LORA_CONFIG).is_file() and not any(folder.glob("adapter_model.*"))


def fetched(
    name: str, commit: str, prefix: str | None, flag: str = "--model_args", code: bool = False
) -> Path:
    """Return the commit's folder after downloading what is missing.

    Downloads config and tokenizer files, then the weight shards that hold tensors named `prefix...`, an adapter beside
    them, and with `code` the Python files. Raises MarathonError when the hub does not answer or lacks a file.
    """
    cached = snapshot(name, commit, prefix, code)
    if cached is not None:
        return cached
    from huggingface_hub import snapshot_download

    small = [*CONFIG_FILES, "*.py"] if code else list(CONFIG_FILES)
    guard_hub_client()
    try:
        folder = Path(snapshot_download(name, revision=commit, allow_patterns=small))
        large = missing_shards(folder, prefix)
        if large == [SINGLE] and SINGLE not in _published(name, commit):
            large = [PICKLED]
        if (folder / LORA_CONFIG).is_file():
            large.append("adapter_model.*")
        snapshot_download(name, revision=commit, allow_patterns=large)
    except Exception as error:  # noqa: BLE001 - of the client's network library, any kind
        raise unreachable(name, _refusal(error), flag) from None
    missing = missing_shards(folder, prefix) + (missing_modules(folder) if code else [])
    if lacks_adapter(folder):
        missing.append("adapter_model.safetensors")
    if missing:
        raise unreachable(name, f"the hub has no {', '.join(missing)}", flag)
    return folder


def _published(name: str, commit: str) -> set[str]:
    """Return the names of the files that the hub has of a commit."""
    from huggingface_hub import HfApi

    return {file.rfilename for file in HfApi().model_info(name, revision=commit).siblings or ()}


def fetched_adapter(name: str, commit: str, files: Sequence[str], flag: str = "--model_args") -> Path:
    """Return the folder of an adapter's files after downloading those that the hub has. Raises MarathonError."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    cached = [try_to_load_from_cache(name, file, revision=commit) for file in files]
    if sum(isinstance(file, str) for file in cached) > 1:  # the config and one of the two forms of weights
        return Path(next(file for file in cached if isinstance(file, str))).parent
    guard_hub_client()
    try:
        return Path(snapshot_download(name, revision=commit, allow_patterns=list(files)))
    except Exception as error:  # noqa: BLE001 - as above
        raise unreachable(name, _refusal(error), flag) from None


def missing_shards(folder: Path, prefix: str | None) -> list[str]:
    """Return the needed weight files that the folder lacks. Raises MarathonError for an index that can't be read."""
    needed = needed_shards(folder, prefix) or [_single(folder)]
    return [shard for shard in needed if not (folder / shard).exists()]


def _single(folder: Path) -> str:
    """Return the name of the only weight file, which depends on the config's layout (CTranslate2 or transformers)."""
    config = (folder / "config.json").read_text(encoding="utf-8")
    if f'"{CONVERTED_KEY}"' in config:
        return CONVERTED
    return PICKLED if (folder / PICKLED).exists() and not (folder / SINGLE).exists() else SINGLE


def weight_index(folder: Path) -> Path | None:
    """Return the index of a checkpoint in several files, safetensors before others; None for weights in one file."""
    if (folder / SINGLE).exists():
        return folder / INDEX if (folder / INDEX).is_file() else None
    return next((folder / name for name in (INDEX, PICKLED_INDEX) if (folder / name).is_file()), None)


def weight_files(folder: Path, prefix: str | None) -> list[Path]:
    """Return the weight files that are needed and there, an adapter's among them. Raises MarathonError."""
    needed = [folder / name for name in needed_shards(folder, prefix) or [_single(folder)]]
    return [file for file in (*needed, *sorted(folder.glob("adapter_model.*"))) if file.is_file()]


def weight_map(folder: Path) -> dict[str, str]:
    """Read the index that maps tensor names to shards; empty for weights in one file. Raises MarathonError."""
    path = weight_index(folder)
    if path is None:
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise MarathonError(f"{path}: is no index of weights ({type(error).__name__})") from None


def needed_shards(folder: Path, prefix: str | None) -> list[str]:
    """Return the shards that hold tensors named `prefix...`; all shards if no tensor has the prefix."""
    shard_of = weight_map(folder)
    matching = {shard for name, shard in shard_of.items() if prefix and name.startswith(prefix)}
    return sorted(matching or set(shard_of.values()))
