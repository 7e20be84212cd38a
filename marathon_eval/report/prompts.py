"""Looks up prompt texts in the response caches, because samples files hold only each prompt's hash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.evaluator.rescore.recorded_prompts import stored_prompts
from marathon_eval.files import default_folder


def cache_files(use_cache: str | None) -> list[Path]:
    """Return the existing cache files: the user's own, and the one below --use_cache. A run's config names none."""
    folders = [default_folder(), *([Path(use_cache)] if use_cache else [])]
    return [path for path in dict.fromkeys(folder / FILE_NAME for folder in folders) if path.is_file()]


def prompts_by_sha(files: Iterable[Path]) -> dict[str, str]:
    """Return prompt texts, after their system prompt if there is one, by prompt_sha256.

    A dialogue's turn has the turns and answers before it, each behind its role; `<audio>` stands where a clip does. A
    file that is not a response cache adds nothing.
    """
    return {
        asked.prompt_sha256: asked.shown()
        if asked.system is None
        else f"[system] {asked.system}\n\n{asked.shown()}"
        for path in files
        for asked in stored_prompts(path)
    }
