"""Caches responses in a sqlite file, keyed by the rendered request and the model's fingerprint.

The key contains nothing of the task, so that a run with an edited metric, filter or target sends no request again.
Entries are JSON. The file uses a write-ahead log. The cache commits after 32 entries or one second, and immediately
after a response that took longer than 0.1 s. Between commits no lock is held, so that several runs can share a file.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.complete import complete
from marathon_eval.api.model import CachedResponse, Entry, Model, Request, Response, Through
from marathon_eval.cache.audio_memo import remembered_facts
from marathon_eval.cache.database import TABLE, read_only
from marathon_eval.cache.entry import (
    FINGERPRINT,
    as_heard,
    cacheable,
    check_of,
    is_whole,
    loaded,
    repeatable,
    response_from,
    storable,
)
from marathon_eval.cache.heard_files import HeardFiles
from marathon_eval.cache.keys import Keyed, keyed_by
from marathon_eval.cache.opening import Writer
from marathon_eval.cache.rank_files import take_in
from marathon_eval.errors import MarathonError
from marathon_eval.files import parsed_json, sha256_of

FILE_NAME = "answers.sqlite"
COMMIT_ROWS = 32
COMMIT_SECONDS = 1.0
SLOW_RESPONSE_SECONDS = 0.1
#: Keys per SELECT.
_CHUNK = 500
#: How long entries wait in memory while another process locks the file.
LOCKED_SECONDS = 600.0
#: Requests whose stored responses are in memory at the same time.
AT_ONCE = 500


class ResponseCache:
    """Stores responses in one folder; `folder=None` keeps them in the memory of this process only."""

    def __init__(self, folder: Path | None, name: str = FILE_NAME) -> None:
        self.path = None if folder is None else folder / name
        self._memory: dict[str, Any] = {}
        self._writer = None if self.path is None else Writer(self.path)
        self._pending: dict[str, str] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        #: When a commit first found the file locked by another process; None since the last one that wrote.
        self._locked_since: float | None = None
        self._heard = HeardFiles()
        #: Fingerprints of the models whose responses are pending; each commit writes them unless they are there.
        self._owners: dict[str, str] = {}
        if self.path is not None and self._writer is not None:
            self._writer.begin()
            take_in(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- keys -------------------------------------------------------------------------------------------------

    def keyed(
        self,
        fingerprint_sha256: str,
        requests: Sequence[Request],
        known: Mapping[Audio, AudioFacts] = MappingProxyType({}),
    ) -> tuple[dict[Request, Keyed], dict[Request, str]]:
        """Return the key of each request, or the reason why its audio can't be decoded.

        `known` facts are not looked up.
        """
        unknown = [audio for request in requests for audio in request.audios if audio not in known]
        found, errors = self.facts(unknown) if unknown else ({}, {})
        facts = {**known, **found} if found else known
        keyed: dict[Request, Keyed] = {}
        failed: dict[Request, str] = {}
        for request in requests:
            reasons = [errors[audio] for audio in request.audios if audio in errors] if errors else []
            if reasons:
                failed[request] = reasons[0]
                continue
            keyed[request] = keyed_by(fingerprint_sha256, request, facts)
        return keyed, failed

    def facts(self, audios: Iterable[Audio]) -> tuple[dict[Audio, AudioFacts], dict[Audio, str]]:
        """Return hash and seconds of each clip, and the reason for each clip that can't be decoded.

        Facts are cached by the file's identity: see audio_memo.py.
        """
        return remembered_facts(self, audios, self._heard)

    def prime(self, entries: Mapping[str, Any]) -> None:
        """Add entries that another process sent, such as audio hashes, to memory; nothing is written to disk."""
        self._memory.update(entries)

    def in_memory(self) -> dict[str, Any]:
        """Return the entries in memory: all those of a cache without a folder."""
        return dict(self._memory)

    # -- entries ----------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the stored values of those keys that exist."""
        unique = list(dict.fromkeys(keys))
        values = {key: self._memory[key] for key in unique if key in self._memory}
        if self.path is None or len(values) == len(unique):
            return values
        missing = [key for key in unique if key not in values]
        if not (self._pending.keys() | self._owners.keys()).isdisjoint(missing):
            self.commit()
            values.update((key, parsed_json(self._pending[key])) for key in missing if key in self._pending)
        if self._writer is not None:
            self._writer.look()
        try:
            values.update(self._read(missing))
        except sqlite3.DatabaseError as error:
            # damage that the check on opening can't see, such as text that is not UTF-8
            self._repair(error)
            try:
                values.update(self._read(missing))
            except sqlite3.DatabaseError as again:
                raise MarathonError(f"{self.path}: cannot read the cache ({again})") from None
        return values

    def _read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the stored values that are intact; a request whose entry is damaged is sent again."""
        assert self.path is not None
        values: dict[str, Any] = {}
        damaged = 0
        with closing(read_only(self.path)) as connection:
            for first in range(0, len(keys), _CHUNK):
                chunk = keys[first : first + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = connection.execute(f"SELECT key, value FROM {TABLE} WHERE key IN ({marks})", chunk)
                for key, text in rows:
                    value = loaded(text)
                    if value is not None and is_whole(key, value, text):
                        values[key] = value
                    else:
                        damaged += 1
        if damaged:
            print(
                f"marathon-eval: warning: {self.path}: {damaged} damaged entries are not used "
                "(`marathon-eval cache verify` names them)",
                file=sys.stderr,
            )
        return values

    def _repair(self, error: sqlite3.Error, what: str = "read") -> None:
        """Rebuild a damaged file from its intact entries. Raises MarathonError where the error has another cause."""
        from marathon_eval.cache.salvage import is_damage, salvage

        assert self.path is not None
        if not is_damage(error):
            raise MarathonError(f"{self.path}: cannot {what} the cache ({error})") from None
        with self._lock:
            if self._writer is not None:
                self._writer.close()
            salvage(self.path)
            if self._writer is not None:
                self._writer.begin()

    def knows(self, fingerprint: Mapping[str, Any]) -> bool:
        """Return whether the cache holds responses of this model with exactly these settings."""
        return bool(self.get_many([FINGERPRINT + sha256_of(fingerprint)]))

    def put(self, key: str, value: Any, at_once: bool = False, model: Entry | None = None) -> None:
        """Store a JSON value; it is committed within COMMIT_SECONDS, or now with `at_once`.

        `model` is the fingerprint's entry of the model that gave the response. Each commit writes it again if it is
        missing, in the same transaction, so that `cache prune` in another process cannot separate the two.
        """
        if self.path is None:
            self._memory.update({key: value, **({model.key: model.value} if model else {})})
            return
        with self._lock:
            self._pending[key] = storable(value)
            if model is not None and model.key not in self._owners:
                self._owners[model.key] = storable(model.value)
            if at_once or len(self._pending) >= COMMIT_ROWS:
                self.commit()
            elif self._timer is None:
                self._timer = threading.Timer(COMMIT_SECONDS, self._commit_in_time)
                self._timer.daemon = True
                self._timer.start()

    def commit(self, last: bool = False) -> None:
        """Write pending entries to disk, in one transaction. Raises MarathonError when writing fails.

        While another process locks the file they stay pending, for at most LOCKED_SECONDS and not at the `last` commit.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._pending or self._writer is None:
                return
            try:
                self._write_pending(self._writer)
            except sqlite3.Error as error:
                if not last and self._waits(error):
                    return
                self._repair(error, "write")
                try:
                    self._write_pending(self._writer)
                except sqlite3.Error as again:
                    raise MarathonError(f"{self.path}: cannot write the cache ({again})") from None
            self._pending.clear()
            self._owners.clear()
            self._locked_since = None

    def _waits(self, error: sqlite3.Error) -> bool:
        """Return whether another process locks the file, and not for too long yet."""
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            return False
        if self._locked_since is None:
            self._locked_since = time.monotonic()
            print(
                f"marathon-eval: warning: {self.path} is locked by another process (`cache prune` locks a large one for long); "
                "answers wait in memory until it is free",
                file=sys.stderr,
            )
        return time.monotonic() - self._locked_since < LOCKED_SECONDS

    def _write_pending(self, writer: Writer) -> None:
        with writer.locked() as connection:
            connection.executemany(f"INSERT OR IGNORE INTO {TABLE} VALUES (?, ?)", self._owners.items())
            connection.executemany(f"REPLACE INTO {TABLE} VALUES (?, ?)", self._pending.items())

    def _commit_in_time(self) -> None:
        # entries that can't be written stay pending: the next commit, in the thread of the run, raises the error
        with suppress(MarathonError):
            self.commit()

    def close(self) -> None:
        """Write pending entries and close the file. Raises MarathonError when writing fails."""
        with self._lock:
            try:
                self.commit(last=True)
            finally:
                if self._writer is not None:
                    self._writer.end()
                    self._writer.look(make=False)

    def known(self, model: Model, requests: Sequence[Request]) -> dict[Request, Entry]:
        """Return the entries of those requests for which this model has a stored response."""
        keyed, _ = self.keyed(sha256_of(model.fingerprint), list(dict.fromkeys(requests)))
        stored = self.get_many(entry.key for entry in keyed.values())
        return {
            request: Entry(entry.key, stored[entry.key])
            for request, entry in keyed.items()
            if entry.key in stored
        }

    # -- responses --------------------------------------------------------------------------------------------

    def answer(
        self,
        model: Model,
        requests: Sequence[Request],
        on_misses: Callable[[list[Request]], None] | None = None,
        through: Through = complete,
        known: Mapping[Audio, AudioFacts] = MappingProxyType({}),
    ) -> Iterator[CachedResponse]:
        """Yield every request with its response: cache hits first, then misses as the model finishes them.

        Requests of one key are sent once. Audio that can't be decoded becomes a failed response. `on_misses` gets the
        requests that the cache lacks before the model loads its weights, and `through` sends them to the model.
        `known` facts of audio are not looked up again.
        """
        fingerprint = model.fingerprint
        fingerprint_id = sha256_of(fingerprint)
        owner = Entry(FINGERPRINT + fingerprint_id, fingerprint)
        misses: dict[Request, Keyed] = {}
        #: Requests that differ from an earlier one in nothing that the model gets: copies of a sound file, say.
        first_of: dict[str, Request] = {}
        copies: dict[Request, list[Request]] = {}
        unique = list(dict.fromkeys(requests))
        for first in range(0, len(unique), AT_ONCE):
            keyed, failed = self.keyed(fingerprint_id, unique[first : first + AT_ONCE], known)
            stored = self.get_many([owner.key, *(entry.key for entry in keyed.values())])
            if stored and owner.key not in stored:  # earlier versions could prune the fingerprint entry
                self.put(owner.key, owner.value)
            for request, reason in failed.items():
                yield CachedResponse(request, Response.failed(reason), False)
            for request, entry in keyed.items():
                if entry.key in stored:
                    yield CachedResponse(request, response_from(stored[entry.key]["response"]), True)
                elif not repeatable(request) or (same := first_of.setdefault(entry.key, request)) is request:
                    misses[request] = entry
                else:
                    copies.setdefault(same, []).append(request)
            del keyed, stored  # before those of the next requests are read
        if misses:
            if on_misses is not None:
                on_misses(list(misses))
            for item in self._ask(model, misses, owner, through):
                yield item
                kept = cacheable(item.request, item.response)
                yield from (item._replace(request=copy, cached=kept) for copy in copies.pop(item.request, ()))

    def _ask(
        self, model: Model, misses: dict[Request, Keyed], owner: Entry, through: Through
    ) -> Iterator[CachedResponse]:
        clock = time.monotonic()
        for request, response in through(model, list(misses)):
            # freed once it has a response, so that memory does not grow during a long run
            key, described, seconds = misses.pop(request)
            response = as_heard(request, response, seconds)
            if response.status != "error":
                fault = self._heard.change(request.audios, described["audio"], self.facts)
                response = response if fault is None else Response.failed(fault)
            if cacheable(request, response):
                row = {
                    "request": described,
                    "fingerprint": owner.key.removeprefix(FINGERPRINT),
                    "response": asdict(response),
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                took = time.monotonic() - clock
                checked = {**row, "check": check_of(key, row)}
                self.put(key, checked, at_once=took > SLOW_RESPONSE_SECONDS, model=owner)
            yield CachedResponse(request, response, False)
            clock = time.monotonic()
