"""Provides a model that says the letters in whose loudness clips are written, and a folder with tasks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from helpers.minimal_task import HEARD, write_task
from marathon_eval.cli.main import main
from marathon_eval.results.files import newest_run, read_results, read_samples

#: Each second of a test clip is one loudness: the model names the letters that it hears, and notes every call.
LISTENER = '''
import json
from pathlib import Path

from marathon_eval.api.model import Model, ModelSettings, Response, Usage


class Listener(Model):
    """Says the letters of the seconds that it hears, and what it was told where it hears nothing."""

    Settings = ModelSettings

    def misfit(self, request, seconds):
        return f"{seconds:g} s are over 5 s" if request.audios and seconds > 5 else None

    def generate(self, requests):
        for request in requests:
            wave = request.audios[0].samples(1000) if request.audios else []
            letters = "".join("-ABCD"[round(10 * abs(wave[at]))] for at in range(500, len(wave), 1000))
            with Path(__file__).with_suffix(".calls").open("a") as calls:
                calls.write(json.dumps([letters, request.prompt, request.generation.max_new_tokens]) + "\\n")
            if "!" in letters or "-" in letters and "note" not in request.prompt:
                yield request, Response.failed("deaf to silence")
            elif "answers" in request.prompt:
                yield request, Response(f"so: {letters[:1]}" if letters[:1] != "D" else "I cannot say")
            else:
                yield request, Response(letters or "B", usage=Usage(heard_seconds=len(wave) / 1000, peak_bytes=len(wave)))
'''
KEYS = f"""\
{HEARD}doc_to_choice: [one, two, three, four]
choice_layout: A.
filter_list:
  - {{name: strict, filter: [{{function: choice}}]}}
metric_list:
  - {{metric: accuracy, filter_list: strict}}
headline: {{reading: strict, metric: accuracy, scale: 100}}
"""
VOTE = "window:seconds=2,combine=vote"


def write_clip(path: Path, letters: str) -> None:
    """Write one second for each letter; `-` is silence."""
    levels = np.repeat([0.1 * "-ABCD".index(letter) for letter in letters], 1000)
    soundfile.write(path, levels, 1000, subtype="FLOAT")


class Ground:
    """A folder with a listener, and tasks on clips that are written as letters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "listener.py").write_text(LISTENER)

    def run(self, clips: str, *flags: str, keys: str = KEYS, golds: str = "BBBBBBBB") -> int:
        """Run the listener on a task with one row for each clip (`AABB CC`)."""
        rows = []
        for number, (letters, gold) in enumerate(zip(clips.split(), golds, strict=False)):
            write_clip(self.folder / f"{number}.wav", letters)
            rows.append({"q": f"answers {number}", "a": gold, "path": f"{number}.wav"})
        task = write_task(self.folder, keys, rows)
        given = ["--model", str(self.folder / "listener.py"), "--tasks", str(task)]
        given += ["--data_dir", str(self.folder), "--use_cache", str(self.folder / "cache")]
        return main([*given, "-o", str(self.folder / "out"), *flags])

    @property
    def results(self) -> Any:
        return read_results(newest_run(self.folder / "out"))

    @property
    def samples(self) -> list[Any]:
        return list(read_samples(newest_run(self.folder / "out"), "own"))

    def calls(self) -> list[Any]:
        """What the model was asked since the last look: letters, prompt, tokens."""
        path = self.folder / "listener.calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]
