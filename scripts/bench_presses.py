"""What presses save, against what the work model says they could: prefills of one random-weight model, in one process.

The model is a Qwen2.5-Omni thinker whose language model has the real one's proportions (the encoder is small on a CPU,
for it is not what is measured). Every repeat asks all variants in turn, so that a busy machine slows all of them.
Random weights choose random tokens, which take the same time. Prints figures, judges nothing.

plain   transformers' generate, nothing of this harness around it; its time includes the encoder
none    this harness without a press: `x plain` compares the two, encoder and first token together
press   measured speed-up of the prefill over `none`, over the theoretical one; `select` is its share of the prefill
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import marathon_eval.hf  # isort: skip  # noqa: F401 - hides a torchvision that would break transformers

import numpy as np
import tiny  # the tests' tokenizer and chat template
import torch
from transformers import (
    GenerationConfig,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

from marathon_eval.audio import Audio
from marathon_eval.hf.generating import generated
from marathon_eval.hf.loading import Loaded, chosen_device, quiet
from marathon_eval.hf.usage import now
from marathon_eval.hf_audio import RATE, Inputs
from marathon_eval.model import Generation, Request, Usage
from marathon_eval.models.qwen_omni import QwenOmni
from marathon_eval.press import press_from_args
from marathon_eval.registry import Registry

TOKENS_PER_SECOND = 25
PROMPT = "Which of these is heard in the recording? (A) a dog (B) rain (C) a train. Answer with one letter."
PRESSES = ("dart", "frame", "fastv")


class Size(NamedTuple):
    """Of language model and encoder; heads of the language model have 128 numbers."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    feed_forward: int
    vocabulary: int
    encoder_layers: int
    encoder_hidden: int
    encoder_heads: int


SIZES = {
    "cpu": Size(768, 12, 6, 2, 4096, 8192, 2, 128, 2),
    # the encoder has the share of the work that the 7B's has
    "small": Size(512, 12, 4, 1, 2752, 8192, 8, 256, 4),
    "3b": Size(2048, 36, 16, 2, 11008, 151936, 32, 1280, 20),
    "7b": Size(3584, 28, 28, 4, 18944, 152064, 32, 1280, 20),
}


@dataclass(frozen=True)
class Figures:
    """One variant at one length: medians over the repeats."""

    tokens: int
    variant: str
    seconds: float
    measured: float | None = None
    theoretical: float | None = None
    select_share: float | None = None
    times_plain: float | None = None

    @property
    def efficiency(self) -> float | None:
        """Measured over theoretical speed-up."""
        return self.measured / self.theoretical if self.measured and self.theoretical else None


def built(size: str, device: torch.device) -> Loaded:
    """A model of that size with random weights: float32 on a CPU, bfloat16 on a GPU."""
    tokenizer = tiny.byte_tokenizer(tiny.QWEN_TOKENS, tiny.QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tiny.QWEN_TOKENS}
    torch.manual_seed(0)
    with quiet(), device:
        torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
        model = Qwen2_5OmniThinkerForConditionalGeneration(thinker(SIZES[size], ids)).eval()
    torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=[ids["<|im_end|>"]], pad_token_id=0)
    features = WhisperFeatureExtractor(feature_size=128, chunk_length=300, return_attention_mask=True)
    held = sum(parameter.nbytes for parameter in model.parameters())
    return Loaded(model, tokenizer, features, tiny.CHAT_TEMPLATE, device, held)


def thinker(size: Size, ids: dict[str, int]) -> Any:
    """Its config."""
    text = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.hidden,
        "intermediate_size": size.feed_forward,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_heads,
        "max_position_embeddings": 32768,
        # a third of the head's 128 / 2 rotations for each axis, as in the real one
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    audio = {
        "encoder_layers": size.encoder_layers,
        "encoder_attention_heads": size.encoder_heads,
        "encoder_ffn_dim": 4 * size.encoder_hidden,
        "d_model": size.encoder_hidden,
        "output_dim": size.hidden,
    }
    eyes = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "fullatt_block_indexes": [0],
    }
    return Qwen2_5OmniThinkerConfig(
        audio_config=audio,
        vision_config={**eyes, "out_hidden_size": size.hidden},
        text_config=text,
        audio_token_index=ids["<|AUDIO|>"],
        image_token_index=ids["<|IMAGE|>"],
        video_token_index=ids["<|VIDEO|>"],
        audio_start_token_id=ids["<|audio_bos|>"],
        audio_end_token_id=ids["<|audio_eos|>"],
        vision_start_token_id=ids["<|vision_bos|>"],
        vision_end_token_id=ids["<|vision_eos|>"],
    )


def adapter(press: str | None, ratio: float, layer: int) -> QwenOmni:
    """The adapter with that press; its weights are handed to it, not loaded."""
    settings = QwenOmni.Settings.model_validate({"pretrained": "random"})
    if press is None:
        return QwenOmni(settings)
    args = {"ratio": ratio, "layer": layer}
    return QwenOmni(settings, press_from_args(Registry().press_class(press), args))


def asked(path: Path, tokens: int) -> tuple[Request, list[list[np.ndarray[Any, np.dtype[np.float32]]]]]:
    """A question on as many seconds of noise as make that many audio tokens."""
    import soundfile

    wave = np.random.default_rng(tokens).standard_normal(tokens * RATE // TOKENS_PER_SECOND) * 0.1
    soundfile.write(path, wave, RATE)
    request = Request(PROMPT, (Audio(str(path)),), Generation(max_new_tokens=1))
    return request, [[wave.astype(np.float32)]]


def plainly(loaded: Loaded, inputs: Inputs) -> float:
    """Seconds of transformers' own generate, up to the first token."""
    tensors = {name: tensor.to(loaded.device) for name, tensor in inputs.tensors.items()}
    started = now(loaded.device)
    with torch.inference_mode():
        loaded.model.generate(**tensors, max_new_tokens=1, do_sample=False)
    return now(loaded.device) - started


def compared(
    loaded: Loaded, folder: Path, tokens: int, layer: int, ratios: Sequence[float], repeats: int
) -> list[Figures]:
    """Every variant at one length. The first round warms up and is not counted."""
    request, waves = asked(folder / f"{tokens}.wav", tokens)
    variants: dict[str, QwenOmni] = {"none": adapter(None, 0.0, layer)}
    variants |= {f"{press} {ratio:g}": adapter(press, ratio, layer) for press in PRESSES for ratio in ratios}
    inputs = variants["none"].prepare(loaded, [request], waves)
    plain: list[float] = []
    found: dict[str, list[Usage]] = {name: [] for name in variants}
    for _ in range(1 + repeats):
        plain.append(plainly(loaded, inputs))
        for name, model in variants.items():
            (response,) = generated(model, loaded, [request], inputs)
            found[name].append(response.usage)
    plain = plain[1:]
    used = {name: usages[1:] for name, usages in found.items()}
    base = [usage.prefill_s or 0.0 for usage in used["none"]]
    whole = [(usage.prefill_s or 0.0) + (usage.encode_s or 0.0) for usage in used["none"]]
    times_plain = median(ours / theirs for ours, theirs in zip(whole, plain, strict=True))
    rows = [
        Figures(tokens, "plain", median(plain)),
        Figures(tokens, "none", median(base), times_plain=times_plain),
    ]
    return rows + [_pressed(tokens, name, used[name], base) for name in used if name != "none"]


def _pressed(tokens: int, name: str, usages: Sequence[Usage], base: Sequence[float]) -> Figures:
    spent = [usage.prefill_s or 0.0 for usage in usages]
    return Figures(
        tokens,
        name,
        median(spent),
        measured=median(whole / less for whole, less in zip(base, spent, strict=True)),
        theoretical=usages[0].details["theoretical_speedup"],
        select_share=median(
            usage.details["select_s"] / seconds for usage, seconds in zip(usages, spent, strict=True)
        ),
    )


def table(rows: Sequence[Figures]) -> str:
    def cell(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    lines = [
        f"{'tokens':>6}  {'variant':<10}{'s':>9}{'x plain':>9}{'speed-up':>10}{'theory':>8}{'ratio':>7}{'select':>8}"
    ]
    lines += [
        f"{row.tokens:>6}  {row.variant:<10}{row.seconds:9.3f}{cell(row.times_plain, '.3f'):>9}"
        f"{cell(row.measured, '.2f'):>10}{cell(row.theoretical, '.2f'):>8}"
        f"{cell(row.efficiency, '.2f'):>7}{cell(row.select_share, '.1%'):>8}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, help="cpu (0.5 GB) by default, 3b on a GPU")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2250], help="audio tokens (2250 are 90 s)")
    parser.add_argument("--ratio", type=float, nargs="+", default=[0.5, 0.9])
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    device = chosen_device(given.device)
    loaded = built(given.size or ("3b" if device.type == "cuda" else "cpu"), device)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for tokens in given.tokens
            for row in compared(loaded, Path(folder), tokens, given.layer, given.ratio, given.repeats)
        ]
    if given.json:
        print(json.dumps([{**asdict(row), "efficiency": row.efficiency} for row in rows], indent=1))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
