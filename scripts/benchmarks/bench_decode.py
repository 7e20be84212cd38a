"""Measures how fast audio is decoded: the harness's door, and libsndfile alone in equal blocks where it reads the format.

Both give mono float32 at the file's own rate. They take turns, and the ratio is the median over the turns, so that
other work on the machine affects both alike. CPU seconds of this process; prints figures and does not fail on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np
import soundfile

from helpers.sound_files import encoded, wave
from marathon_eval.api.audio import Audio
from marathon_eval.api.decoding.sound_file import BLOCK_SAMPLES

#: A codec's name in the table, its file, and FFmpeg's encoder; None: written by libsndfile.
CODECS = (
    ("WAV", "sound.wav", None),
    ("FLAC", "sound.flac", None),
    ("MP3", "sound.mp3", "libmp3lame"),
    ("Opus", "sound.opus", "libopus"),
    ("AAC", "sound.m4a", "aac"),
)
RATE = 48000


def make(path: Path, encoder: str | None, seconds: float) -> None:
    """Write stereo sound at 48 kHz."""
    if encoder is None:
        soundfile.write(path, wave(seconds, RATE, 2), RATE)
    else:
        encoded(path, encoder, rate=RATE, seconds=seconds, container="ogg" if encoder == "libopus" else None)


def alone(path: Path) -> Any:
    """Decode with libsndfile, without any check of the file."""
    with soundfile.SoundFile(path) as file:
        blocks = file.blocks(BLOCK_SAMPLES // file.channels, dtype="float32", always_2d=True)
        return np.concatenate([block.mean(axis=1) for block in blocks])


def spent(work: Callable[[], Any]) -> float:
    """Return the CPU seconds that `work` takes."""
    before = time.process_time()
    work()
    return time.process_time() - before


def measured(path: Path, seconds: float, turns: int) -> dict[str, float | None]:
    """Return times real time of the door, and its speed as a multiple of libsndfile's (None: it can't read the file)."""
    door = Audio(str(path))
    known = path.suffix != ".m4a"
    door.samples(RATE)
    pairs = [
        (spent(lambda: door.samples(RATE)), spent(lambda: alone(path)) if known else 0.0)
        for _ in range(turns)
    ]
    return {
        "x_real_time": seconds / statistics.median(ours for ours, _ in pairs),
        "to_libsndfile": statistics.median(theirs / ours for ours, theirs in pairs) if known else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of each file (default 300)")
    parser.add_argument("--repeats", type=int, default=9, help="turns of each decoder (default 9)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, dict[str, float | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, file, encoder in CODECS:
            make(Path(folder, file), encoder, arguments.seconds)
            found[name] = measured(Path(folder, file), arguments.seconds, arguments.repeats)
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{'codec':<8}{'x real time':>12}{'to libsndfile alone':>22}")
    for name, figures in found.items():
        ratio = figures["to_libsndfile"]
        print(f"{name:<8}{figures['x_real_time']:>12.0f}{'-' if ratio is None else f'{ratio:.3f}':>22}")


if __name__ == "__main__":
    main()
