"""Writes the trained model as a checkpoint for the ordinary loader: half precision, safetensors, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nano.losses import Learner
from nano.mels import extractor
from nano.words import TEMPLATE

#: The files that are shipped.
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def write(folder: Path, learner: Learner, tokenizer: Any) -> None:
    """Write config, weights, tokenizer, chat template and feature extractor to `folder`."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    learner.thinker.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extractor().save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    weights = folder / "model.safetensors"
    halves = {name: tensor.half().contiguous() for name, tensor in load_file(weights).items()}
    save_file(halves, weights, metadata={"format": "pt"})
    _round_numbers(folder)
    for file in folder.iterdir():
        if file.name not in FILES:
            file.unlink()


def _round_numbers(folder: Path) -> None:
    """Store in half precision but declare single, so that `dtype=auto` computes correctly on a CPU too."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        part.pop("transformers_version", None)
        if "dtype" in part:
            part["dtype"] = "float32"
    file.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
