"""Compares measured prefill speed-ups of presses with the theoretical ones, on one random-weight model.

The model is a Qwen2.5-Omni thinker whose language model has the real one's proportions. On a CPU the encoder is
small, because it is not measured. Every repeat runs all variants in turn, so that other load on the machine slows all
of them. Random weights generate random tokens, which take the same time. The script prints figures and does not fail
on them.

A long measurement can be taken in pieces: `--rounds FILE` adds this call's rounds to a file of JSON lines, and the
figures are those of all rounds in it with this size, length and layer, whichever presses they ran.

On a machine with other work, `--clock cpu` with OMP_NUM_THREADS=1 counts the seconds in which this process computed,
not those in which it waited. Without other work, both clocks agree.

plain   transformers' generate without this harness; its time includes the encoder
none    this harness without a press; `x plain` compares the two, encoder and first token together
press   measured speed-up of the prefill over `none`, and over the theoretical one; `select` is its share of the prefill
peak    with `--memory`: the most memory that a whole answer allocates above the weights, in MB
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import marathon_eval.backends.hf.engine  # isort: skip  # noqa: F401 - hides a torchvision that would break transformers

import numpy as np
import torch
from press_rounds import Round, Setting, figures, kept_rounds, table
from transformers import (
    GenerationConfig,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

from helpers import tiny_checkpoints  # the tests' tokenizer and chat template
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request, Usage
from marathon_eval.api.press import press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.generate import generated
from marathon_eval.backends.hf.engine.load import chosen_device, quiet
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.usage import now
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.models.qwen_omni import QwenOmni

TOKENS_PER_SECOND = 25
PROMPT = "Which of these is heard in the recording? (A) a dog (B) rain (C) a train. Answer with one letter."
PRESSES = ("dart", "frame", "fastv")
WARM_UP_TOKENS = 250


class Size(NamedTuple):
    """Holds the sizes of language model and encoder; the heads of the language model have 128 numbers."""

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


def built(size: str, device: torch.device) -> Loaded:
    """Build a model of that size with random weights: float32 on a CPU, bfloat16 on a GPU."""
    tokenizer = tiny_checkpoints.byte_tokenizer(
        tiny_checkpoints.QWEN_TOKENS, tiny_checkpoints.QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>"
    )
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tiny_checkpoints.QWEN_TOKENS}
    torch.manual_seed(0)
    with quiet(), device:
        torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
        model = Qwen2_5OmniThinkerForConditionalGeneration(thinker(SIZES[size], ids)).eval()
    torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=[ids["<|im_end|>"]], pad_token_id=0)
    features = WhisperFeatureExtractor(feature_size=128, chunk_length=300, return_attention_mask=True)
    held = sum(parameter.nbytes for parameter in model.parameters())
    return Loaded(model, tokenizer, features, tiny_checkpoints.CHAT_TEMPLATE, device, held)


def thinker(size: Size, ids: dict[str, int]) -> Any:
    """Return the thinker's config."""
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
    """Build the adapter with that press; the benchmark passes it the weights, so that it loads none."""
    settings = QwenOmni.Settings.model_validate({"pretrained": "random"})
    if press is None:
        return QwenOmni(settings)
    chosen = Registry().press_class(press)
    args = {"ratio": ratio, **({"layer": layer} if "layer" in chosen.arguments() else {})}
    return QwenOmni(settings, press_from_args(chosen, args))


def asked(path: Path, tokens: int) -> tuple[Request, list[list[np.ndarray[Any, np.dtype[np.float32]]]]]:
    """Return a request on noise that is long enough for `tokens` audio tokens, and the noise."""
    import soundfile

    wave = np.random.default_rng(tokens).standard_normal(tokens * RATE // TOKENS_PER_SECOND) * 0.1
    soundfile.write(path, wave, RATE)
    request = Request(PROMPT, (Audio(str(path)),), Generation(max_new_tokens=1))
    return request, [[wave.astype(np.float32)]]


def plainly(loaded: Loaded, inputs: Inputs) -> float:
    """Measure the seconds of transformers' own generate, up to the first token."""
    tensors = {name: tensor.to(loaded.device) for name, tensor in inputs.tensors.items()}
    started = now(loaded.device)
    with torch.inference_mode():
        loaded.model.generate(**tensors, max_new_tokens=1, do_sample=False)
    return now(loaded.device) - started


class Wanted(NamedTuple):
    """Holds what one call measures."""

    presses: Sequence[str]
    ratios: Sequence[float]
    repeats: int
    memory: bool
    plain: bool


@dataclass(frozen=True)
class Bench:
    """Runs one request with every variant's adapter."""

    loaded: Loaded
    request: Request
    inputs: Inputs
    variants: dict[str, QwenOmni]

    @classmethod
    def of(cls, loaded: Loaded, folder: Path, layer: int, wanted: Wanted, tokens: int) -> Bench:
        request, waves = asked(folder / f"{tokens}.wav", tokens)
        cells = [(press, ratio) for press in wanted.presses for ratio in wanted.ratios]
        variants = {"none": adapter(None, 0.0, layer)}
        variants |= {f"{press} {ratio:g}": adapter(press, ratio, layer) for press, ratio in cells}
        return cls(loaded, request, variants["none"].prepare(loaded, [request], waves), variants)

    def answer(self, variant: str) -> Usage:
        (response,) = generated(self.variants[variant], self.loaded, [self.request], self.inputs)
        return response.usage

    def round(self, beside: bool) -> dict[str, Any]:
        """Run every variant once, and transformers' own generate if `beside`; return most fields of a `Round`."""
        plain = plainly(self.loaded, self.inputs) if beside else None
        used = {name: self.answer(name) for name in self.variants}
        return {
            "plain": plain,
            "prefill": {name: usage.prefill_s or 0.0 for name, usage in used.items()},
            "encode": {name: usage.encode_s or 0.0 for name, usage in used.items()},
            "select": {name: usage.details.get("select_s", 0.0) for name, usage in used.items()},
            "theoretical": {n: usage.details.get("theoretical_speedup", 1.0) for n, usage in used.items()},
        }


def compared(loaded: Loaded, folder: Path, setting: Setting, wanted: Wanted) -> Iterator[Round]:
    """Yield rounds at one length, after a short round to warm up and, with `memory`, one that measures memory."""
    Bench.of(loaded, folder, setting.layer, wanted, WARM_UP_TOKENS).round(wanted.plain)
    bench = Bench.of(loaded, folder, setting.layer, wanted, setting.tokens)
    works = {name: partial(bench.answer, name) for name in bench.variants} if wanted.memory else {}
    peaks = {name: peak_mb(loaded.device, work) for name, work in works.items()}
    for _ in range(wanted.repeats):
        yield Round(setting, **bench.round(wanted.plain), peak_mb=peaks)


def peak_mb(device: torch.device, work: Callable[[], Usage]) -> float:
    """Return the peak of memory that `work` allocates, in MB; on a CPU, torch's profiler sees every allocation."""
    if device.type == "cuda":
        return (work().peak_bytes or 0) / 1e6
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda e: e.start_ns()))
    return max(held) / 1e6


def measured(loaded: Loaded, settings: Sequence[Setting], wanted: Wanted, file: Path | None) -> list[Round]:
    """Run the rounds of every setting, and write each to the file as soon as it ends."""
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for setting in settings:
            for one in compared(loaded, Path(folder), setting, wanted):
                rounds.append(one)
                if file is not None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(asdict(one)) + "\n")
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, help="cpu (0.5 GB) by default, 3b on a GPU")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2250], help="audio tokens (2250 are 90 s)")
    parser.add_argument("--press", nargs="+", default=PRESSES)
    parser.add_argument("--ratio", type=float, nargs="+", default=[0.5, 0.9])
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--rounds", type=Path, help="a file of JSON lines: add this call's rounds, and count all in it"
    )
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument(
        "--without_plain", action="store_true", help="leave out transformers' generate, for a shorter call"
    )
    parser.add_argument("--memory", action="store_true", help="measure the peak of memory in one more pass")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device = chosen_device(arguments.device)
    size = arguments.size or ("3b" if device.type == "cuda" else "cpu")
    if arguments.clock == "cpu":
        time.perf_counter = time.process_time
    settings = [
        Setting(tokens, size, device.type, arguments.layer, arguments.clock) for tokens in arguments.tokens
    ]
    wanted = Wanted(
        arguments.press, arguments.ratio, arguments.repeats, arguments.memory, not arguments.without_plain
    )
    rounds = kept_rounds(arguments.rounds)
    if arguments.repeats:
        rounds += measured(built(size, device), settings, wanted, arguments.rounds)
    rows = [row for setting in settings for row in figures([one for one in rounds if one.setting == setting])]
    if arguments.json:
        print(json.dumps([{**asdict(row), "efficiency": row.efficiency} for row in rows], indent=1))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
