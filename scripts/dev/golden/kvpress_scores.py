"""Writes tests/golden/kvpress_scores.npz: scores of NVIDIA kvpress on a model that kvpress supports.

Runs in an environment of its own, for kvpress pins transformers below 5.3:

    python -m venv KV && KV/bin/pip install torch "transformers==5.2.0" && KV/bin/pip install --no-deps kvpress==0.5.5 \\
        "cachetools<6" "fire<0.7" "pandas<3" datasets accelerate peft && KV/bin/python scripts/dev/golden/kvpress_scores.py [--check]

`--check` writes nothing and fails unless kvpress still gives the stored scores. The file holds the inputs too (keys,
values and queries of one layer), so that the ordinary tests hold our rules against kvpress's without either package.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

TARGET = Path(__file__).resolve().parents[3] / "tests" / "golden" / "kvpress_scores.npz"
LENGTH, WINDOW = 96, 16


def scored_layer() -> dict[str, Any]:
    """Return the inputs of layer 1 of a small random Llama on 96 tokens, and every press's scores for it."""
    from kvpress import ExpectedAttentionPress, KeyDiffPress, KnormPress, SnapKVPress, TOVAPress
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    module = model.model.layers[1].self_attn
    module.rotary_emb = model.model.rotary_emb
    seen = captured(model, module, torch.randint(0, 64, (1, LENGTH)))
    hidden, (cos, sin) = seen["hidden_states"], seen["position_embeddings"]
    layer = seen["cache"].layers[1]
    raw = module.q_proj(hidden).view(1, LENGTH, 4, 16).transpose(1, 2)
    first, second = raw.chunk(2, dim=-1)
    rotated = raw * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]
    presses = {
        "knorm": KnormPress(0.5),
        "keydiff": KeyDiffPress(0.5),
        "tova": TOVAPress(0.5),
        "snapkv": SnapKVPress(0.5, window_size=WINDOW, kernel_size=5),
        "expected_attention": ExpectedAttentionPress(0.5, n_future_positions=32, n_sink=4, epsilon=0.0),
    }
    kwargs = {"position_embeddings": (cos, sin)}
    with torch.no_grad():
        scores = {
            name: press.score(module, hidden, layer.keys, layer.values, None, kwargs)[0]
            for name, press in presses.items()
        }
    return {
        "keys": layer.keys[0],
        "values": layer.values[0],
        "rotated": rotated[0],
        "unrotated": raw[0],
        "rope_theta": torch.tensor(10000.0),
        **{f"score_{name}": score for name, score in scores.items()},
    }


def captured(model: Any, module: Any, ids: torch.Tensor) -> dict[str, Any]:
    """Return the arguments of the attention module, and the cache after the pass."""
    seen: dict[str, Any] = {}

    def look(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)
        seen.setdefault("hidden_states", args[0] if args else None)

    handle = module.register_forward_pre_hook(look, with_kwargs=True)
    with torch.no_grad():
        seen["cache"] = model(ids, use_cache=True).past_key_values
    handle.remove()
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    arrays = {name: value.detach().float().numpy() for name, value in scored_layer().items()}
    if arguments.check:
        with np.load(TARGET) as stored:
            worst = {name: float(np.abs(stored[name] - arrays[name]).max()) for name in stored.files}
        print(worst)
        return int(max(worst.values()) > 1e-5)
    np.savez_compressed(TARGET, **arrays)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
