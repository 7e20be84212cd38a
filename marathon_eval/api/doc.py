"""Defines the documents of a task: one row of the dataset each, with its fields, its audio and its target."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marathon_eval.api.audio import Audio


@dataclass(frozen=True, slots=True)
class Doc:
    """Holds one document. `doc_id` is the row's number in its file, from 0; subsets and limits do not change it."""

    doc_id: int
    fields: Mapping[str, Any]
    audio: tuple[Audio, ...] = ()
    error: str | None = None
    #: Option texts, and the target as metrics compare it; the target is None where the row has no usable one.
    choices: tuple[str, ...] = ()
    target: str | tuple[str, ...] | None = None
    #: Audio paths as written in the dataset, relative to its root.
    audio_names: tuple[str, ...] = ()
    #: The rows of the few-shot examples in its prompt.
    examples: tuple[Mapping[str, Any], ...] = ()
    #: The clips of these rows, in order; they come before the document's own.
    example_audio: tuple[Audio, ...] = ()


@dataclass(frozen=True)
class DocSet:
    """Holds the documents of a task in one run, and counts the rows that were left out."""

    docs: Sequence[Doc]
    n_meta: int
    n_missing: int
    n_filtered: int
    source: str
    subset: str | None = None
    metadata_sha256: str | None = None
    #: The dataset release of the metadata file; "unknown" if it is none of the releases in the task's YAML.
    version: str | None = None
    #: Rows left out by --min_seconds or --max_seconds; they count in `n_filtered` too.
    n_length: int = 0

    @property
    def n_loaded(self) -> int:
        """Return the number of documents in the run, including error rows."""
        return len(self.docs)

    @property
    def manifest_sha256(self) -> str:
        """Return the SHA-256 of row numbers, audio paths below the root, and targets; equal on all machines."""
        digest, separator = hashlib.sha256(b"["), b""
        for first in range(0, len(self.docs), 1000):
            docs = self.docs[first : first + 1000]
            rows = [[doc.doc_id, doc.audio_names, doc.target] for doc in docs]
            text = json.dumps(rows, ensure_ascii=False)[1:-1]
            digest.update(separator + text.encode(errors="surrogatepass"))
            separator = b", "
        digest.update(b"]")
        return digest.hexdigest()

    def manifest(self) -> dict[str, Any]:
        """Return the entry that results.json keeps about the dataset."""
        return {
            "source": self.source,
            "subset": self.subset,
            "metadata_sha256": self.metadata_sha256,
            "metadata_version": self.version,
            "manifest_sha256": self.manifest_sha256,
            "n_meta": self.n_meta,
            "n_loaded": self.n_loaded,
            "n_missing": self.n_missing,
            "n_filtered": self.n_filtered,
            **({"n_length": self.n_length} if self.n_length else {}),
            # a limit is not a property of the dataset, but the counts must add up to n_meta
            "n_not_asked": self.n_meta - self.n_missing - self.n_filtered - self.n_loaded,
        }
