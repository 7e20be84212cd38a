"""Loads Baichuan-Omni-1.5 and answers about audio, in the environment of `baichuan_omni.requirements.txt`.

The calls are those of the authors' demos (https://github.com/baichuan-inc/Baichuan-Omni-1.5, commit 51f55ff, web_demo/), with
text alone as output and greedy decoding. Its processor reads the clip from the path inside the prompt.
"""

from __future__ import annotations

import json
from typing import Any

SAMPLE_RATE = 16000
#: The processor's audio tokens per second: 50 encoder positions, of which four are pooled into one.
TOKENS_PER_SECOND = 12.5
END_OF_TEXT = "<|endoftext|>"

_loaded: dict[str, Any] = {}


def load(args: dict[str, Any]) -> None:
    """Load model and tokenizer, and bind the processor that the checkpoint brings along."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"revision": args.get("revision"), "trust_remote_code": bool(args["trust_remote_code"])}
    tokenizer = AutoTokenizer.from_pretrained(args["pretrained"], model_max_length=128000, **where)
    model = AutoModelForCausalLM.from_pretrained(
        args["pretrained"], torch_dtype=getattr(torch, args.get("dtype", "bfloat16")), **where
    )
    model = model.to(args.get("device", "cuda")).eval()
    model.config.use_cache = True
    model.bind_processor(tokenizer, training=False, relative_path="/")
    _loaded.update(model=model, tokenizer=tokenizer, device=args.get("device", "cuda"))


def prompt_of(question: str, paths: list[str], system: str | None) -> str:
    """Return the chat as text: each clip is a path in JSON between the audio marks, before the question."""
    config, tokenizer = _loaded["model"].config.audio_config, _loaded["tokenizer"]
    start = tokenizer.convert_ids_to_tokens(config.audio_start_token_id)
    end = tokenizer.convert_ids_to_tokens(config.audio_end_token_id)
    if start in question or end in question:
        raise ValueError(f"the prompt contains {start} or {end}, which mark audio")
    clips = "".join(start + json.dumps({"path": path}, ensure_ascii=False) + end for path in paths)
    system_turn = f"<B_SYS>{system}" if system else ""
    return f"{system_turn}<C_Q>{clips}{question}<C_A>"


def answer(question: str, paths: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's text, the seconds that its audio tokens cover, and the token counts."""
    model, tokenizer, device = _loaded["model"], _loaded["tokenizer"], _loaded["device"]
    inputs = model.processor([prompt_of(question, paths, settings.get("system"))])
    length = int(inputs.input_ids.shape[1])
    if length + settings["max_new_tokens"] > model.config.max_position_embeddings:
        raise ValueError(
            f"{length} tokens and the answer exceed {model.config.max_position_embeddings} positions"
        )
    on_device = {
        name: value.to(device)
        for name in ("audios", "encoder_length", "bridge_length")
        if (value := getattr(inputs, name)) is not None
    }
    sampling: dict[str, Any] = {"do_sample": False}
    if settings["temperature"] > 0:
        import torch

        torch.manual_seed(settings["seed"] or 0)
        sampling = {"do_sample": True, "temperature": settings["temperature"], "top_p": settings["top_p"]}
    output = model.generate(
        inputs.input_ids.to(device),
        attention_mask=inputs.attention_mask.to(device),
        **on_device,
        tokenizer=tokenizer,
        max_new_tokens=settings["max_new_tokens"],
        stop_strings=[END_OF_TEXT, *settings["stop"]],
        return_dict_in_generate=True,
        **sampling,
    )
    new_tokens = output.sequences[0, length:]
    text = tokenizer.decode(new_tokens, skip_special_tokens=True)
    for stop in settings["stop"]:
        text = text.partition(stop)[0]
    audio_tokens = int(inputs.bridge_length.sum()) if inputs.bridge_length is not None else 0
    return {
        "text": text,
        "heard_seconds": audio_tokens / TOKENS_PER_SECOND,
        "audio_tokens": audio_tokens,
        "input_tokens": length,
        "output_tokens": int(new_tokens.shape[0]),
        "finish_reason": "length" if new_tokens.shape[0] >= settings["max_new_tokens"] else "stop",
    }
