"""Examines the source files of a build by the checks that `doctor` uses, before a file is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from marathon_eval.corpus.audit.checks import audio_faults, duplicate_faults
from marathon_eval.corpus.audit.decode import hear
from marathon_eval.corpus.audit.expected import Expected
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.errors import MarathonError

#: Faults of one kind that are listed; the others are counted.
SHOWN_SOURCES = 5
#: A corpus promises no duration, and the recipe mixes its channels.
_ANY_SOURCE = Expected(mono=False)


def source_faults(root: Path, names: Sequence[str], jobs: int = 1) -> list[Fault]:
    """Decode source files, whose names are relative to `root`, and return their faults, sorted by name."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        files = dict(zip(names, pool.map(hear, [root / name for name in names]), strict=True))
    faults = [
        fault for name, file in files.items() for fault in audio_faults(file, "sources", name, _ANY_SOURCE)
    ]
    heard = {root / name: file for name, file in files.items()}
    faults += duplicate_faults(heard, {root / name: ("sources", name) for name in names})
    return sorted(faults, key=lambda fault: (fault.kind, fault.where))


def refuse_bad_sources(
    root: Path, names: Sequence[str], jobs: int = 1, told: Callable[[str], None] = lambda _: None
) -> None:
    """Examine source files, and report their faults line by line to `told`.

    Raises MarathonError that lists the files that cannot be used, if there are any.
    """
    if names:
        told(f"examining {len(names)} source files")
    faults = source_faults(root, names, jobs)
    for line in _lines([fault for fault in faults if fault.weight != "error"]):
        told(line)
    errors = [fault for fault in faults if fault.weight == "error"]
    if errors:
        files = len({fault.where for fault in errors})
        head = f"--source: {root}: {files} of {len(names)} files cannot be used; mend them, or name them in the recipe's"
        raise MarathonError("\n".join([f"{head} source.known_bad", *_lines(errors)]))


def _lines(faults: Sequence[Fault]) -> list[str]:
    """Return one line per fault, up to SHOWN_SOURCES of each kind, and the number of the others."""
    lines = []
    for kind in sorted({fault.kind for fault in faults}):
        same = [fault for fault in faults if fault.kind == kind]
        lines += [
            f"source {fault.weight}: {kind}: {fault.where}: {fault.seen}" for fault in same[:SHOWN_SOURCES]
        ]
        if len(same) > SHOWN_SOURCES:
            lines.append(f"source {same[0].weight}: {kind}: {len(same) - SHOWN_SOURCES} more")
    return lines
