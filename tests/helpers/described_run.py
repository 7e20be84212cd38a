"""Describes a run completely (arguments, flags, task file, rows, clips, source files), and carries it out."""

from __future__ import annotations

import copy
import importlib
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from marathon_eval import simple_evaluate
from marathon_eval.api.results import RunResult

#: Answers with a hash of all that an adapter can see: two equal answers were asked alike of the same code.
ALL_EARS = """
import hashlib
import os
import sys
from typing import Literal

from pydantic import SecretStr

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from heard import describe
from marathon_eval.api.model import Model, ModelSettings, Response

SPOKEN = "spoken"


class Settings(ModelSettings):
    word: str = ""
    number: int = 0
    share: float = 0.0
    loud: bool = False
    way: Literal["high", "low"] = "high"
    many: dict = {}
    names: list = []
    token: str = ""
    password: SecretStr = SecretStr("")
    batch_size: int = 1


class AllEars(Model):
    Settings = Settings

    def generate(self, requests):
        given = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self.settings
            if name not in self.transport
        }
        for request in requests:
            seen = [
                SPOKEN, self.version, given, request.prompt, request.system, request.generation,
                *(describe(audio) for audio in request.audios),
            ]
            yield request, Response(hashlib.sha256(repr(seen).encode()).hexdigest()[:12])
"""
HEARD = """
import hashlib
RATE = 16000

def describe(audio):
    return hashlib.sha256(audio.samples(RATE).tobytes()).hexdigest()
"""
TASK: dict[str, Any] = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": "rows.json"},
    "doc_to_text": "{{ q }} {{ options }}",
    "choice_columns": ["one", "two"],
    "doc_to_target": "a",
    "doc_to_audio": "path",
    "generation_kwargs": {"max_new_tokens": 5},
    "filter_list": [{"name": "strict", "filter": [{"function": "take_first"}]}],
    "metric_list": [{"metric": "accuracy", "filter_list": "strict"}],
    "headline": {"reading": "strict", "metric": "accuracy", "scale": 100},
    "subsets": {"few": {"drop": [{"fields": {"q": "what 3?"}}]}, "all": {}},
}
#: One moment for all files, so that no time tells a changed file from the one before it.
MOMENT = 1_700_000_000


def tone(number: int, seconds: float = 0.05) -> Any:
    """Samples of a short clip, another one for each number."""
    return (np.random.default_rng(number).normal(size=round(16000 * seconds)) * 3000).astype(np.int16)


@dataclass
class DescribedRun:
    """Describes a run of four rows on four clips by a model whose answer is a hash of all that it is given."""

    args: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(TASK))
    rows: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"q": f"what {n}?", "a": "AB"[n % 2], "one": "yes", "two": "no", "path": f"{n}.wav"}
            for n in range(4)
        ]
    )
    clips: dict[str, Any] = field(default_factory=lambda: {f"{n}.wav": tone(n) for n in range(4)})
    rate: int = 16000
    subtype: str = "PCM_16"
    sources: dict[str, str] = field(
        default_factory=lambda: {"models/all_ears.py": ALL_EARS, "heard.py": HEARD, "unused.py": ""}
    )

    def run(self, folder: Path, cache: Path | None) -> RunResult:
        """Write all files into `folder`, at one moment, and evaluate; without a `cache` nothing is remembered."""
        self._write(folder)
        _forget_modules()
        flags = {"no_cache": True} if cache is None else {"use_cache": str(cache)}
        return simple_evaluate(
            "all_ears",
            ["own"],
            self.args,
            include_path=(str(folder),),
            data_dir=str(folder / "data"),
            **flags,
            **self.flags,
        )

    def _write(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "data").mkdir(parents=True)
        texts = {**self.sources, "own.yaml": json.dumps(self.task), "data/rows.json": json.dumps(self.rows)}
        for name, text in texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        for name, samples in self.clips.items():
            soundfile.write(folder / "data" / name, samples, self.rate, subtype=self.subtype)
        for path in folder.rglob("*"):
            os.utime(path, (MOMENT, MOMENT))


def _forget_modules() -> None:
    """Make the next run import its own model anew, as another process would.

    Callers set `sys.dont_write_bytecode`: compiled files are found by size and time of the source, which are equal here.
    """
    for name in [name for name in sys.modules if name == "heard" or name.startswith("marathon_eval_user")]:
        del sys.modules[name]
    importlib.invalidate_caches()
