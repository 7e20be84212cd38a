"""Hashes the files of this machine that `datasets` reads, which it caches by name and modification time alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marathon_eval.api.file_identity import file_identity

#: Builders whose files are sounds, beside tables of these kinds. What a sound holds is in the keys of its answers.
_OF_SOUNDS = ("audiofolder",)
_TABLES = (".csv", ".json", ".jsonl", ".parquet")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class LocalDataFiles:
    """Holds the files of each split; `with_sounds` where only some of them are tables."""

    by_split: Mapping[str, Sequence[str]]
    with_sounds: bool

    @classmethod
    def of(cls, builder: Any) -> LocalDataFiles | None:
        """Return the files that a builder of `datasets` reads; None where it names none, or others than this machine's."""
        named = builder.config.data_files or {}
        files = {str(split): sorted(map(str, paths)) for split, paths in named.items()}
        if not files or not all(Path(name).is_file() for names in files.values() for name in names):
            return None
        kinds = {kind.__module__.split(".")[-1] for kind in type(builder).__mro__}
        return cls(files, not kinds.isdisjoint(_OF_SOUNDS))

    @property
    def state(self) -> str:
        """Return a hash that is another one as soon as any of the files was written or replaced."""
        found = [
            [split, name, file_identity(name).text]
            for split, names in self.by_split.items()
            for name in names
        ]
        return hashlib.sha256(repr(found).encode()).hexdigest()[:32]

    def sha256(self, split: str) -> str:
        """Return the SHA-256 of the files of a split, one after the other; of a sound its name."""
        digest = hashlib.sha256()
        for name in self.by_split.get(split.partition("[")[0], ()):
            if self.with_sounds and Path(name).suffix.lower() not in _TABLES:
                digest.update(Path(name).name.encode())
                continue
            with open(name, "rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        return digest.hexdigest()
