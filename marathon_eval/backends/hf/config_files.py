"""Reads the config files of a checkpoint, and which modules of its own code they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError

#: Files whose `auto_map` names the modules of a checkpoint's own code.
_WITH_CODE = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


def missing_modules(folder: Path) -> list[str]:
    """Return the Python files that the checkpoint's configs name as its own code and the folder lacks."""
    needed: set[str] = set()
    for name in _WITH_CODE:
        if not (folder / name).is_file():
            continue
        for value in read_json(folder / name).get("auto_map", {}).values():
            classes = value if isinstance(value, list) else [value]
            # "OWNER/NAME--module.Class" lies in another repository, which transformers fetches itself
            needed |= {f"{c.rpartition('.')[0]}.py" for c in classes if isinstance(c, str) and "--" not in c}
    return sorted(name for name in needed if not (folder / name).is_file())


def read_json(file: Path) -> dict[str, Any]:
    """Read a config file. Raises MarathonError when it is not a JSON object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise MarathonError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise MarathonError(f"{file}: is no JSON object")
    return content
