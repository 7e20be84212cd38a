"""Implements `cache show|verify|prune|export|merge`; each function takes the flags and the cache's folder."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import chain, islice
from pathlib import Path

from marathon_eval.cache import entries, exchange
from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cache.entries import Selection
from marathon_eval.cache.entry import RESPONSE
from marathon_eval.cli.main import EXIT_MISTAKE, EXIT_WHOLE
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.files import json_line, write_atomically


def show(arguments: argparse.Namespace, folder: Path) -> int:
    print(json.dumps(entries.look_up(folder / FILE_NAME, arguments.key), ensure_ascii=False, indent=1))
    return EXIT_WHOLE


def verify(arguments: argparse.Namespace, folder: Path) -> int:
    path = folder / FILE_NAME
    damages = [f"sqlite: {line}" for line in entries.sqlite_faults(path)]
    damages += [f"{key[:32]}: {fault}" for key, fault in entries.faults(path)]
    for line in damages:
        print(f"marathon-eval: error: {path}: {line}", file=sys.stderr)
    print(f"{path}: {len(damages)} damaged" if damages else f"{path}: every entry is whole")
    return EXIT_MISTAKE if damages else EXIT_WHOLE


def prune(arguments: argparse.Namespace, folder: Path) -> int:
    path = folder / FILE_NAME
    chosen = selection(arguments)
    everything = chosen == Selection()
    if everything and not (arguments.gone_audio or arguments.damaged):
        raise MarathonError(
            "cache prune: choose entries with --model, --fingerprint, --older_than, --gone_audio or --damaged "
            f"(to delete the whole cache, remove {path})"
        )
    keys = entries.prunable(path, None if everything else chosen, arguments.gone_audio, arguments.damaged)
    if arguments.yes:
        answers, others = entries.delete(path, keys)
        print(f"{path}: {answers} answers and {others} other entries deleted")
        return EXIT_WHOLE
    answers = others = 0
    for key in keys:
        answers += key.startswith(RESPONSE)
        others += not key.startswith(RESPONSE)
    print(f"{path}: {answers} answers and {others} other entries would be deleted; --yes deletes them")
    return EXIT_WHOLE


def export(arguments: argparse.Namespace, folder: Path) -> int:
    target = Path(arguments.file)
    if target.suffix != ".jsonl":
        raise MarathonError(f"cache export: {target} must end in .jsonl")
    if target.exists():
        raise MarathonError(f"cache export: {target} exists already")
    rows = exchange.exported_entries(folder / FILE_NAME, selection(arguments))
    first = list(islice(rows, 2))
    if len(first) < 2:  # the header alone
        raise MarathonError(nothing_to_export(folder / FILE_NAME, arguments))
    write_atomically(target, (json_line(row) for row in chain(first, rows)))
    return EXIT_WHOLE


def nothing_to_export(path: Path, arguments: argparse.Namespace) -> str:
    """Return that no response is selected, and the models that the cache has responses of."""
    with entries.opened_read_only(path) as connection:
        models = entries.fingerprints(connection)
    names = sorted({str(model["model"]) for model in models.values() if "model" in model})
    if not names:
        return f"cache export: {path} holds no responses"
    near = did_you_mean(arguments.model, names) if arguments.model else ""
    shown = ", ".join(names)
    return f"cache export: {path} holds no responses of this selection, and no file is written.{near} Its models: {shown}"


def merge(arguments: argparse.Namespace, folder: Path) -> int:
    for source in arguments.sources:
        merged = exchange.merge_caches(Path(source), folder)
        print(
            f"{source}: {merged.added} answers added, {merged.kept} present already, "
            f"{merged.conflicts} with another text (not replaced), "
            f"{merged.refused} refused (key and content do not match)"
        )
    return EXIT_WHOLE


def selection(arguments: argparse.Namespace) -> Selection:
    """Return --fingerprint, --model and --older_than as a Selection. Raises MarathonError."""
    if arguments.older_than is not None and arguments.older_than < 0:
        raise MarathonError(f"--older_than: must not be negative, got {arguments.older_than:g}")
    return Selection(arguments.fingerprint, arguments.model, arguments.older_than)
