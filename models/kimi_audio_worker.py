"""Loads Kimi-Audio and answers about audio in text, in the environment of `kimi_audio.requirements.txt`.

The calls are those of the authors' infer.py (https://github.com/MoonshotAI/Kimi-Audio, commit 2607d51), without the
part that speaks: `load_detokenizer=False`, `output_type="text"`.
"""

from __future__ import annotations

import os
from typing import Any

SAMPLE_RATE = 16000
TOKENS_PER_SECOND = 12.5
#: The package keeps the text tokens of one answer in a buffer of this length.
MOST_NEW_TOKENS = 4096

_loaded: dict[str, Any] = {}


def load(args: dict[str, Any]) -> None:
    """Load the model with the authors' class, from a folder or from a commit on the hub."""
    from kimia_infer.api.kimia import KimiAudio

    folder = args["pretrained"]
    if not os.path.isdir(folder):
        from huggingface_hub import snapshot_download

        folder = snapshot_download(folder, revision=args.get("revision"))
    if str(args.get("device", "cuda")).startswith("cuda:"):
        import torch

        torch.cuda.set_device(args["device"])
    model = KimiAudio(model_path=folder, load_detokenizer=False)
    _loaded.update(model=model, counts=[])
    manager, counts = model.prompt_manager, _loaded["counts"]
    tokenize = manager._tokenize_audio

    def counted(path: str) -> Any:
        tokens = tokenize(path)
        counts.append(len(tokens))
        return tokens

    # what was heard is known by the tokens that the prompt gets
    manager._tokenize_audio = counted


def answer(question: str, paths: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's text, and the seconds that the audio tokens cover."""
    if settings.get("system"):
        raise ValueError("Kimi-Audio's package knows no system turn")
    if settings["max_new_tokens"] > MOST_NEW_TOKENS:
        raise ValueError(f"max_new_tokens={settings['max_new_tokens']}: at most {MOST_NEW_TOKENS}")
    if settings["temperature"] > 0 and settings["top_p"] != 1.0:
        raise ValueError("Kimi-Audio's package knows top_k and no top_p")
    messages = [{"role": "user", "message_type": "text", "content": question}]
    messages += [{"role": "user", "message_type": "audio", "content": path} for path in paths]
    sampling: dict[str, Any] = {"text_temperature": 0.0}
    if settings["temperature"] > 0:
        import torch

        torch.manual_seed(settings["seed"] or 0)
        sampling = {"text_temperature": settings["temperature"]}
    _loaded["counts"].clear()
    _, text = _loaded["model"].generate(
        messages, **sampling, output_type="text", max_new_tokens=settings["max_new_tokens"]
    )
    for stop in settings["stop"]:
        text = text.partition(stop)[0]
    audio_tokens = sum(_loaded["counts"])
    return {"text": text, "heard_seconds": audio_tokens / TOKENS_PER_SECOND, "audio_tokens": audio_tokens}
