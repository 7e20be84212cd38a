"""Measures what building long audio costs: hours of TAU-like clips (44.1 kHz) to 16 kHz files, in a process of its own.

The peak memory of one hour and of ten shows whether it grows. Clips are hard links to a few different sounds, so that
the source needs little disk; each is opened, decoded and resampled as if it were a file of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE, CLIP_SECONDS, CLIPS_PER_PLACE = 44100, 10.0, 21
DIFFERENT = 21


def corpus(root: Path, hours: float) -> Path:
    """Write clips of 10 s in TAU's own layout: seven scenes, places of 210 s."""
    (root / "audio").mkdir(parents=True)
    draw = np.random.default_rng(0)
    sounds = []
    for number in range(DIFFERENT):
        sounds.append(root / f"sound{number}.wav")
        soundfile.write(sounds[-1], draw.uniform(-0.3, 0.3, int(RATE * CLIP_SECONDS)), RATE, subtype="PCM_16")
    scenes = ("airport", "bus", "metro", "metro_station", "park", "public_square", "tram")
    lines = ["filename\tscene_label\tidentifier\tsource_label"]
    for number in range(round(hours * 3600 / CLIP_SECONDS)):
        place = number // CLIPS_PER_PLACE
        scene = scenes[place % len(scenes)]
        path = f"audio/{scene}-city-{place}-{number % CLIPS_PER_PLACE}-a.wav"
        os.link(sounds[number % DIFFERENT], root / path)
        lines.append(f"{path}\t{scene}\tcity-{place}\ta")
    (root / "meta.csv").write_text("\n".join(lines) + "\n")
    return root


def measured(hours: float, jobs: int) -> dict[str, float]:
    """Return wall and CPU seconds, times real time, and peak megabytes of one build."""
    with tempfile.TemporaryDirectory() as folder:
        source = corpus(Path(folder) / "source", hours)
        command = [sys.executable, "-m", "marathon_eval", "build", "tau", "--source", str(source)]
        command += ["--output_path", str(Path(folder) / "out"), "--jobs", str(jobs)]
        clock = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", PROBE, *command], capture_output=True, text=True, check=True
        )
        wall = time.monotonic() - clock
        cpu, peak = json.loads(done.stdout.splitlines()[-1])
        built = json.loads((Path(folder) / "out/manifests/tau.json").read_text())["counts"]["seconds"]
    return {"hours": built / 3600, "wall_s": wall, "cpu_s": cpu, "x_real_time": built / wall, "peak_mb": peak}


#: Runs the command from a fresh parent process, so that the peak is the command's own.
PROBE = (
    "import json, resource, subprocess, sys\n"
    "subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)\n"
    "use = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print(json.dumps([use.ru_utime + use.ru_stime, use.ru_maxrss / 1024]))\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    costs = [measured(hours, arguments.jobs) for hours in arguments.hours]
    if arguments.json:
        print(json.dumps(costs, indent=1))
        return
    print(f"{'hours built':>12}{'wall s':>9}{'CPU s':>9}{'x real time':>13}{'peak MB':>9}")
    for cost in costs:
        print(
            f"{cost['hours']:12.2f}{cost['wall_s']:9.1f}{cost['cpu_s']:9.1f}{cost['x_real_time']:13.0f}{cost['peak_mb']:9.0f}"
        )


if __name__ == "__main__":
    main()
