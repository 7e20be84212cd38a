"""Loads Audio Flamingo 2 and answers about one clip, in the environment of `audio_flamingo2.requirements.txt`.

The calls are those of NVIDIA's script (https://github.com/NVIDIA/audio-flamingo, branch audio_flamingo_2, commit 7684e9c,
inference_HF_pretrained/inference.py), with greedy decoding. Where that script cuts a prompt or a clip, this worker
says so: a prompt over the limit is an error, and `heard_seconds` counts the windows.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

SAMPLE_RATE = 16000
MAX_PROMPT_TOKENS = 512

_loaded: dict[str, Any] = {}


def weights_folder(args: dict[str, Any]) -> str:
    """Return the folder of the weights, downloaded from the hub if `pretrained` is a name there."""
    if os.path.isdir(args["pretrained"]):
        return str(args["pretrained"])
    from huggingface_hub import snapshot_download

    return str(snapshot_download(args["pretrained"], revision=args.get("revision")))


def load(args: dict[str, Any]) -> None:
    """Build the model with the authors' factory and load the chunks of its weights."""
    code, folder = os.path.abspath(args["code"]), weights_folder(args)
    sys.path.insert(0, code)
    import yaml
    from safetensors.torch import load_file
    from src.factory import create_model_and_transforms

    with open(os.path.join(code, "configs", "inference.yaml"), encoding="utf-8") as file:
        config = yaml.safe_load(file)
    clap, training = dict(config["clap_config"]), config["train_config"]
    clap["checkpoint"] = os.path.join(folder, clap["checkpoint"])
    if args.get("max_windows"):
        clap["max_num_window"] = args["max_windows"]
    model, tokenizer = create_model_and_transforms(
        # weights of the language model go to the hub's own cache, not to a folder of the current one
        **{**config["model_config"], "cache_dir": None},
        clap_config=clap,
        use_local_files=training["offline"],
        gradient_checkpointing=training["gradient_checkpointing"],
        freeze_lm_embeddings=training["freeze_lm_embeddings"],
    )
    device = args.get("device", "cuda")
    model = model.to(device).eval()
    chunks = os.path.join(folder, "safe_ckpt")
    with open(os.path.join(chunks, "metadata.json"), encoding="utf-8") as file:
        names = list(json.load(file))
    state: dict[str, Any] = {}
    for name in names:
        state.update(load_file(os.path.join(chunks, f"{name}.safetensors")))
    missing, unexpected = model.load_state_dict(state, False)
    if unexpected:
        raise ValueError(
            f"{len(unexpected)} tensors of the checkpoint have no place, such as {unexpected[0]}"
        )
    print(f"{len(missing)} tensors are not in safe_ckpt: {list(missing)[:5]}")
    _loaded.update(model=model, tokenizer=tokenizer, clap=clap, device=device)


def windows_of(samples: Any, clap: dict[str, Any]) -> tuple[Any, float]:
    """Return the windows [n, samples] of a mono clip at 16 kHz, the last one padded, and the seconds that they cover.

    As in the authors' script, the clip is scaled to its peak and rounded to 16 bits.
    """
    import numpy as np

    length = int(float(clap["window_length"]) * SAMPLE_RATE)
    step = length - int(float(clap["window_overlap"]) * SAMPLE_RATE)
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    if peak > 0 and samples.min() >= 0:
        samples = 2 * samples / peak - 1.0
    elif peak > 0:
        samples = samples / peak
    count = 1 + max(0, -(-(len(samples) - length) // step))
    count = min(count, int(clap["max_num_window"]))
    covered = length + (count - 1) * step
    heard = min(len(samples), covered)
    padded = np.zeros(covered, dtype=np.float32)
    padded[:heard] = samples[:heard]
    rounded = (np.clip(padded, -1.0, 1.0) * 32767.0).astype(np.int16).astype(np.float32) / 32767.0
    return np.stack([rounded[i * step : i * step + length] for i in range(count)]), heard / SAMPLE_RATE


def answer(question: str, paths: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's text and the seconds that the windows cover. Raises ValueError for what would be cut."""
    import soundfile
    import torch

    if len(paths) != 1:
        raise ValueError(f"Audio Flamingo 2 hears one clip per question, {len(paths)} were sent")
    if settings.get("system"):
        raise ValueError("Audio Flamingo 2 takes no system text")
    model, tokenizer, device = _loaded["model"], _loaded["tokenizer"], _loaded["device"]
    samples, _ = soundfile.read(paths[0], dtype="float32")
    windows, heard = windows_of(samples, _loaded["clap"])
    text = f"<audio>{question.lower().strip()}{tokenizer.sep_token}"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    if ids.shape[1] > MAX_PROMPT_TOKENS:
        raise ValueError(
            f"the prompt has {ids.shape[1]} tokens; the authors' script cuts at {MAX_PROMPT_TOKENS}"
        )
    sampling: dict[str, Any] = {"do_sample": False}
    if settings["temperature"] > 0:
        torch.manual_seed(settings["seed"] or 0)
        sampling = {"do_sample": True, "temperature": settings["temperature"], "top_p": settings["top_p"]}
    with torch.no_grad():
        output = model.generate(
            audio_x=torch.from_numpy(windows).to(device).unsqueeze(0),
            audio_x_mask=torch.ones(len(windows)).to(device).unsqueeze(0),
            lang_x=ids.to(device),
            eos_token_id=tokenizer.eos_token_id,
            max_new_tokens=settings["max_new_tokens"],
            **sampling,
        )[0]
    said = tokenizer.decode(output).split(tokenizer.sep_token)[-1]
    for mark in (tokenizer.eos_token, tokenizer.pad_token, "<|endofchunk|>"):
        said = said.replace(mark, "")
    for stop in settings["stop"]:
        said = said.partition(stop)[0]
    new_tokens = int(output.shape[0]) - int(ids.shape[1])
    ended = new_tokens < settings["max_new_tokens"] or int(output[-1]) == tokenizer.eos_token_id
    return {
        "text": said,
        "heard_seconds": heard,
        "input_tokens": int(ids.shape[1]),
        "finish_reason": "stop" if ended else "length",
    }
