"""Reads the config files of a checkpoint: which modules of its own code they name, and how many positions its model has."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


#: Where config files keep the settings of the language model.
_TEXT_CONFIGS = ("thinker_config", "text_config", "llm_config", "language_config")


def positions_of(config: Mapping[str, Any]) -> int | None:
    """Return the positions (tokens of prompt and answer together) of the language model; None if the config says none."""
    for name in _TEXT_CONFIGS:
        if isinstance(config.get(name), dict):
            return positions_of(config[name])
    positions = config.get("max_position_embeddings")
    return positions if isinstance(positions, int) and positions > 0 else None


def downloaded_config(name: str, commit: str) -> Path | None:
    """Return the config file of a checkpoint on the hub if it was downloaded before, else None."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(name, "config.json", revision=commit)
    return Path(file) if isinstance(file, str) else None
