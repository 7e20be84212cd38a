"""Documents of a task: one row each, with its fields, its audio and its target."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marathon_eval.api.audio import Audio


@dataclass(frozen=True, slots=True)
class Doc:
    """One document. `doc_id` is the row's number in its file, from 0, whatever subset or limit is chosen."""

    doc_id: int
    fields: Mapping[str, Any]
    audio: tuple[Audio, ...] = ()
    error: str | None = None
    #: Option texts, and the target as scores compare it; None where the row has no usable one.
    choices: tuple[str, ...] = ()
    target: str | tuple[str, ...] | None = None
    #: Audio names as the dataset has them, below its root.
    audio_names: tuple[str, ...] = ()
    #: The rows of its solved examples.
    examples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class DocSet:
    """The documents of one run of a task, and the count of every row that is not among them."""

    docs: list[Doc]
    n_meta: int
    n_missing: int
    n_filtered: int
    source: str
    subset: str | None = None
    metadata_sha256: str | None = None
    #: The release that the metadata file is, "unknown" where the task knows some and it is none of them.
    version: str | None = None

    @property
    def n_loaded(self) -> int:
        """Documents to be asked, error rows among them."""
        return len(self.docs)

    @property
    def manifest_sha256(self) -> str:
        """Hash over row numbers, audio names below the root, and targets: what was asked, on any machine."""
        rows = [[doc.doc_id, doc.audio_names, doc.target] for doc in self.docs]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode(errors="surrogatepass")).hexdigest()

    def manifest(self) -> dict[str, Any]:
        """What results.json keeps of the dataset."""
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
            # a limit is no property of the dataset, but without it the counts would not add up
            "n_not_asked": self.n_meta - self.n_missing - self.n_filtered - self.n_loaded,
        }
