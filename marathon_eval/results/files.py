"""Writes and reads the files of a run: results.json and samples_<task>.jsonl."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marathon_eval.api.results import SCHEMA_VERSION, RunResult
from marathon_eval.errors import DamagedRunError, MarathonError
from marathon_eval.files import too_deep, write_atomically
from marathon_eval.results.label import folder_name
from marathon_eval.results.shape import fault_of_results, parsed_sample, whole_number

#: Entries of results.json that differ between two evaluations with the same outcome.
_OF_ONE_EVALUATION = {"cache", "started", "wall_s"}


def run_folder(output_path: Path, result: RunResult) -> Path:
    """Create `<output_path>/<readable name>__<fingerprint[:8]>/<UTC time>` for a run's files, and return its path.

    The readable name says model or --run_name, press, condition and selection (`label.folder_name`). Raises MarathonError if the
    folder cannot be created.
    Called when the responses are there; `check_writable` tests the path before weights load.
    """
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
    parent = output_path / _folder_name(result)
    folder = parent / stamp
    try:
        attempt = 1
        while folder.exists():
            attempt += 1
            folder = parent / f"{stamp}-{attempt}"
        folder.mkdir(parents=True)
    except OSError as error:
        raise MarathonError(f"--output_path: cannot write to {output_path} ({error.strerror})") from None
    return folder


def _folder_name(result: RunResult) -> str:
    return folder_name(
        result.model,
        result.fingerprint,
        result.fingerprint_sha256,
        result.condition,
        result.selection,
        result.config.get("run_name"),
    )


def write_run(result: RunResult, folder: Path, log_samples: bool = True) -> None:
    """Write the samples, then results.json, each atomically: if results.json exists, its samples do too, unless
    `log_samples` is False. Raises MarathonError, also for a value that contains itself."""
    from marathon_eval.results.compressed_samples import samples_text

    if log_samples:
        for task, samples in result.samples.items():
            write_atomically(folder / f"samples_{task}.jsonl", samples_text(samples))
    file = folder / "results.json"
    try:
        text = json.dumps(result.summary(), indent=1, sort_keys=False)
    except (RecursionError, ValueError):  # json.dumps raises the second for a value that contains itself
        raise MarathonError(f"{file}: {too_deep(vars(result))}") from None
    write_atomically(file, [text, "\n"])


def equal_run_below(output_path: Path, result: RunResult) -> Path | None:
    """Return the newest stored run of the same name, if it holds exactly this result; None if it does not.

    A result for which the model was asked anything equals no stored run.
    """
    if result.cache["misses"] or not output_path.is_dir():
        return None
    parent = output_path / _folder_name(result)
    try:
        folder = newest_run(parent)
        stored = read_results(folder)
    except MarathonError:  # none is stored, or it cannot be read
        return None
    new = json.loads(json.dumps(result.summary()))
    differing = {name for name in {*new, *stored} if new.get(name) != stored.get(name)}
    samples = all((folder / f"samples_{task}.jsonl").is_file() for task in result.samples)
    return folder if samples and differing <= _OF_ONE_EVALUATION else None


def newest_run(path: Path) -> Path:
    """Return a run's folder, or the newest run below a parent. Raises MarathonError if there is none."""
    if (path / "results.json").is_file():
        return path
    runs = sorted(path.glob("**/results.json"), key=lambda file: (file.parent.name, file.stat().st_mtime_ns))
    if not runs:
        raise MarathonError(f"{path}: no results.json here or below")
    return runs[-1].parent


def read_results(path: Path) -> dict[str, Any]:
    """Read results.json of a run's folder. Raises DamagedRunError if it is damaged or has another schema_version."""
    file = newest_run(path) / "results.json"
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"), parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise DamagedRunError(f"{file}: not readable as JSON ({error})", file.parent) from None
    if not isinstance(loaded, dict) or loaded.get("schema_version") != SCHEMA_VERSION:
        raise DamagedRunError(f"{file}: schema_version is not {SCHEMA_VERSION}", file.parent)
    fault = fault_of_results(loaded)
    if fault is not None:
        raise DamagedRunError(f"{file}: {fault}: is missing or has the wrong type", file.parent)
    return loaded


def read_samples(folder: Path, task: str) -> Iterator[dict[str, Any]]:
    """Yield the parsed lines of samples_<task>.jsonl. Raises DamagedRunError naming file and line, and MarathonError without samples."""
    file = newest_run(folder) / f"samples_{task}.jsonl"
    if not file.is_file():
        raise MarathonError(f"{file}: no such file (was the run made with --no_log_samples?)")
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield parsed_sample(line)
            except ValueError as error:
                raise DamagedRunError(f"{file}:{number}: {error}", file.parent) from None
