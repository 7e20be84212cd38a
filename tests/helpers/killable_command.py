"""Runs real commands that can be interrupted at any moment, and counts what was lost.

A `Job` is one verb with its flags, its folder and its data. A test calls `start`, disturbs the process, calls
`finish`, and then compares what was lost.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import make_air_bench_mmar_data, make_audiomarathon_data, make_source_corpora

ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "tests" / "helpers" / "logged_model.py")
HOOKS = str(ROOT / "tests" / "disturbed")
#: What a kill may cost: 32 answers that wait for their commit, and the one that was on its way.
MOST_LOST = 33
VERBS = ("run", "sweep", "judge")
#: Of sweep.json and results.json, what no two passes share.
_PASSING = {"cache", "seconds", "path", "folder", "usage", "cached"}


def make_data(root: Path, rows: int = 200) -> Path:
    """Write rows of race, chat rows for a judge, and sources for a build."""
    make_audiomarathon_data.build(root, {"race": rows})
    make_air_bench_mmar_data.chat(root, rows=rows // 8)
    make_source_corpora.needle(root / "needle_source")
    return root


def stored(cache: Path) -> int:
    """Count the answers in a cache folder; 0 if there is none."""
    path = cache / "answers.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name='entries'").fetchone()[0]
        query = "SELECT count(*) FROM entries WHERE key LIKE 'response/%'"
        return int(connection.execute(query).fetchone()[0]) if found else 0


@dataclass
class Job:
    """Runs one command; all its output lies in `folder`, but `cache` may be shared with other jobs."""

    verb: str
    data: Path
    folder: Path
    cache: Path | None = None

    @property
    def kept(self) -> Path:
        """Return its cache folder."""
        return self.cache or self.folder / "kept"

    @property
    def log(self) -> Path:
        """Return the file with a line for every answer that a model finished."""
        return self.folder / "finished.log"

    def flags(self) -> list[str]:
        out = ["--output_path", str(self.folder / "out")]
        if self.verb == "build":
            return ["build", "needle", "--source", str(self.data / "needle_source"), "--limit", "9", *out]
        asked = [
            "--model",
            MODEL,
            "--data_dir",
            str(self.data),
            "--use_cache",
            str(self.kept),
            "--json",
            *out,
        ]
        if self.verb == "judge":
            judge = ["--judge_model", MODEL, "--judge_args", "says=scores"]
            return ["run", "--tasks", "air_bench_chat_sound", *asked, *judge]
        if self.verb == "sweep":
            grid = ["--presses", "none,frame,knorm", "--ratios", "0.3,0.6", "--limit", "40"]
            return ["sweep", "--tasks", "race", *asked, *grid]
        return ["run", "--tasks", "race", *asked]

    def start(
        self, sleep: float = 0.01, env: Mapping[str, str] | None = None, first: Path | None = None, **how: Any
    ) -> subprocess.Popen[str]:
        """Start the command with a delay per answer; a sitecustomize.py of `first` is imported before the job's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"LOGGED_TO": str(self.log), "LOGGED_SLEEP": str(sleep), "HF_HUB_OFFLINE": "1", **(env or {})}
        path = os.pathsep.join(
            [str(first or HOOKS), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-m", "marathon_eval", *self.flags()],
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, **told},
            **how,
        )

    def finish(self, env: Mapping[str, str] | None = None) -> Any:
        """Run the same command to its end; return its results without what differs between any two runs."""
        process = self.start(0.0, env)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        if self.verb == "build":
            return built(self.folder / "out")
        said = json.loads(stdout)
        return [lasting({part: said.get(part) for part in ("cells", "tasks", "groups")}), self.samples()]

    def samples(self) -> dict[str, list[Any]]:
        """Return the lines of the newest results of every model, each document once."""
        found: dict[str, list[Any]] = {}
        for model in sorted((self.folder / "out").glob("*/")):
            # by the file system's clock: the run's own may have jumped
            newest = max(model.glob("*/results.json"), key=lambda path: path.stat().st_mtime_ns)
            for path in newest.parent.glob("samples_*.jsonl"):
                lines = [json.loads(line) for line in path.read_text().splitlines()]
                numbers = [line["doc_id"] for line in lines]
                assert len(numbers) == len(set(numbers)), "a document stands there twice"
                found[f"{model.name} {path.name}"] = [lasting(line) for line in lines]
        return found

    def finished(self) -> Counter[str]:
        """Return how often each answer was finished."""
        return Counter(self.log.read_text().splitlines()) if self.log.exists() else Counter()

    def asked_again(self) -> int:
        """Count the answers that were finished more than once, so the earlier ones were lost."""
        return sum(count - 1 for count in self.finished().values())

    def wait(self, answers: int, process: subprocess.Popen[str]) -> None:
        """Wait until the model has finished `count` answers."""
        while not self.log.exists() or self.log.stat().st_size < 65 * answers:
            assert process.poll() is None, "ended too early"
            time.sleep(0.002)


def lasting(value: Any) -> Any:
    """Return JSON without times, paths and whether a response came from the cache."""
    if isinstance(value, dict):
        return {
            name: lasting(item)
            for name, item in value.items()
            if name not in _PASSING and not name.endswith(("_s", "_at", "_path"))
        }
    return [lasting(item) for item in value] if isinstance(value, list) else value


def built(folder: Path) -> dict[str, bytes]:
    """Return every file of a build except its locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }
