"""Writes a Qwen2-Audio checkpoint of a few hundred kilobytes with random weights, and serves it.

`transformers serve` serves it. The real model hears 30 s; `window` makes a tiny one that hears more.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import marathon_eval.backends.hf.engine  # noqa: F401 - hides a torchvision that would break transformers' audio models
from helpers.tiny_checkpoints import CHAT_TEMPLATE, QWEN_NAMED, QWEN_TOKENS, byte_tokenizer

HIDDEN = 32
FRAMES_PER_SECOND = 50  # encoder positions: mel frames, halved by the second convolution
_SERVE = "import marathon_eval.backends.hf.engine; from transformers.cli.transformers import app; app()"


def make_qwen2_audio(folder: Path, window: int = 30) -> Path:
    """Write a checkpoint that hears `window` seconds into `folder` and return it."""
    import torch
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 32,
            "encoder_layers": 1,
            "encoder_attention_heads": 1,
            "encoder_ffn_dim": 32,
            "d_model": HIDDEN,
            "max_source_positions": FRAMES_PER_SECOND * window,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 32768,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    model = Qwen2AudioForConditionalGeneration(config)
    model.generation_config.max_new_tokens = 4
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    features = WhisperFeatureExtractor(feature_size=32, chunk_length=window, return_attention_mask=True)
    model.save_pretrained(folder)
    Qwen2AudioProcessor(features, tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


@contextmanager
def served(log: Path) -> Iterator[str]:
    """Run `transformers serve` on a free port of loopback until the block ends; yield its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVE, "serve", *flags],
            stdout=output,
            stderr=output,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"},
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"no server after {seconds} s: {log.read_text()}")
