"""Joins a finished run's rows with the task's documents by what was asked, never by row number.

A row was asked as its document would be asked now if the prompts have one hash, the clips have one hash each, and the
options are the same in the same order. Rows of a predictions file, which record no prompt, are joined by their number,
and must have kept target, options and breakdown fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.model import Request
from marathon_eval.cache.answers import AT_ONCE, FILE_NAME, ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.requests import cache_folder, docs_of, requests_of_doc
from marathon_eval.evaluator.rescore.stored_rows import RowsByDoc, StoredRow, StoredRows, asked_digest
from marathon_eval.results.files import read_samples
from marathon_eval.task.task import Task

#: Row numbers that a message lists before it only counts them.
LISTED = 20
#: Why a document has no row: the run did not ask it.
NOT_ASKED = "not asked"


class JoinedRows(NamedTuple):
    """Holds the documents that a run has rows for, the rows by document number, and the numbers of rows left over.

    A document that has an error now has no row. `left_over` are rows of the run for which the task has no document any more,
    and `unheard` counts the sound files that are not there, which were not needed.
    """

    docs: DocSet
    rows: Mapping[int, StoredRow]
    left_over: list[int]
    unheard: int = 0


class _Mismatch(NamedTuple):
    doc_id: int
    why: str


def joined_rows(task: Task, config: RunConfig, model_name: str, folder: Path) -> JoinedRows:
    """Join a task's documents with the rows that `folder` holds of it.

    Raises MarathonError that names the documents whose prompt, clip or options are no longer those of the run, and
    those that the run did not ask.
    """
    stored = StoredRows(read_samples(folder, task.name))
    joined, mismatches = _joined(task, docs_of(task, config, sounds_needed=False), config, model_name, stored)
    limited = config.limit is not None or config.samples is not None
    controlled = config.swap_audio or config.no_audio is not None or config.permute_choices is not None
    if mismatches and limited and not controlled:
        # the order of the file may have changed, so that the first rows are others now
        every = docs_of(task, replace(config, limit=None, samples=None), sounds_needed=False)
        joined, _ = _joined(task, every, config, model_name, stored)
        if not joined.left_over:
            kept = [doc for doc in every.docs if doc.doc_id in joined.rows]
            return joined._replace(docs=replace(every, docs=kept))
    if mismatches:
        raise MarathonError(
            f"{folder}: samples_{task.name}.jsonl: {len(mismatches)} of {len(stored)} rows do not fit the task "
            f"as it is now: {_listed(mismatches)}. Run it again: answers to requests that did not change come from "
            "the cache"
        )
    return joined


def _joined(
    task: Task, docs: DocSet, config: RunConfig, model_name: str, stored: StoredRows
) -> tuple[JoinedRows, list[_Mismatch]]:
    """Return the rows by document, and a mismatch for each document that is sound but has none."""
    rows: dict[int, int] = {}
    mismatches: list[_Mismatch] = []
    may_lack = config.limit is None and config.samples is None and _leaves_out(task, config)
    never_asked: set[int] = set()
    never_sent: set[int] = set()
    unheard: set[str] = set()
    taken: set[int] = set()
    for item, facts in _items(task, docs, config, model_name):
        if not item.requests:
            never_sent.add(item.doc.doc_id)
        if item.recorded is None:
            continue  # the document's own error makes it an error row
        lacking = {clip.path for clip in item.recorded.audios if clip not in facts}
        unheard |= lacking
        found = _row_of(item.doc, item.recorded, task, stored, facts, taken)
        if found == NOT_ASKED and may_lack and lacking:
            never_asked.add(item.doc.doc_id)  # the run left it out too, for its sound or its length
        elif isinstance(found, str):
            mismatches.append(_Mismatch(item.doc.doc_id, found))
        else:
            rows[item.doc.doc_id] = found
            taken.add(found)
    used = never_sent | {stored.doc_ids[place] for place in rows.values()}
    left_over = [doc_id for doc_id in stored.doc_ids if doc_id not in used]
    if never_asked:
        kept = [doc for doc in docs.docs if doc.doc_id not in never_asked]
        docs = replace(docs, docs=kept, n_missing=docs.n_missing + len(never_asked))
    return JoinedRows(docs, RowsByDoc(stored, rows), left_over, len(unheard)), mismatches


def _leaves_out(task: Task, config: RunConfig) -> bool:
    """Whether a run of the task leaves out rows whose sound is missing, too short or too long."""
    of_task = task.config
    bounds = (config.min_seconds, config.max_seconds, of_task.min_seconds, of_task.max_seconds)
    drops = of_task.on_missing_audio == "drop" or bool(of_task.known_missing)
    return drops or any(bound is not None for bound in bounds)


def _row_of(
    doc: Doc,
    request: Request,
    task: Task,
    stored: StoredRows,
    facts: Mapping[Audio, AudioFacts],
    taken: Collection[int],
) -> int | str:
    """Return the place of the row that answers a document, or why there is none.

    Of rows that asked the same, the document's own number goes first, then a row that is not `taken` by another document.
    """
    key = _key_of_request(request, facts)
    if all(clip in facts for clip in request.audios):
        same = stored.places.get(asked_digest(*key), [])
    else:
        names = tuple(PurePath(clip.path).name for clip in request.audios)
        same = stored.named.get(asked_digest(request.prompt_sha256, names), [])
    now = _options(task, doc)
    fitting = [place for place in same if stored.has_options(place, now)]
    if fitting:
        free = [place for place in fitting if place not in taken]
        return next((place for place in free if stored.doc_ids[place] == doc.doc_id), (free or fitting)[0])
    place = stored.numbers.get(doc.doc_id)
    there = None if place is None else stored[place]
    if place is not None and there is not None and there["prompt_sha256"] is None:
        # it had no prompt: the row had an error, or came from a predictions file
        fits = there["status"] not in ("ok", "unverified") or _same_row(there, task, doc)
        return place if fits else "another row"
    if same:
        return "other options"
    if there is None:
        return NOT_ASKED
    if there["prompt_sha256"] == key[0]:
        return "another clip"
    return "another prompt"


def _key_of_request(
    request: Request, facts: Mapping[Audio, AudioFacts]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the hash of the prompt, and of each clip: its file name where the clip cannot be heard."""
    clips = (facts[clip].sha256 if clip in facts else PurePath(clip.path).name for clip in request.audios)
    return request.prompt_sha256, tuple(clips)


def _options(task: Task, doc: Doc) -> dict[str, list[str]]:
    context = task.context(doc)
    return {"choices": list(context.choices), "letters": list(context.letters)}


def _same_row(row: StoredRow, task: Task, doc: Doc) -> bool:
    """Compare what a row of a predictions file recorded of its document."""
    target = list(doc.target) if isinstance(doc.target, tuple) else doc.target
    stored = row.get("fields", {})
    fields = {key: doc.fields.get(key) for key in task.scorer.breakdown}
    same = all(row.get(key, now) == now for key, now in _options(task, doc).items())
    return (
        same
        and row.get("target") == target
        and {key: stored[key] for key in fields if key in stored} == fields
    )


def _items(
    task: Task, docs: DocSet, config: RunConfig, model_name: str
) -> Iterator[tuple[DocRequests, Mapping[Audio, AudioFacts]]]:
    """Yield each document's requests with the facts of their clips, which are in memory for AT_ONCE documents at a time.

    The memo of the run's cache, if it is there, saves reading clips that did not change.
    """
    folder = cache_folder(replace(config, no_cache=False))
    there = folder is not None and (folder / FILE_NAME).is_file()
    with ResponseCache(folder if there else None) as cache:
        for first in range(0, len(docs.docs), AT_ONCE):
            part = docs.docs[first : first + AT_ONCE]
            items = [requests_of_doc(task, doc, config, model_name) for doc in part]
            clips = (clip for item in items if item.recorded for clip in item.recorded.audios)
            facts, _ = cache.facts(clips)
            yield from ((item, facts) for item in items)


def _listed(mismatches: Sequence[_Mismatch]) -> str:
    """Return the row numbers by reason, such as `another prompt: rows 0, 3; another clip: row 5`."""
    numbers: dict[str, list[int]] = {}
    for doc_id, why in mismatches:
        numbers.setdefault(why, []).append(doc_id)
    return "; ".join(f"{why}: {row_numbers(of)}" for why, of in numbers.items())


def row_numbers(numbers: Sequence[int]) -> str:
    """Return `row 3`, or `rows 3, 5, 8`, with the count of those that are not listed."""
    shown = ", ".join(map(str, numbers[:LISTED]))
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return f"{'row' if len(numbers) == 1 else 'rows'} {shown}{more}"
