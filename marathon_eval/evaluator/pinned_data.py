"""A run held to a manifest of `doctor`: a clip whose sound is another than the pinned one is an error row, not an answer."""

from __future__ import annotations

from pathlib import Path

from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.requests import DocRequests, RequestPool
from marathon_eval.task.data.pin import read_pin


def held_against(pool: RequestPool, cache: ResponseCache, manifest: Path) -> RequestPool:
    """The pool with a reason in place of every question on a sound that the manifest lacks. Raises MarathonError.

    Sounds are compared by the hash of what is decoded, so a moved or re-packed copy of the data is the same data.
    """
    pinned = {
        audio["sha256"]
        for task in read_pin(manifest, "--manifest")["tasks"].values()
        for audio in task["audio"].values()
    }
    facts, _ = cache.facts(
        audio for asked in pool.asked.values() for item in asked for audio in item.doc.audio
    )

    def checked(item: DocRequests) -> DocRequests:
        for audio in item.doc.audio:
            if audio in facts and facts[audio].sha256 not in pinned:
                return DocRequests(item.doc, [], f"{audio.path}: this sound is not in {manifest.name}")
        return item

    return RequestPool(
        pool.docs, {name: [checked(item) for item in asked] for name, asked in pool.asked.items()}
    )
