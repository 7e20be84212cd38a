"""Compares a run's audio with a manifest written by `doctor`; a document with other audio becomes an error row."""

from __future__ import annotations

from pathlib import Path

from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.requests import RequestPool
from marathon_eval.task.data.pin import read_pin


def with_unpinned_refused(pool: RequestPool, cache: ResponseCache, manifest: Path) -> RequestPool:
    """Return the pool with an error in place of the requests of every document whose audio the manifest lacks.

    Audio is compared by the hash of its decoded samples, so a moved or repacked copy counts as the same data. Raises
    MarathonError if the manifest cannot be read.
    """
    pinned_hashes = {
        audio["sha256"]
        for task in read_pin(manifest, "--manifest")["tasks"].values()
        for audio in task["audio"].values()
    }
    facts, _ = cache.facts(
        audio for items in pool.doc_requests.values() for item in items for audio in item.doc.audio
    )

    def error_if_unpinned(item: DocRequests) -> DocRequests:
        for audio in item.doc.audio:
            if audio in facts and facts[audio].sha256 not in pinned_hashes:
                return DocRequests(item.doc, [], f"{audio.path}: this sound is not in {manifest.name}")
        return item

    doc_requests = {
        name: [error_if_unpinned(item) for item in items] for name, items in pool.doc_requests.items()
    }
    return pool._replace(doc_requests=doc_requests)
