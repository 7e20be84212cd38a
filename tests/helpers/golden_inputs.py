"""Computes the inputs that qwen_omni builds, which golden/inputs_qwen_omni.json stores by the adapter's version.

Every cached response was made from such inputs: when they change, `QwenOmni.version` must rise, or cached responses
to the old inputs would be used for the new ones. `python tests/helpers/golden_inputs.py` then writes the new
version's entry; old entries stay.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PATH = Path(__file__).resolve().parents[1] / "golden" / "inputs_qwen_omni.json"


def built(checkpoint: Path) -> dict[str, Any]:
    """Return ids, shapes and some values of the inputs for two fixed chats."""
    from helpers.tiny_press_run import Tiny, noise
    from marathon_eval.api.audio import Audio
    from marathon_eval.api.model import Request

    tiny_checkpoints = Tiny.load(checkpoint)
    clip = Audio("unread.wav")
    requests = [
        Request("Who speaks?\nA. one\nB. two", (clip,)),
        Request("And now?", (clip, clip), system="Be brief."),
    ]
    waves = [[noise(2.5, 1)], [noise(1.0, 2), noise(0.73, 3)]]
    inputs = tiny_checkpoints.adapter.prepare(tiny_checkpoints.loaded, requests, waves)
    mel = inputs.tensors["input_features"]
    return {
        "input_ids": [
            hashlib.sha256(str(row.tolist()).encode()).hexdigest() for row in inputs.tensors["input_ids"]
        ],
        "attention_mask": inputs.tensors["attention_mask"].sum(dim=1).tolist(),
        "frames": inputs.tensors["feature_attention_mask"].sum(dim=1).tolist(),
        "mel_shape": list(mel.shape),
        "mel_values": [round(float(value), 4) for value in mel[:, ::40, ::20].flatten()],
        "audio_tokens": inputs.audio_tokens,
        "heard_seconds": inputs.heard_seconds,
    }


def main() -> None:
    from helpers import tiny_checkpoints
    from marathon_eval.models.qwen_omni import QwenOmni

    with tempfile.TemporaryDirectory() as folder:
        entry = built(tiny_checkpoints.make_qwen_omni(Path(folder) / "tiny"))
    known = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else {}
    known[str(QwenOmni.version)] = entry
    PATH.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
