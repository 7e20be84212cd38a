"""Tests a worker in a venv with an older transformers: the same weights give the same answers as in this environment."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.tiny_qwen2_audio import make_qwen2_audio
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Model, Request, Response
from marathon_eval.api.registry import Registry

OLDER = ("transformers==4.53.3", "tokenizers==0.21.4", "huggingface-hub==0.36.0")
WORKER = """
import soundfile, torch, transformers
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

def load(args):
    global model, tokenizer, features
    folder = args["pretrained"]
    model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, torch_dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=folder + "/tokenizer.json")
    features = WhisperFeatureExtractor(feature_size=32, chunk_length=30, return_attention_mask=True)

def answer(question, paths, settings):
    samples, _ = soundfile.read(paths[0], dtype="float32")
    heard = features(samples, sampling_rate=16000, padding="max_length", return_attention_mask=True, return_tensors="pt")
    frames = int(heard["attention_mask"].sum())
    tokens = ((frames - 1) // 2 + 1 - 2) // 2 + 1
    text = f"<|im_start|>user\\n<|audio_bos|>{'<|AUDIO|>' * tokens}<|audio_eos|>{question}<|im_end|>\\n<|im_start|>assistant\\n"
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=heard["input_features"],
            feature_attention_mask=heard["attention_mask"],
            max_new_tokens=settings["max_new_tokens"],
            do_sample=False,
            eos_token_id=[tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")],
        )
    text = tokenizer.decode(output[0, ids.shape[1]:], skip_special_tokens=True)
    return {"text": text, "heard_seconds": frames / 100, "audio_tokens": tokens, "details": {"release": transformers.__version__}}
"""


def older_environment(folder: Path) -> Path:
    """Make a venv with an older transformers in front of this environment's packages, torch among them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", *OLDER], check=True, capture_output=True, timeout=200
    )
    (site,) = folder.glob("lib/python*/site-packages")
    shared = folder / "shared"
    shared.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        # the tests' torchvision does not fit torch, and breaks the import of audio models; timm imports it
        if not entry.name.startswith(
            ("torchvision", "timm", "transformers", "tokenizers", "huggingface_hub", "__")
        ):
            (shared / entry.name).symlink_to(entry)
    (site / "shared.pth").write_text(f"{shared}\n")
    return folder


def clip(folder: Path, seconds: float) -> Audio:
    path = folder / f"{seconds}.wav"
    noise = np.random.default_rng(round(seconds * 100)).normal(size=round(seconds * 16000)) / 9
    soundfile.write(path, noise.astype(np.float32), 16000)
    return Audio(str(path))


def answers(model: Model, requests: list[Request]) -> list[Response]:
    try:
        by_request = dict(complete(model, requests))
    finally:
        model.close()
    return [by_request[request] for request in requests]


@pytest.mark.slow
def test_the_same_weights_answer_alike_in_an_older_transformers(tmp_path: Path) -> None:
    weights = make_qwen2_audio(tmp_path / "tiny")
    folder = older_environment(tmp_path / "older")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "older_worker.py").write_text(WORKER)
    registry = Registry([str(tmp_path)])
    model_args: dict[str, Any] = {"pretrained": str(weights), "env": str(folder)}
    older = registry.model_class("older").from_args(model_args)
    own = registry.model_class("qwen2_audio").from_args({"pretrained": str(weights)})
    assert older.fingerprint["environment"]["packages"]["transformers"] == "4.53.3"
    requests = [
        Request(question, (clip(tmp_path, seconds),), Generation(max_new_tokens=24))
        for seconds in (1.5, 7.0, 29.0)
        for question in ("Is it raining?", "Which one? A. Rain B. Wind")
    ]
    in_older, in_own = answers(older, requests), answers(own, requests)
    assert [one.error for one in in_older] == [None] * len(requests)
    assert {one.usage.details["release"] for one in in_older} == {"4.53.3"}
    assert [one.text for one in in_older] == [one.text for one in in_own]
    assert len({one.text for one in in_own}) > 1, "answers that are all alike show nothing"
    assert [one.usage.audio_tokens for one in in_older] == [one.usage.audio_tokens for one in in_own]
