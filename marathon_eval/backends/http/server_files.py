"""Finds the files and folders that a server's command line names, such as a chat template or an adapter's weights.

They change answers, so that the fingerprint holds their content. A path may be a word of its own, stand after `=` or in
JSON (`--lora-modules '{"name": "a", "path": "/a"}'`), or in a YAML file of arguments that the command line names.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from marathon_eval.backends.hf import weights

#: What stands around a path in a word of a command line, in JSON and in YAML.
_AROUND = re.compile(r"""[=,:\s"'\[\]{}]+""")
#: Files of arguments, whose own words are looked at too.
_ARGUMENTS = (".yaml", ".yml")
#: Files that servers write.
_WRITTEN = (".log",)


def named_contents(server_args: str, memo: weights.Memo | None) -> dict[str, str]:
    """Return the SHA-256 of each file that the arguments name, and of each folder's config and weight files."""
    found: dict[str, str] = {}
    for text, path in named_paths(shlex.split(server_args)):
        files = [path] if path.is_file() else [*weights.checkpoint_files(path), *sorted(path.glob("*.py"))]
        if files:
            hashes = weights.hashes(files, memo)
            parts = [[str(file.relative_to(path)), hashes[file]] for file in files]
            found[text] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return found


def named_paths(words: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield each existing file and folder that these words name, as it was written and as a path."""
    waiting, seen = list(words), set[str]()
    while waiting:
        word = waiting.pop(0)
        for text in (word, word.partition("=")[2], *_AROUND.split(word)):
            path = Path(text).expanduser()
            if not text or text in seen or not _exists(path) or path.suffix in _WRITTEN:
                continue
            seen.add(text)
            yield text, path
            if path.suffix in _ARGUMENTS:
                waiting += path.read_text(encoding="utf-8", errors="replace").splitlines()


def _exists(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):  # a long JSON text is no file name
        return False
