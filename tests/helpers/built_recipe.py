"""Builds a recipe from fake corpora, and recomputes every sample from the manifest alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from helpers import make_source_corpora
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.needle_flags import with_needle_flags
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.corpus.build.recipe import Recipe, load_recipe

READER = """
import sys
import numpy as np, soundfile
words = open(sys.argv[1], encoding="utf-8").read().split()
sound = [np.random.default_rng(list(word.encode())).uniform(-0.2, 0.2, 2000) for word in words]
soundfile.write(sys.argv[2], np.concatenate(sound), 4000)
"""


def reader(folder: Path) -> str:
    """Write a --tts program that reads every word as half a second of noise, different for every word."""
    script = folder / "reader.py"
    script.write_text(READER)
    return f"{sys.executable} {script} {{text}} {{wav}}"


def at_test_rate(name: str) -> Recipe:
    """Return the shipped recipe at the fakes' sample rate: the same plan with a quarter of the samples.

    Position probes are made for two lengths and three depths only.
    """
    recipe = load_recipe(name)
    if recipe.needle is not None:
        recipe = with_needle_flags(recipe, "5,30", "0,50,100", None)
    return recipe.model_copy(update={"rate": make_source_corpora.RATE})


class Made:
    """Holds a corpus and what a recipe built from it."""

    def __init__(self, recipe: Recipe, folder: Path, tts: str | None = None) -> None:
        self.recipe = recipe
        self.source = make_source_corpora.CORPORA[recipe.recipe](folder / "source")
        self.output = folder / "out"
        self.built = build(self.recipe, Order(self.source, self.output, jobs=2, tts=tts))
        self.manifest: dict[str, Any] = json.loads(self.built.manifest.read_text())
        self.root = self.output / self.recipe.layout.root

    def source_of(self, path: str) -> Path:
        spoken = self.output / "speech" / self.recipe.recipe / path
        return spoken if spoken.is_file() else self.source / path

    def rows(self) -> list[dict[str, Any]]:
        content = json.loads((self.root / str(self.recipe.layout.metadata)).read_text())
        key = self.recipe.layout.rows_key
        rows: list[dict[str, Any]] = content if key is None else content[key]
        return rows

    def seconds(self) -> dict[str, float]:
        return {line["path"]: line["seconds"] for line in self.manifest["audio"]}

    def check_every_sample(self, sounds_at_once: int) -> None:
        """Recompute every file from the manifest and the sources alone, by other arithmetic than the builder's."""
        for line in self.manifest["audio"]:
            data, _ = soundfile.read(self.root / line["path"], dtype="int16")
            again = np.zeros(line["frames"])
            heard = np.zeros(line["frames"], dtype=int)
            for span in line["spans"]:
                heard[span["start"] : span["stop"]] += 1
                if span["source"] is not None:
                    again[span["start"] : span["stop"]] += self.stretch(span)
            assert heard.min() == 1, "a sample of nowhere"
            assert heard.max() == sounds_at_once
            exact = not any("gain_db" in span or "fade_in" in span for span in line["spans"])
            np.testing.assert_allclose(data, again, atol=0 if exact else 3)

    def stretch(self, span: dict[str, Any]) -> Any:
        """Return a span's samples on the 16-bit scale, with gain and fades applied."""
        path, ends = self.source_of(span["source"]), (span["source_start"], span["source_stop"])
        samples, rate = soundfile.read(path, dtype="float64", start=ends[0], stop=ends[1])
        assert rate == span["source_rate"] == make_source_corpora.RATE
        changed = samples * 32768 * 10 ** (span.get("gain_db", 0.0) / 20)
        for name, turned in (("fade_in", 1), ("fade_out", -1)):
            width = span.get(name, 0)
            ramp = np.ones(len(samples))
            ramp[:width] = np.sin(np.pi * (np.arange(width) + 0.5) / (2 * max(1, width))) ** 2
            changed = changed * ramp[::turned]
        # what OGG decodes to is not on the 16-bit scale by itself
        return changed if "gain_db" in span or "fade_in" in span or "fade_out" in span else np.rint(changed)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes, except locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }
