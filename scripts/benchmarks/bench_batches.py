"""Measures what a batch saves under an eviction press: seconds per answer, batch by batch, on random weights.

Contexts are read one by one whatever the batch, and the answers of a batch are decoded together. Random weights end no
answer early, so every answer has `--new` tokens. Each repeat measures every batch size in turn. With `--clock cpu` and
OMP_NUM_THREADS=1 the process's own seconds count, on a machine with other work. The script prints figures and does not
fail on them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import marathon_eval.backends.hf.engine  # isort: skip  # noqa: F401 - hides a torchvision that would break transformers

from bench_presses import SIZES, adapter, asked, built

from marathon_eval.api.model import Generation, Request
from marathon_eval.backends.hf.engine.generate import generated
from marathon_eval.backends.hf.engine.load import chosen_device
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.request_inputs import prepared_alone
from marathon_eval.models.qwen_omni import QwenOmni


def per_answer(model: QwenOmni, loaded: Loaded, requests: Sequence[Request], size: int) -> list[float]:
    """Answer the requests in batches of `size`; return the mean seconds of prefill and of decoding per answer."""
    prefill = decode = 0.0
    for first in range(0, len(requests), size):
        batch = requests[first : first + size]
        waves = [[audio.samples(16000) for audio in request.audios] for request in batch]
        for response in generated(model, loaded, batch, prepared_alone(model, loaded, batch, waves)):
            prefill += response.usage.prefill_s or 0.0
            decode += response.usage.decode_s or 0.0
    return [prefill / len(requests), decode / len(requests)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, help="cpu (0.5 GB) by default, 3b on a GPU")
    parser.add_argument(
        "--tokens", type=int, default=750, help="audio tokens of the longest clip (750 are 30 s)"
    )
    parser.add_argument("--new", type=int, default=64, help="tokens of every answer")
    parser.add_argument("--press", default="knorm")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    arguments = parser.parse_args()
    device = chosen_device(arguments.device)
    if arguments.clock == "cpu":
        time.perf_counter = time.process_time
    loaded = built(arguments.size or ("3b" if device.type == "cuda" else "cpu"), device)
    loaded.model.generation_config.eos_token_id = []  # no answer ends early
    model, most = adapter(arguments.press, arguments.ratio, 2), max(arguments.batch)
    with tempfile.TemporaryDirectory() as folder:
        requests = []
        for number in range(most):
            tokens = arguments.tokens - 40 * number
            request, _ = asked(Path(folder) / f"{number}.wav", tokens)
            requests.append(Request(request.prompt, request.audios, Generation(arguments.new)))
        per_answer(model, loaded, requests[:1], 1)  # warms up
        rounds = [
            {size: per_answer(model, loaded, requests, size) for size in arguments.batch}
            for _ in range(arguments.repeats)
        ]
    print(f"{arguments.press} {arguments.ratio:g}, {arguments.tokens} audio tokens, {arguments.new} new ones")
    print("batch  prefill s  decode s  s per answer")
    for size in arguments.batch:
        prefill, decode = (statistics.median(one[size][part] for one in rounds) for part in (0, 1))
        print(f"{size:5}  {prefill:9.3f}  {decode:8.3f}  {prefill + decode:12.3f}")


if __name__ == "__main__":
    main()
