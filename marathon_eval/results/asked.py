"""Tells whether two runs asked a task alike: the same rows, prompts, generation arguments and judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.files import canonical_json
from marathon_eval.results.files import read_samples


class PromptsHash:
    """Hashes the prompts of a task, document by document, from the hashes that the samples hold."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, doc_id: int, prompt_sha256: str | None) -> None:
        """Add the prompt of one document; None for a document that could not be asked."""
        self._hash.update(f"{doc_id} {prompt_sha256}\n".encode())

    def hexdigest(self) -> str:
        """Return the sha256 over all documents so far."""
        return self._hash.hexdigest()


class Asked(NamedTuple):
    """Holds what two scores of a task must share to count as the same measurement; None where a run did not record it.

    `data` is the hash of the rows asked; `generation` and `judge` are JSON texts.
    """

    data: str | None
    prompts: str | None
    generation: str | None
    judge: str | None


#: How labels name the fields of Asked.
ASPECTS = {"data": "data", "prompts": "prompts", "generation": "generation arguments", "judge": "judge"}


def asked_in(results: Mapping[str, Any], folder: Path, task: str) -> Asked:
    """Return how a run asked a task. Reads the samples of runs that did not record it. Raises MarathonError."""
    manifest = (results.get("manifests") or {}).get(task) or {}
    generation, judge = manifest.get("generation"), manifest.get("judge")
    typed = (results.get("config") or {}).get("judge_gen_kwargs")
    return Asked(
        data=manifest.get("manifest_sha256"),
        prompts=manifest.get("prompts_sha256") or _prompts_in(folder, task),
        generation=None if generation is None else canonical_json(generation),
        judge=None
        if not isinstance(judge, Mapping)
        else canonical_json(
            [judge.get("fingerprint_sha256"), judge.get("prompts_sha256"), *([typed] if typed else [])]
        ),
    )


def _prompts_in(folder: Path, task: str) -> str | None:
    """Return the hash of the prompts of a samples file, or None if there is no such file."""
    if not (folder / f"samples_{task}.jsonl").is_file():
        return None
    prompts = PromptsHash()
    for row in read_samples(folder, task):
        prompts.add(row["doc_id"], row.get("prompt_sha256"))
    return prompts.hexdigest()
