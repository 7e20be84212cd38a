"""Runs `scripts/demo/make_mini OUT`: builds missing tasks, prints what is real, and writes a manifest."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from demo.fetch import Shelf, default_cache
from demo.heard import desed, gtzan, tau
from demo.kit import Builder, Kit, Manifest
from demo.miniatures import MINIATURES, write_miniatures
from demo.people import had, vesus, vox_age, vox_gender
from demo.spoken import librispeech, race, slue
from demo.voices import Speaker
from marathon_eval.errors import MarathonError, unknown

BUILDERS: dict[str, Builder] = {
    "librispeech": librispeech,
    "race": race,
    "slue": slue,
    "tau": tau,
    "gtzan": gtzan,
    "desed": desed,
    "vesus": vesus,
    "had": had,
    "vox_age": vox_age,
    "vox_gender": vox_gender,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make_mini",
        description="A small dataset in AudioMarathon's released layout, for trying things out: not a benchmark. "
        "Real recordings where package registries carry them, speech synthesis and computed sounds elsewhere.",
    )
    parser.add_argument("out", type=Path, help="folder to build in; give it to marathon-eval as --data_dir")
    parser.add_argument("--tasks", default=",".join(BUILDERS), help="comma-separated; default: all ten")
    parser.add_argument(
        "--benchmarks",
        metavar="NAMES",
        help="instead: miniatures of other benchmarks in their published layouts, two or three rows each, "
        f"comma-separated: {', '.join(MINIATURES)}",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where packages are unpacked")
    arguments = parser.parse_args()
    try:
        if arguments.benchmarks is not None:
            write_miniatures(arguments.out, arguments.benchmarks)
            return 0
        failed = build(arguments.out, chosen(arguments.tasks), arguments.seed, Shelf(arguments.cache))
    except MarathonError as error:
        failed = [str(error)]
    for reason in failed:
        print(f"make_mini: {reason}", file=sys.stderr)
    return 2 if failed else 0


def chosen(names: str) -> list[str]:
    """Return the named tasks. Raises MarathonError for one that does not exist."""
    tasks = [name.strip() for name in names.split(",") if name.strip()]
    for name in tasks:
        if name not in BUILDERS:
            raise unknown("--tasks", "task", name, BUILDERS)
    return tasks


def build(out: Path, tasks: list[str], seed: int, shelf: Shelf) -> list[str]:
    """Build each incomplete task and record it at once; return why tasks could not be built.

    Raises MarathonError when nothing can be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MarathonError(f"{out}: cannot build here ({error.strerror})") from None
    manifest = Manifest(out)
    speaker = Speaker(shelf)
    failed: dict[str, list[str]] = {}
    for task in tasks:
        if manifest.done(task, seed):
            print(f"{task:12} is there already")
            continue
        clock = time.monotonic()
        kit = Kit(task, out, seed, shelf, speaker)
        try:
            BUILDERS[task](kit)
        except MarathonError as error:
            failed.setdefault(str(error), []).append(task)
            continue
        manifest.add(kit, shelf.missing)
        print(f"{task:12} {told(kit)} in {time.monotonic() - clock:.1f} s", flush=True)
    for package, reason in shelf.missing.items():
        print(f"not to be had: {package}: {reason}")
    return [f"not built: {', '.join(names)}: {reason}" for reason, names in failed.items()]


def told(kit: Kit) -> str:
    """Return a summary such as `8 clips, 13.4 min, 8 real`."""
    sources = Counter(str(row["source"]) for row in kit.rows)
    minutes = sum(float(row["seconds"]) for row in kit.rows) / 60
    counts = ", ".join(f"{count} {source}" for source, count in sorted(sources.items()))
    return f"{len(kit.rows):2} clips, {minutes:4.1f} min, {counts}"
