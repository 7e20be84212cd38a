"""Reads and writes the samples of a run that goes on, in a folder that no reader of finished runs takes for one.

`<output_path>/unfinished/<UTC time>.<host>.<process>/` holds `unfinished.json` (model, and the tasks with their rows)
and `samples_<task>.jsonl.part`, with the lines of samples_<task>.jsonl in the order in which responses came. The run
deletes the folder when its results are written; of a killed run it stays until the next run below the same path.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.errors import DamagedRunError
from marathon_eval.files import host_name, json_line, process_runs
from marathon_eval.results.shape import parsed_sample

UNFINISHED = "unfinished"
_FACTS_FILE, _PART = "unfinished.json", ".jsonl.part"


class UnfinishedRun(NamedTuple):
    """Holds the folder of a run without results yet, and its facts: `model`, `started`, and `tasks` as in results.json.

    `goes_on` is False if its process ended without deleting the folder, and None if it ran on another machine.
    """

    folder: Path
    facts: Mapping[str, Any]
    goes_on: bool | None

    def outlives(self, moment: float) -> bool:
        """Return whether the run goes on, or may and has written samples since `moment` (seconds since 1970)."""
        return self.wrote_after(moment) if self.goes_on is None else self.goes_on

    def wrote_after(self, moment: float) -> bool:
        """Return whether the run has written samples since `moment` (seconds since 1970)."""
        return max((file.stat().st_mtime for file in self.folder.iterdir()), default=0.0) > moment

    def rows_told(self) -> str:
        """Return `3 of 4 rows`, those with a sample among all."""
        tasks = self.facts["tasks"]
        rows = sum(len(partial_rows(self.folder, name)) for name in tasks)
        return f"{rows} of {sum(task['n_loaded'] for task in tasks.values())} rows"


class PartialSamples:
    """Writes the lines of a run that goes on; each can be read as soon as it is written."""

    def __init__(self, output_path: Path, facts: Mapping[str, Any]) -> None:
        """Create the run's folder below `output_path`, and delete those of killed runs. Raises OSError."""
        delete_killed(output_path)
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
        self.folder = output_path / UNFINISHED / f"{stamp}.{host_name()}.{os.getpid()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _FACTS_FILE).write_text(json.dumps(facts, default=str), encoding="utf-8")
        self._files: dict[str, Any] = {}

    def add(self, task: str, line: Mapping[str, Any]) -> None:
        """Write one line of a task. Raises OSError."""
        if task not in self._files:
            path = self.folder / f"samples_{task}{_PART}"
            self._files[task] = path.open("w", encoding="utf-8")
        self._files[task].write(json_line(line))
        self._files[task].flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            with suppress(OSError):
                file.close()
        self._files.clear()

    def delete(self) -> None:
        """Delete the run's folder, and the folder above it if no other run is in it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # another run is in it
            self.folder.parent.rmdir()


def delete_killed(output_path: Path) -> None:
    """Delete the folders of killed runs of this machine, and the folder above them if no other run is in it."""
    for run in _found_in(output_path / UNFINISHED):
        if run.goes_on is False:
            shutil.rmtree(run.folder, ignore_errors=True)
    with suppress(OSError):  # another run is in it, or there is none
        (output_path / UNFINISHED).rmdir()


def unfinished_below(path: Path) -> UnfinishedRun | None:
    """Return the newest run in or below a folder that goes on or was killed; None if there is none."""
    found = [*_found_in(path / UNFINISHED), *_found_in(path), *_found_in(path.parent, path.name)]
    # a run that goes on comes before one that was killed
    return max(found, key=lambda run: (run.goes_on is not False, run.folder.name), default=None)


def _found_in(parent: Path, name: str = "*") -> Iterator[UnfinishedRun]:
    for file in sorted(parent.glob(f"{name}/{_FACTS_FILE}")):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is being written, or deleted
            continue
        *_, host, process = file.parent.name.split(".")
        here = host == host_name() and process.isdecimal() and process.isascii()
        yield UnfinishedRun(file.parent, facts, process_runs(int(process)) if here else None)


def partial_rows(folder: Path, task: str) -> list[dict[str, Any]]:
    """Return the parsed lines of a task so far, the last of each document. Raises DamagedRunError.

    A line that is being written is left out.
    """
    file = folder / f"samples_{task}{_PART}"
    rows: dict[int, dict[str, Any]] = {}
    if not file.is_file():
        return []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = parsed_sample(line)
            except ValueError as error:
                raise DamagedRunError(f"{file}:{number}: {error}", folder) from None
            rows[row["doc_id"]] = row
    return list(rows.values())
