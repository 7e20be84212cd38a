"""`cache show|verify|prune|export|merge`: flags and the cache's folder in, an exit code out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from marathon_eval.cache import entries, exchange
from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cache.entries import Selection
from marathon_eval.cache.entry import RESPONSE
from marathon_eval.cli.main import EXIT_MISTAKE, EXIT_WHOLE
from marathon_eval.errors import MarathonError
from marathon_eval.files import json_line, write_atomically


def show(arguments: argparse.Namespace, folder: Path) -> int:
    print(json.dumps(entries.look_up(folder / FILE_NAME, arguments.key), ensure_ascii=False, indent=1))
    return EXIT_WHOLE


def verify(arguments: argparse.Namespace, folder: Path) -> int:
    path = folder / FILE_NAME
    found = [f"sqlite: {line}" for line in entries.sqlite_faults(path)]
    found += [f"{key[:32]}: {fault}" for key, fault in entries.faults(path)]
    for line in found:
        print(f"marathon-eval: error: {path}: {line}", file=sys.stderr)
    print(f"{path}: {len(found)} damaged" if found else f"{path}: every entry is whole")
    return EXIT_MISTAKE if found else EXIT_WHOLE


def prune(arguments: argparse.Namespace, folder: Path) -> int:
    path = folder / FILE_NAME
    chosen = selection(arguments)
    everything = chosen == Selection()
    if everything and not (arguments.gone_audio or arguments.damaged):
        raise MarathonError(
            "cache prune: say what: --model, --fingerprint, --older_than, --gone_audio or --damaged "
            f"(to drop all answers, remove {path})"
        )
    keys = entries.prunable(path, None if everything else chosen, arguments.gone_audio, arguments.damaged)
    answers = sum(key.startswith(RESPONSE) for key in keys)
    what = f"{answers} answers and {len(keys) - answers} other entries"
    if not arguments.yes:
        print(f"{path}: {what} would go; --yes does it")
        return EXIT_WHOLE
    entries.delete(path, keys)
    print(f"{path}: {what} are gone")
    return EXIT_WHOLE


def export(arguments: argparse.Namespace, folder: Path) -> int:
    target = Path(arguments.file)
    if target.suffix != ".jsonl":
        raise MarathonError(f"cache export: {target} must end in .jsonl")
    if target.exists():
        raise MarathonError(f"cache export: {target} is there already")
    rows = exchange.exported_entries(folder / FILE_NAME, selection(arguments))
    write_atomically(target, (json_line(row) for row in rows))
    return EXIT_WHOLE


def merge(arguments: argparse.Namespace, folder: Path) -> int:
    for source in arguments.sources:
        done = exchange.merge_caches(Path(source), folder)
        print(
            f"{source}: {done.added} answers added, {done.kept} were here, "
            f"{done.conflicts} differ (ours kept), {done.refused} refused (key and content do not match)"
        )
    return EXIT_WHOLE


def selection(arguments: argparse.Namespace) -> Selection:
    """The selecting flags. Raises MarathonError."""
    if arguments.older_than is not None and arguments.older_than < 0:
        raise MarathonError(f"--older_than: must not be negative, got {arguments.older_than:g}")
    return Selection(arguments.fingerprint, arguments.model, arguments.older_than)
