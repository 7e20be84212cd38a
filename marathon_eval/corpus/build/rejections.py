"""Reads which rows of a data set a review rejected, so that a build leaves them out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marathon_eval.corpus.build.manifest import read_manifest
from marathon_eval.errors import MarathonError

#: Folder in the data set that the audio of rejected rows is moved to; no file of the user is deleted.
REJECTED = "rejected"


def recorded(root: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Read the records of rows that earlier calls removed. Raises MarathonError when the file is damaged."""
    path = root / REJECTED / "review.json"
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {(entry["task"], entry["row"]): entry for entry in entries}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MarathonError(f"{path}: damaged ({error})") from None


def rejected_before(root: Path, name: str, manifest: Path) -> frozenset[str]:
    """Return the keys of a recipe's rows that a review or an earlier build's --verdicts rejected."""
    finished = read_manifest(manifest)
    reviewed = {row for task, row in recorded(root) if task == name}
    return frozenset(reviewed.union([] if finished is None else finished.get("rejected", [])))
