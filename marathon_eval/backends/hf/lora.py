"""Finds and identifies adapters of peft (LoRA and others): beside complete weights, or named by `peft=FOLDER|NAME`.

transformers applies an adapter beside the weights where peft is installed, and skips it in silence where it is not
(https://huggingface.co/docs/transformers/peft); the base model would answer in the fine-tuned one's name. Here a missing
package, a missing file and a tensor that finds no place in the model are errors. This file imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from marathon_eval.backends.hf import weights
from marathon_eval.errors import MarathonError

ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
#: The name under which `peft=` is added to a model.
NAME = "peft"


def weight_file(folder: Path) -> Path | None:
    """Return the adapter's weights in a folder; None where there are none."""
    return next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)


def refuse_incomplete(folder: Path, where: str) -> None:
    """Raise MarathonError when the adapter in `folder` lacks a file or the package that applies it.

    `where` begins the message: the flag and the argument that named the folder.
    """
    if not (folder / weights.LORA_CONFIG).is_file():
        raise MarathonError(
            f"{where}: holds no adapter ({weights.LORA_CONFIG} and {' or '.join(ADAPTER_WEIGHTS)})"
        )
    if weight_file(folder) is None:
        raise MarathonError(
            f"{where}: has {weights.LORA_CONFIG} but no {' or '.join(ADAPTER_WEIGHTS)}: without them the base model would answer"
        )
    if find_spec("peft") is None:
        raise MarathonError(
            f"{where}: holds an adapter, which needs peft: pip install 'peft>=0.17'; without it the base model would answer"
        )


def adapter_folder(name: str, flag: str) -> Path:
    """Return the folder that `peft=` names, downloaded if it is a name on the hub. Raises MarathonError."""
    folder = local(name, flag)
    if folder is None:
        commit = weights.hub_commit(name, None, flag, weights.LORA_CONFIG)
        folder = weights.fetched_adapter(name, commit, [weights.LORA_CONFIG, *ADAPTER_WEIGHTS], flag)
    refuse_incomplete(folder, f"{flag}: peft={name}")
    return folder


def local(name: str, flag: str) -> Path | None:
    """Return the folder if `peft=` names one; None for a name on the hub. Raises MarathonError when it is neither."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or len(folder.parts) != 2:
        raise MarathonError(f"{flag}: peft={name}: no such folder, and no name on the hub (OWNER/NAME)")
    return None


def identity(name: str, memo: weights.Memo | None, flag: str) -> dict[str, Any]:
    """Return what identifies the adapter of `peft=`, for the model's fingerprint. Raises MarathonError."""
    folder = local(name, flag)
    if folder is None:
        commit = weights.hub_commit(name, None, flag, weights.LORA_CONFIG)
        return {"lora": {"name": name, "revision": commit}, **weights.peft_release()}
    refuse_incomplete(folder, f"{flag}: peft={name}")
    files = [folder / weights.LORA_CONFIG, weight_file(folder) or folder / ADAPTER_WEIGHTS[0]]
    hashes = weights.hashes(files, memo)
    return {
        "lora": {"name": folder.resolve().name, "weights": [hashes[file] for file in files]},
        **weights.peft_release(),
    }


def refuse_unapplied(info: Any, where: str) -> None:
    """Raise MarathonError when tensors of an adapter found no place in the model, or places got none.

    `info` is what transformers returned for the adapter: its keys that are missing, unexpected or of another shape.
    """
    report = info if isinstance(info, Mapping) else vars(info)
    for kind, said in (
        ("unexpected_keys", "tensors of the adapter have no place in this model"),
        ("missing_keys", "places of the adapter got no tensor"),
        ("mismatched_keys", "tensors of the adapter have another shape than their place"),
    ):
        names = sorted(str(key if isinstance(key, str) else key[0]) for key in report.get(kind) or ())
        if names:
            raise MarathonError(f"{where}: {len(names)} {said} ({names[0]} ...): it belongs to another model")
