"""Stands for packages that workers call and that can't be installed here: the signatures are the published ones.

Kimi-Audio: kimia_infer/api/kimia.py at 2607d51. Audio Flamingo 2: src/factory.py and src/flamingo.py at 7684e9c.
Baichuan-Omni-1.5: modeling_omni.py, processor_omni.py and configuration at 51f55ff. Each notes how it was called.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import soundfile
import torch

from helpers.tiny_checkpoints import QWEN_NAMED, QWEN_TOKENS, byte_tokenizer

calls: list[tuple[str, Any]] = []


@contextmanager
def modules(**stubs: ModuleType | None) -> Iterator[None]:
    """Let imports find the stubs (a double underscore stands for a dot) until the block ends."""
    named = {name.replace("__", "."): module for name, module in stubs.items()}
    before = {name: sys.modules.get(name) for name in named}
    calls.clear()
    sys.modules.update({name: module for name, module in named.items() if module is not None})
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


# -- Kimi-Audio -------------------------------------------------------------------------------------------------------------


class _Prompts:
    def _tokenize_audio(self, wav_path: str) -> list[int]:
        samples, rate = soundfile.read(wav_path)
        assert rate == 16000
        return [152064] * ((len(samples) - 1) // 1280 + 1)


class KimiAudio:
    """The authors' class, with an answer that says what it was sent."""

    def __init__(self, model_path: str, load_detokenizer: bool = True) -> None:
        calls.append(("load", {"model_path": model_path, "load_detokenizer": load_detokenizer}))
        self.prompt_manager = _Prompts()

    def generate(
        self,
        chats: list[dict[str, str]],
        output_type: str = "text",
        audio_temperature: float = 0.0,
        audio_top_k: int = 5,
        text_temperature: float = 0.0,
        text_top_k: int = 5,
        audio_repetition_penalty: float = 1.0,
        audio_repetition_window_size: int = 64,
        text_repetition_penalty: float = 1.0,
        text_repetition_window_size: int = 16,
        max_new_tokens: int = -1,
    ) -> tuple[None, str]:
        for chat in chats:
            assert set(chat) == {"role", "message_type", "content"}
            if chat["message_type"] == "audio":
                self.prompt_manager._tokenize_audio(chat["content"])
        calls.append(
            ("generate", {"chats": chats, "text_temperature": text_temperature, "n": max_new_tokens})
        )
        return None, f"{output_type}: A. Yes"


def kimi() -> dict[str, ModuleType]:
    """Return the modules `kimia_infer.api.kimia` and its packages."""
    api = ModuleType("kimia_infer.api.kimia")
    api.KimiAudio = KimiAudio  # type: ignore[attr-defined]
    return {
        "kimia_infer": ModuleType("kimia_infer"),
        "kimia_infer__api": ModuleType("kimia_infer.api"),
        "kimia_infer__api__kimia": api,
    }


# -- Audio Flamingo 2 -------------------------------------------------------------------------------------------------------

FACTORY = """
import torch
from helpers.stub_packages import Flamingo, calls

def create_model_and_transforms(
    clap_config: dict,
    lang_encoder_path: str,
    tokenizer_path: str,
    audio_transformer_kwargs: dict,
    cross_attn_every_n_layers: int = 1,
    use_local_files: bool = False,
    decoder_layers_attr_name: str = None,
    freeze_lm_embeddings: bool = False,
    unfreeze_full_lm: bool = False,
    cache_dir=None,
    **flamingo_kwargs,
):
    assert set(flamingo_kwargs) == {"gradient_checkpointing"}
    open(clap_config["checkpoint"]).close()
    calls.append(("load", {"clap": clap_config, "lang_encoder_path": lang_encoder_path}))
    model = Flamingo()
    return model, model.tokenizer
"""
CONFIG = """
train_config: {precision: amp_bf16, gradient_checkpointing: false, offline: false, freeze_lm_embeddings: false}
clap_config: {method: nvclap-large, audio_embed_dim: 2048, checkpoint: clap_ckpt/epoch_16.pt, window_length: 10.0,
  window_overlap: 0.0, max_num_window: 12, max_num_fewshot: 1, finetune: true}
model_config: {cache_dir: .cache, lang_encoder_path: Qwen/Qwen2.5-3B, tokenizer_path: Qwen/Qwen2.5-3B,
  cross_attn_every_n_layers: 1, audio_transformer_kwargs: {n_head: 8}}
"""


class Flamingo(torch.nn.Module):
    """The authors' model by its interface: windows and prompt in, prompt and answer out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
        self.tokenizer.sep_token = "<|im_start|>"

    def generate(
        self,
        audio_x: torch.Tensor,
        audio_x_mask: torch.Tensor,
        lang_x: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        assert audio_x.ndim == 3
        assert audio_x_mask.shape == audio_x.shape[:2]
        calls.append(
            (
                "generate",
                {
                    "audio": audio_x,
                    "prompt": self.tokenizer.decode(lang_x[0]),
                    "weight": self.weight.tolist(),
                    **kwargs,
                },
            )
        )
        answer = self.tokenizer("(b) rain<|im_end|>", return_tensors="pt")["input_ids"]
        return torch.cat([lang_x, answer], dim=1)


def write_flamingo(code: Path, weights: Path) -> None:
    """Write the authors' code folder and a folder of weights in the published layout."""
    from safetensors.torch import save_file

    (code / "src").mkdir(parents=True)
    (code / "src" / "__init__.py").touch()
    (code / "src" / "factory.py").write_text(FACTORY)
    (code / "configs").mkdir()
    (code / "configs" / "inference.yaml").write_text(CONFIG)
    (weights / "safe_ckpt").mkdir(parents=True)
    (weights / "clap_ckpt").mkdir()
    (weights / "clap_ckpt" / "epoch_16.pt").touch()
    (weights / "safe_ckpt" / "metadata.json").write_text(json.dumps({"chunk_0": ["weight"]}))
    save_file({"weight": torch.ones(2)}, weights / "safe_ckpt" / "chunk_0.safetensors")


# -- Baichuan-Omni-1.5 ------------------------------------------------------------------------------------------------------

AUDIO_START, AUDIO_END, AUDIO_PAD = 151676, 151677, 151678
NAMES = {AUDIO_START: "<audio_start_baichuan>", AUDIO_END: "<audio_end_baichuan>"}


class OmniTokenizer:
    """The parts of the tokenizer that the demos call."""

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> OmniTokenizer:
        calls.append(("tokenizer", {"path": path, **options}))
        return cls()

    def convert_ids_to_tokens(self, token: int) -> str:
        return NAMES[token]

    def decode(self, tokens: torch.Tensor, skip_special_tokens: bool = False) -> str:
        return "A. Yes" + ("" if skip_special_tokens else "<|endoftext|>") if len(tokens) else ""


@dataclass
class OmniInputs:
    """What the processor returns, as far as text and audio go."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    audios: torch.Tensor | None
    encoder_length: torch.Tensor | None
    bridge_length: torch.Tensor | None


class OmniForCausalLM:
    """The checkpoint's model class by its interface."""

    config: Any
    processor: Any

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> OmniForCausalLM:
        calls.append(("model", {"path": path, **options}))
        model = cls()
        audio = SimpleNamespace(audio_start_token_id=AUDIO_START, audio_end_token_id=AUDIO_END)
        model.config = SimpleNamespace(audio_config=audio, max_position_embeddings=8192, use_cache=False)
        return model

    def to(self, device: str) -> OmniForCausalLM:
        return self

    def eval(self) -> OmniForCausalLM:
        return self

    def bind_processor(self, tokenizer: OmniTokenizer, **options: Any) -> None:
        calls.append(("bind_processor", options))
        self.processor = self._processed

    def _processed(self, texts: list[str]) -> OmniInputs:
        """Pieces of 30 s, 100 frames a second, halved by a convolution, pooled by four: 12.5 tokens a second."""
        (text,) = texts
        calls.append(("prompt", text))
        paths = [
            json.loads(found)["path"]
            for found in re.findall(f"{NAMES[AUDIO_START]}(.*?){NAMES[AUDIO_END]}", text)
        ]
        bridges = []
        for path in paths:
            samples = soundfile.info(path).frames
            for start in range(0, samples, 480000):
                frames = min(3000, (min(480000, samples - start)) // 160 + 1)
                bridges.append(((frames - 1) // 2 + 1) // 4)
        ids = torch.zeros(1, 20 + sum(bridges), dtype=torch.long)
        if not bridges:
            return OmniInputs(ids, torch.ones_like(ids), None, None, None)
        lengths = torch.tensor(bridges)
        return OmniInputs(
            ids, torch.ones_like(ids), torch.zeros(len(bridges), 128, 3000), lengths * 4, lengths
        )

    def generate(self, input_ids: torch.Tensor, **options: Any) -> Any:
        calls.append(("generate", options))
        answer = torch.ones(1, 4, dtype=torch.long)
        return SimpleNamespace(sequences=torch.cat([input_ids, answer], dim=1))
