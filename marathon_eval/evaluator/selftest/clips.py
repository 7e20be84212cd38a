"""Makes the sounds of a self-test: noise whose every second differs, so that a missing part changes the features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.api.audio import Audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16000
#: The seconds that must be heard whole: a window of most encoders, several of them, and the benchmark's longest clip.
HEARD_LENGTHS = (30.0, 95.0, 300.0)
#: The seconds at a clip's end that are made anew to see whether the model's inputs reach to there.
END_SECONDS = 0.5


def rustle(seconds: float, seed: int = 0, end_seed: int | None = None) -> NDArray[np.float32]:
    """Make noise [n] at 16 kHz; `end_seed` draws the last half second anew, which is quieter than the rest."""
    import numpy as np

    count, ending = round(seconds * SAMPLE_RATE), int(END_SECONDS * SAMPLE_RATE)
    samples = np.random.default_rng(seed).standard_normal(count).astype(np.float32)
    # swells of its own length per clip, so that the sound is no steady hiss
    samples *= (0.06 + 0.04 * np.sin(np.arange(count) / (2300.0 + 170 * seed))).astype(np.float32)
    if end_seed is not None:
        samples[-ending:] = np.random.default_rng(1000 + end_seed).standard_normal(ending) * 0.01
    return samples


def rustle_file(folder: Path, seconds: float, seed: int = 0) -> Audio:
    """Write such noise to a WAV file and return a reference to it."""
    import soundfile

    path = folder / f"{seconds:g}s_{seed}.wav"
    if not path.exists():
        soundfile.write(path, rustle(seconds, seed), SAMPLE_RATE)
    return Audio(str(path))
