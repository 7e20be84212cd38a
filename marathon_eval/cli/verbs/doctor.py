"""Check a data set for missing, damaged, silent or clipped audio, wrong rows and unbalanced answer letters.

Rows are read as the tasks say whose data files lie in DIR; `--tasks` names others, also without DIR.
Faults that a benchmark's release is known to have are listed apart, by name. The exit code is 3 if there is any other
fault that makes a row unusable (weight "error").
"""

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
#: Seconds of audio from which a total is told in minutes, and in hours.
_MINUTES_FROM, _HOURS_FROM = 120, 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="folder of a data set, as the benchmark released it or as `build` wrote it",
    )
    parser.add_argument(
        "--tasks",
        "--task",
        "-t",
        nargs="+",
        default=[],
        metavar="TASK",
        help="check the rows and files of these tasks only; names that `marathon-eval ls tasks` prints, or YAML files",
    )
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with more tasks/"
    )
    parser.add_argument(
        "--kinds", action="store_true", help="print every kind of fault with its meaning, and exit"
    )
    parser.add_argument(
        "--headers_only",
        action="store_true",
        help="read only the audio files' headers: faster, but finds fewer kinds of fault",
    )
    parser.add_argument(
        "--known",
        nargs="+",
        metavar="FILE",
        help="descriptions of released data sets and their known faults, used instead of the shipped ones",
    )
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="write hashes that identify this copy, for --against here and --manifest of `run`",
    )
    parser.add_argument(
        "--against",
        metavar="FILE",
        help="a manifest of another copy; every difference from it is reported as a fault",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="number of audio files to check at the same time (default 1)",
    )
    parser.add_argument(
        "--all", action="store_true", help="print every fault instead of the first five of each kind per task"
    )
    parser.add_argument("--json", action="store_true", help="print every fault as JSON")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.audit.doctor import examine
    from marathon_eval.corpus.audit.expected import load_known
    from marathon_eval.corpus.audit.fault import FAULT_KINDS
    from marathon_eval.corpus.audit.fingerprint import pin
    from marathon_eval.corpus.audit.own_tasks import tasks_to_examine
    from marathon_eval.corpus.build.journal import entries_as_json, write_atomic
    from marathon_eval.task.data.pin import read_pin

    if arguments.kinds:
        print("\n".join(f"{name:<20}{kind.weight:<9}{kind.meaning}" for name, kind in FAULT_KINDS.items()))
        return EXIT_WHOLE
    if arguments.folder is None and not arguments.tasks:
        raise MarathonError("doctor: give the folder of a data set, --tasks or --kinds")
    if (arguments.manifest or arguments.against) and arguments.headers_only:
        raise MarathonError(
            "--headers_only: cannot be combined with --manifest or --against, which need the decoded audio's hashes"
        )
    known = load_known([Path(path) for path in arguments.known] if arguments.known else None)
    names = [name for item in arguments.tasks for name in item.split(",") if name]
    pinned = read_pin(Path(arguments.against), "--against") if arguments.against else None
    root = None if arguments.folder is None else Path(arguments.folder)
    own = tasks_to_examine(names, root, known, arguments.include_path)
    of_folder = [
        Path(name).stem if name.endswith(".yaml") else name for name in names if name not in own.groups
    ]
    wanted = [*of_folder, *own.tasks] if names else []
    examined = examine(root, known, arguments.jobs, arguments.headers_only, wanted, pinned, own.tasks)
    if arguments.manifest:
        write_atomic(Path(arguments.manifest), entries_as_json(pin(examined)))
    if arguments.json:
        print(json.dumps(as_report(examined), indent=1, ensure_ascii=False))
    else:
        text = "\n".join(told(examined, None if arguments.all else SHOWN_FAULTS))
        print(text.encode("utf-8", "backslashreplace").decode())  # file names may be in no encoding
    return EXIT_WHOLE if examined.sound else EXIT_INCOMPLETE


def as_report(examined: Examined) -> dict[str, Any]:
    """Return all counts and faults as JSON for --json."""
    return {
        "folder": str(examined.survey.root),
        "rows": {task: len(rows) for task, rows in sorted(examined.survey.tasks().items())},
        "files": len(examined.heard),
        "sound": examined.sound,
        "faults": [
            {
                **item.fault._asdict(),
                "weight": item.fault.weight,
                "known": item.known.name if item.known else None,
            }
            for item in examined.findings
        ],
    }


def length_text(seconds: float) -> str:
    """Return `16 s`, `7.5 min` or `1.25 h`."""
    if seconds < _MINUTES_FROM:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < _HOURS_FROM else f"{seconds / 3600:.2f} h"


def told(examined: Examined, shown: int | None) -> list[str]:
    """Return the report's lines: counts, known faults, then up to `shown` other faults of each kind and task."""
    rows = ", ".join(f"{task} {len(rows)}" for task, rows in sorted(examined.survey.tasks().items()))
    length = length_text(sum(report.seconds for report in examined.heard.values()))
    lines = [f"rows: {rows or 'none'}", f"audio: {len(examined.heard)} files, {length}"]
    named = [(item, item.known) for item in examined.findings if item.known is not None]
    counts = Counter(
        (known.task if isinstance(known.task, str) else item.fault.task, known.name) for item, known in named
    )
    reasons = {known.name: known.why for _, known in named}
    lines += [
        f"known    {task}: {name} ({count}): {reasons[name]}"
        for (task, name), count in sorted(counts.items())
    ]
    seen: Counter[tuple[str, str]] = Counter()
    for fault in (item.fault for item in examined.findings if item.known is None):
        seen[fault.task, fault.kind] += 1
        if shown is None or seen[fault.task, fault.kind] <= shown:
            lines.append(f"{fault.weight:<9}{fault.kind}: {fault.where}: {fault.seen}")
    for (task, kind), count in seen.items():
        if shown is not None and count > shown:
            lines.append(f"         {kind}: {count - shown} more in {task or 'files without rows'} (--all)")
    if seen:
        return [*lines, f"{sum(seen.values())} faults of {len({kind for _, kind in seen})} kinds"]
    if not examined.survey.rows:
        return [*lines, "no rows were read, so nothing is known of them: name their task with --tasks"]
    return [*lines, "no fault found"]
