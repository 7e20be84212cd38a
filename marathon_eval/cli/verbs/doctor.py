"""Examine a data set: missing, damaged, silent or clipped audio, wrong rows, unbalanced letters; known faults by name."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.examined import Examined

SHOWN_FAULTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", metavar="DIR", help="a data set in a released or built layout")
    parser.add_argument("--tasks", "-t", nargs="+", default=[], metavar="TASK", help="only these")
    parser.add_argument("--kinds", action="store_true", help="list every kind of fault and stop")
    parser.add_argument("--headers_only", action="store_true", help="decode nothing: fast, finds less")
    parser.add_argument(
        "--known", nargs="+", metavar="FILE", help="other descriptions of released data than ours"
    )
    parser.add_argument(
        "--manifest", metavar="FILE", help="write what identifies this copy, to compare and pin"
    )
    parser.add_argument(
        "--against", metavar="FILE", help="a manifest of another copy: what differs is a fault"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="files heard at the same time")
    parser.add_argument("--all", action="store_true", help="every fault, not the first five of each kind")
    parser.add_argument("--json", action="store_true", help="every fault as JSON")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.audit.doctor import examine
    from marathon_eval.corpus.audit.expected import load_known
    from marathon_eval.corpus.audit.fault import FAULT_KINDS
    from marathon_eval.corpus.audit.fingerprint import pin
    from marathon_eval.corpus.build.journal import entries_as_json, write_atomic
    from marathon_eval.task.data.pin import read_pin

    if arguments.kinds:
        print("\n".join(f"{name:<20}{kind.weight:<9}{kind.meaning}" for name, kind in FAULT_KINDS.items()))
        return EXIT_WHOLE
    if arguments.folder is None:
        raise MarathonError("doctor: give a data set's folder, or --kinds")
    if (arguments.manifest or arguments.against) and arguments.headers_only:
        raise MarathonError("--manifest, --against: need the sounds' hashes, so not with --headers_only")
    known = load_known([Path(path) for path in arguments.known] if arguments.known else None)
    names = [name for item in arguments.tasks for name in item.split(",") if name]
    pinned = read_pin(Path(arguments.against), "--against") if arguments.against else None
    found = examine(Path(arguments.folder), known, arguments.jobs, arguments.headers_only, names, pinned)
    if arguments.manifest:
        write_atomic(Path(arguments.manifest), entries_as_json(pin(found)))
    if arguments.json:
        print(json.dumps(as_report(found), indent=1, ensure_ascii=False))
    else:
        text = "\n".join(told(found, None if arguments.all else SHOWN_FAULTS))
        print(text.encode("utf-8", "backslashreplace").decode())  # file names may be in no encoding
    return EXIT_WHOLE if found.sound else EXIT_INCOMPLETE


def as_report(found: Examined) -> dict[str, Any]:
    """Everything found, for programs."""
    return {
        "folder": str(found.survey.root),
        "rows": {task: len(rows) for task, rows in sorted(found.survey.tasks().items())},
        "files": len(found.heard),
        "sound": found.sound,
        "faults": [
            {
                **item.fault._asdict(),
                "weight": item.fault.weight,
                "known": item.known.name if item.known else None,
            }
            for item in found.findings
        ],
    }


def told(found: Examined, shown: int | None) -> list[str]:
    """Counts, then the faults: those to repair, then those that the release is known for."""
    rows = ", ".join(f"{task} {len(rows)}" for task, rows in sorted(found.survey.tasks().items()))
    hours = sum(report.seconds for report in found.heard.values()) / 3600
    lines = [f"rows: {rows or 'none'}", f"audio: {len(found.heard)} files, {hours:.2f} h"]
    named = [(item, item.known) for item in found.findings if item.known is not None]
    counts = Counter(
        (known.task if isinstance(known.task, str) else item.fault.task, known.name) for item, known in named
    )
    reasons = {known.name: known.why for _, known in named}
    lines += [
        f"known    {task}: {name} ({count}): {reasons[name]}"
        for (task, name), count in sorted(counts.items())
    ]
    seen: Counter[tuple[str, str]] = Counter()
    for fault in (item.fault for item in found.findings if item.known is None):
        seen[fault.task, fault.kind] += 1
        if shown is None or seen[fault.task, fault.kind] <= shown:
            lines.append(f"{fault.weight:<9}{fault.kind}: {fault.where}: {fault.seen}")
    for (task, kind), count in seen.items():
        if shown is not None and count > shown:
            lines.append(f"         {kind}: {count - shown} more in {task or 'files without rows'} (--all)")
    return [
        *lines,
        "no fault found"
        if not seen
        else f"{sum(seen.values())} faults of {len({kind for _, kind in seen})} kinds",
    ]
