"""Provides what every task's builder needs: writing clips, and the record of where each came from."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demo.fetch import Shelf
from demo.origin import Recording
from demo.voices import Speaker
from demo.waves import RATE, seconds, write

#: raised when clips or metadata change, so that folders made before are made anew
RECIPE = 1
MANIFEST = "mini_manifest.json"
SHORTEST, LONGEST = 90.0, 200.0
README_HEAD = f"""\
# A small stand-in for AudioMarathon's dataset

Made by `scripts/demo/make_mini` in the layout of the released dataset, to try the harness out. It is no benchmark: the
clips are few. Emotion (vesus) and age (vox_age) are voices of a program whose settings stand for the label, and the
scenes (tau) are computed: they show that everything is connected, and no more. `{MANIFEST}` says of every clip whether it is a
recording or synthetic, and where it came from. The recordings keep their owners' licences; do not pass them on.
To build a task again, delete its folder.

| task | clips | minutes | real | synthetic |
| --- | --- | --- | --- | --- |"""


@dataclass
class Kit:
    """Builds one task below `out`; `rows` records for every clip what it is and where it came from."""

    task: str
    out: Path
    seed: int
    shelf: Shelf
    speaker: Speaker
    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = self.chance(self.task)

    def chance(self, name: str) -> np.random.Generator:
        """Return a generator that depends on the seed and the name only, not on earlier draws."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def clip(self, relative: str, recording: Recording, rate: int = RATE) -> dict[str, str]:
        """Write one clip; return the origin for its metadata rows. Raises ValueError for a wrong length."""
        length = seconds(recording.wave, rate)
        if not SHORTEST <= length <= LONGEST:
            raise ValueError(f"{relative}: {length:.1f} s is not within {SHORTEST:.0f}-{LONGEST:.0f} s")
        write(self.out / relative, recording.wave, rate)
        size = (self.out / relative).stat().st_size
        self.rows.append(
            {"path": relative, "seconds": round(length, 3), "bytes": size, **asdict(recording.origin)}
        )
        return {"source": recording.origin.source, "provenance": recording.origin.provenance}

    def metadata(self, relative: str, content: Any) -> None:
        """Write a task's JSON file in the layout of the release."""
        path = self.out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def shuffled(self, right: str, wrong: list[str]) -> tuple[list[str], int]:
        """Return options in random order and the right one's position; all positions come once before one repeats."""
        if not self.places:
            self.places = [int(place) for place in self.random.permutation(len(wrong) + 1)]
        place = self.places.pop()
        options = [wrong[i] for i in self.random.permutation(len(wrong))]
        return [*options[:place], right, *options[place:]], place

    def choices(self, right: str, labels: list[str]) -> tuple[list[str], int]:
        """Return the right label among three others drawn from `labels`, and its position."""
        others = [label for label in labels if label != right]
        return self.shuffled(right, [others[i] for i in self.random.permutation(len(others))[:3]])


Builder = Callable[[Kit], None]


def lettered(options: list[str]) -> dict[str, str]:
    """Return `choice_a` ... as most of the released files spell them."""
    return {f"choice_{letter}": option for letter, option in zip("abcde", options, strict=False)}


class Manifest:
    """Reads and writes `mini_manifest.json`: for each task its recipe, seed, clips and missing packages."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / MANIFEST
        self.tasks: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self.tasks = json.loads(self.path.read_text(encoding="utf-8"))["tasks"]

    def done(self, task: str, seed: int) -> bool:
        """Return whether the task is complete for this recipe and seed: every clip exists with its recorded size."""
        entry = self.tasks.get(task)
        if entry is None or (entry["recipe"], entry["seed"]) != (RECIPE, seed):
            return False
        clips = [(self.out / row["path"], row["bytes"]) for row in entry["clips"]]
        return all(path.is_file() and path.stat().st_size == size for path, size in clips)

    def add(self, kit: Kit, missing: Mapping[str, str]) -> None:
        """Record a finished task; the file is replaced atomically, so that a kill never leaves half of it."""
        self.tasks[kit.task] = {
            "recipe": RECIPE,
            "seed": kit.seed,
            "clips": sorted(kit.rows, key=lambda row: str(row["path"])),
            "missing_packages": dict(sorted(missing.items())),
        }
        self.tasks = dict(sorted(self.tasks.items()))
        text = json.dumps({"tasks": self.tasks}, indent=1, ensure_ascii=False)
        fresh = self.path.with_suffix(".writing")
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.replace(self.path)
        (self.out / "README.md").write_text(readme(self.tasks), encoding="utf-8")


def readme(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the README of the data folder."""
    lines = [README_HEAD]
    licences: dict[str, str] = {}
    for task, entry in tasks.items():
        clips = entry["clips"]
        real = sum(clip["source"] == "real" for clip in clips)
        minutes = sum(clip["seconds"] for clip in clips) / 60
        lines.append(f"| {task} | {len(clips)} | {minutes:.1f} | {real} | {len(clips) - real} |")
        licences.update({clip["provenance"]: clip["licence"] for clip in clips})
    lines.append("\nWhere the clips come from, and the licence that the package declares:\n")
    lines += [f"- {provenance}: {licence}" for provenance, licence in sorted(licences.items())]
    return "\n".join(lines) + "\n"
