"""Reads manifests, which list the hashes of a dataset's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError

#: schema_version of the manifests that `doctor --manifest` writes.
PIN_VERSION = 1


def read_pin(path: Path, flag: str) -> dict[str, Any]:
    """Read a manifest that `doctor --manifest` wrote. `flag` names the option in the error. Raises MarathonError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != PIN_VERSION or not isinstance(content["tasks"], dict):
            raise ValueError("another schema version")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MarathonError(f"{flag}: {path}: not a manifest of doctor ({error})") from None
    return dict(content)
