"""Loads a checkpoint's weights, tokenizer and feature extractor."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from marathon_eval.backends.hf import lora, weights
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.inputs import chat_template, default_template
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.backends.hf.inputs import LocalModel


#: The types in which the kernels of flash attention compute.
HALF = (torch.bfloat16, torch.float16)


def load(adapter: LocalModel) -> Loaded:
    """Load the adapter's checkpoint. Raises MarathonError naming what is missing or does not fit."""
    folder = adapter.folder()
    weights_class = getattr(transformers, adapter.weights_class, None)
    if weights_class is None:
        raise MarathonError(
            f"--model {adapter.name()}: transformers {transformers.__version__} has no {adapter.weights_class}: "
            "install a newer one"
        )
    device = chosen_device(adapter.args.device)
    trusted = {"trust_remote_code": adapter.args.trust_remote_code}
    try:
        with quiet(), complete_checkpoint(folder, adapter.weights_prefix) as complete:
            model, loading_info = adapter.load_weights(
                weights_class,
                complete,
                dtype=adapter.args.dtype,
                attn_implementation=adapter.kernels(),
                device_map=device_map(adapter.args.device_map, device),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                **trusted,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trusted)
            features = adapter.extractor(folder)
            refuse_base_alone(model, folder, loading_info)
            adapter.after_load(model, folder)
            apply_lora(model, adapter)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise MarathonError(
            f"--model {adapter.name()}: cannot load {adapter.args.pretrained}: {reason}"
        ) from None
    refuse_missing_weights(
        loading_info, f"--model {adapter.name()}: {adapter.args.pretrained}", adapter.weights_class
    )
    _refuse_float32(adapter.args.attn_implementation, model.dtype)
    if device_map(adapter.args.device_map, device) is None:
        model.to(device)
    model.eval()
    settle_tokens(adapter, model, tokenizer)
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        features=features,
        chat_template=chat_template(folder) or default_template(tokenizer.chat_template, str(folder)),
        device=model.device,
        weights_bytes=torch.cuda.memory_allocated(device) if device.type == "cuda" else 0,
    )


def settle_tokens(adapter: LocalModel, model: Any, tokenizer: Any) -> None:
    """Set the tokens that end an answer, and one that pads batches. Raises MarathonError where nothing ends an answer."""
    ends = ending_tokens(adapter, model, tokenizer)
    if not ends:
        raise MarathonError(
            f"--model {adapter.name()}: {adapter.args.pretrained} names no token that ends an answer"
        )
    if tokenizer.pad_token_id is None:
        # batches are padded with it and masked there, so any token does
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(ends[0])
    # the checkpoint's sampling settings must not change greedy answers, so only its end tokens are kept
    if adapter.token_rate is not None:
        pad = tokenizer.pad_token_id
        model.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=pad)


def device_map(asked: str | None, device: torch.device) -> str | dict[str, str] | None:
    """Return the device_map for `from_pretrained`: what was asked for, or the device itself; None for the CPU.

    With a map, each tensor is read straight to its device. Without one, the whole model is built in the CPU's memory
    first, by each process of a machine.
    """
    return asked if asked is not None or device.type == "cpu" else {"": str(device)}


def refuse_missing_weights(
    loading_info: dict[str, Any], where: str, weights_class: str, unused: str | None = None
) -> None:
    """Raise MarathonError for weights that transformers drew at random; those whose names begin with `unused` may be."""
    missing = sorted(loading_info["missing_keys"])
    absent = missing + sorted(name for name, *_ in loading_info["mismatched_keys"])
    absent = [name for name in absent if unused is None or not name.startswith(unused)]
    if absent:
        raise MarathonError(f"{where} lacks {len(absent)} weights of {weights_class}, first {absent[0]}")


def refuse_base_alone(model: Any, folder: Path, loading_info: dict[str, Any]) -> None:
    """Raise MarathonError where an adapter lies beside the weights and is not, or not wholly, in the loaded model."""
    if not (folder / weights.LORA_CONFIG).is_file():
        return
    where = str(folder)
    lora.refuse_incomplete(folder, where)
    if not getattr(model, "peft_config", None):
        raise MarathonError(f"{where}: its adapter was not applied; the base model would answer")
    lora.refuse_unapplied({"unexpected_keys": loading_info["unexpected_keys"]}, where)


def apply_lora(model: Any, adapter: LocalModel) -> None:
    """Apply the adapter of `peft=`, beside one that the model has already. Raises MarathonError if it does not fit."""
    folder = adapter.lora()
    if folder is None:
        return
    before = list(getattr(model, "peft_config", None) or ())
    info = model.load_adapter(str(folder), adapter_name=lora.NAME, ignore_mismatched_sizes=True)
    model.set_adapter([*before, lora.NAME] if before else lora.NAME)
    lora.refuse_unapplied(info, f"--model_args: peft={adapter.args.peft}")


def _refuse_float32(kernel: str, dtype: torch.dtype) -> None:
    """Raise MarathonError for a kernel of flash attention, which computes in half precision only, on other weights."""
    if kernel.startswith("flash") and dtype not in HALF:
        raise MarathonError(
            f"--model_args: attn_implementation={kernel} computes in bfloat16 or float16 only, and these weights are "
            f"{str(dtype).removeprefix('torch.')}: add dtype=bfloat16, or use attn_implementation=sdpa"
        )


def chosen_device(name: str) -> torch.device:
    """Return the named device; `auto` is the first GPU, else the CPU.

    Raises MarathonError for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MarathonError(f"--device: {name}: no such device; use auto, cpu, cuda, cuda:1 ...") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MarathonError(f"--device: {name}: torch finds no GPU on this machine")
    return device


def ending_tokens(adapter: LocalModel, model: Any, tokenizer: Any) -> list[int]:
    """Return every token id that ends an answer: those of generation config, text config, tokenizer and adapter."""
    end_ids: list[int] = []
    for entry in (
        model.generation_config.eos_token_id,
        getattr(model.config.get_text_config(), "eos_token_id", None),
        tokenizer.eos_token_id,
        *(tokenizer.convert_tokens_to_ids(token) for token in adapter.end_tokens),
    ):
        ids = entry if isinstance(entry, list) else [entry]
        end_ids.extend(i for i in ids if i is not None and i not in end_ids)
    return end_ids


@contextmanager
def quiet() -> Iterator[None]:
    """While open, hide transformers' progress bar and its warnings about weights that are not loaded."""
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(level)


@contextmanager
def complete_checkpoint(folder: Path, prefix: str | None) -> Iterator[Path]:
    """Yield a folder whose index names only shards that are present: the folder itself, or a temporary one of links.

    Raises MarathonError when a needed shard is missing.
    """
    present = {file for file in set(weights.weight_map(folder).values()) if (folder / file).exists()}
    index_name = (weights.weight_index(folder) or folder / weights.INDEX).name
    names = weights.weight_map(folder)
    if present == set(names.values()):
        yield folder
        return
    missing = [shard for shard in weights.needed_shards(folder, prefix) if shard not in present]
    if missing:
        raise MarathonError(f"{folder}: lacks {', '.join(missing)}, which its index names")
    with tempfile.TemporaryDirectory(prefix="marathon_eval_") as temporary:
        for file in folder.iterdir():
            if file.is_file() and file.name != index_name:
                (Path(temporary) / file.name).symlink_to(file.resolve())
        index = {"metadata": {}, "weight_map": {n: shard for n, shard in names.items() if shard in present}}
        (Path(temporary) / index_name).write_text(json.dumps(index), encoding="utf-8")
        yield Path(temporary)
