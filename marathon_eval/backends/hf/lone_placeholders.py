"""Supplies the attention mask that Qwen2-Audio needs for a prompt in which no two audio tokens stand side by side.

transformers takes such a prompt for one whose placeholders are not yet expanded, and expands it by the mask; but
`generate` leaves out a mask without padding. With a clip of one audio token there is nothing to expand, and the model
answers once it has the mask.
"""

from __future__ import annotations

from typing import Any


def supply_mask(model: Any) -> None:
    """Make the loaded model take such prompts without a mask; does nothing to models that expand no placeholders."""
    inner: Any = getattr(model, "model", None)
    if hasattr(inner, "_merge_input_ids_with_audio_features"):
        inner.register_forward_pre_hook(_masked, with_kwargs=True)


def _masked(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    ids = kwargs.get("input_ids")
    if ids is None or kwargs.get("input_features") is None or kwargs.get("attention_mask") is not None:
        return None
    audio = ids == module.config.audio_token_id
    if (audio[:, :-1] & audio[:, 1:]).any():
        return None
    return args, {**kwargs, "attention_mask": ids.new_ones(ids.shape)}
