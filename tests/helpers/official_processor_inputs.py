"""Computes inputs by the official Qwen2.5-Omni processor: `python FILE CHECKPOINT WAVES.npz OUT.npz`, FILE being this one.

It is a process of its own, because that processor imports torchvision, whose CUDA wheel loads beside CPU torch only
after two operator schemas were registered; all other code here runs without torchvision.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

SCHEMAS = torch.library.Library("torchvision", "DEF")


def main(checkpoint: Path, waves: Path, out: Path) -> None:
    try:
        # a torchvision built for this torch needs no help
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            SCHEMAS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from transformers import (
        AutoTokenizer,
        Qwen2_5OmniProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )

    processor = Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        feature_extractor=WhisperFeatureExtractor.from_pretrained(checkpoint),
        tokenizer=AutoTokenizer.from_pretrained(checkpoint),
        chat_template=json.loads((checkpoint / "chat_template.json").read_text())["chat_template"],
    )
    given = np.load(waves)
    system, prompt = str(given["system"]), str(given["prompt"])
    made = {}
    for name in (name for name in given.files if name.startswith("wave")):
        content = [{"type": "audio", "audio": given[name]}, {"type": "text", "text": prompt}]
        chat = [
            {"role": "system", "content": [{"type": "text", "text": system}]},
            {"role": "user", "content": content},
        ]
        text = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        inputs = processor(
            text=[text],
            audio=[given[name]],
            return_tensors="pt",
            audio_kwargs={"truncation": False, "sampling_rate": 16000},
        )
        frames = int(inputs["feature_attention_mask"].sum())
        made[f"ids_{name}"] = inputs["input_ids"][0].numpy()
        made[f"mel_{name}"] = inputs["input_features"][0, :, :frames].numpy()
    np.savez(out, **made)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
