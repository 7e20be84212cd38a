"""Counts the requests that combine the notes on a clip's windows (`combine: map_reduce`), for a dry run.

Where the cache has all notes of a row, its request is built and looked up. Every other request counts as one to send, with the
most tokens that the missing notes may have.
"""

from __future__ import annotations

from typing import NamedTuple

from marathon_eval.api.model import Model, Request
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.entry import response_from
from marathon_eval.evaluator.budget import text_tokens
from marathon_eval.evaluator.requests import RequestPool
from marathon_eval.evaluator.window_answers import ANSWERED, notes_request


class Combining(NamedTuple):
    """Holds the missing requests, with the notes that are known, the most tokens of other notes, and the cached requests."""

    missing: list[Request]
    tokens_to_come: int
    hits: int

    @property
    def input_tokens(self) -> int:
        """Return about how many tokens the missing requests have at most."""
        return text_tokens(self.missing) + self.tokens_to_come


def combining_requests(pool: RequestPool, model: Model, cache: ResponseCache) -> Combining:
    """Return the requests that a run would send once it has the notes. Raises MarathonError."""
    splits = {
        request: split for request, split in pool.splits.items() if split.windows.combine == "map_reduce"
    }
    entries = cache.known(model, [part for split in splits.values() for part in split.parts])
    known = {part: response_from(entry.value["response"]) for part, entry in entries.items()}
    whole: list[Request] = []
    to_come: list[Request] = []
    tokens = 0
    for request, split in splits.items():
        found = [known[part] for part in split.parts if part in known]
        if any(response.status not in ANSWERED for response in found):
            continue  # without the notes on one window the row has no answer
        texts = [known[part].text if part in known else "" for part in split.parts]
        built = notes_request(request, split, texts)
        (whole if len(found) == len(split.parts) else to_come).append(built)
        tokens += sum(part.generation.max_new_tokens for part in split.parts if part not in known)
    stored = cache.known(model, whole)
    distinct = dict.fromkeys(whole)
    return Combining([one for one in distinct if one not in stored] + to_come, tokens, len(stored))
