"""Fills response caches by a model with given answers, and damages and inspects them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Model, ModelSettings, Request, Response
from marathon_eval.cache import entries
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.database import TABLE
from marathon_eval.cli.main import main


class Said(Model):
    """Answers with `says` and the prompt."""

    class Settings(ModelSettings):
        says: str = "yes"
        timeout: int = 1

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        assert isinstance(self.settings, self.Settings)
        for request in requests:
            yield request, Response(f"{self.settings.says} {request.prompt}")


def fill(
    folder: Path, says: str = "yes", prompts: Sequence[str] = ("a", "b"), audio: Path | None = None
) -> Path:
    """Fill a cache with one answer per prompt, and return its file."""
    audios = () if audio is None else (Audio(str(audio)),)
    with ResponseCache(folder) as cache:
        list(cache.answer(Said.from_args({"says": says}), [Request(prompt, audios) for prompt in prompts]))
    return folder / FILE_NAME


def keys(path: Path, prefix: str = "") -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"SELECT key FROM {TABLE} WHERE key LIKE ? ORDER BY key", (prefix + "%",))
        return [key for (key,) in rows]


def change(path: Path, key: str, value: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        changed = connection.execute(f"UPDATE {TABLE} SET value = ? WHERE key = ?", (value, key))
        assert changed.rowcount == 1


def cache(*words: str, folder: Path) -> int:
    return main(["cache", *words, "--use_cache", str(folder)])


def says_of(path: Path, key: str) -> str:
    with entries.opened_read_only(path) as connection:
        says: str = entries.fingerprints(connection)[key.removeprefix("fingerprint/")]["says"]
        return says
