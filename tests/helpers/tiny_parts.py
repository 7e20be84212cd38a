"""Provides what the tiny checkpoints share: a language model, Whisper's features, and saving a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

HIDDEN = 32
LAYERS = 3
#: Random layers hardly change their input; scaled up, logits differ as a trained model's do.
WEIGHT_SCALE = 4.0


def whisper_like(**sizes: Any) -> dict[str, Any]:
    """Return an audio encoder's config over 32 mel bins and 30 s."""
    return {"num_mel_bins": 32, "max_source_positions": 1500, **sizes}


def flamingo_encoder() -> dict[str, Any]:
    """Return the same encoder config under Audio Flamingo's names."""
    return whisper_like(num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, hidden_size=HIDDEN)


def mel(**settings: Any) -> Any:
    """Return Whisper's feature extractor."""
    settings = {"feature_size": 32, "return_attention_mask": True} | settings
    return transformers.WhisperFeatureExtractor(**settings)


def language(tokenizer: Any, kind: str = "", /, **more: Any) -> dict[str, Any]:
    """Return a decoder-only language model's config for the tokenizer's vocabulary."""
    named = {} if not kind else {"model_type": kind}
    return {
        **named,
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 32768,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **more,
    }


def saved(
    folder: Path, model_class: Any, config: Any, tokenizer: Any, features: Any, template: str | None
) -> Path:
    """Write random weights of the config's architecture and all other files to `folder`."""
    import torch

    from marathon_eval.backends.hf.engine.load import quiet

    torch.manual_seed(0)
    with quiet(), torch.no_grad():
        model = model_class(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHT_SCALE)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    features.save_pretrained(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
