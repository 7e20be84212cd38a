"""Every answer once: a sqlite file of responses, keyed by the rendered request and the model's fingerprint.

Nothing of the task is in the key, so that editing a metric, a filter or a target asks the model nothing. JSON, WAL, and
a commit after 32 answers or one second, whichever comes first, and at once after an answer that took longer than 0.1 s;
between commits no lock is held, so that runs share a file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from marathon_eval.api.audio import Audio, AudioFacts, memo_keys
from marathon_eval.api.model import (
    CachedResponse,
    Entry,
    Generation,
    Model,
    Request,
    Response,
    Through,
    complete,
)
from marathon_eval.cache.database import TABLE, read_only
from marathon_eval.cache.entry import cacheable, check_of, is_whole, response_from, storable
from marathon_eval.cache.opening import Writer, prepare
from marathon_eval.cache.rank_files import take_in
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.files import sha256_of

FILE_NAME = "answers.sqlite"
COMMIT_ROWS = 32
#: Clips decoded side by side for their hash.
HASHED_AT_ONCE = 8
COMMIT_SECONDS = 1.0
SLOW_ANSWER_SECONDS = 0.1
_CHUNK = 500
#: Requests whose stored answers are held at once.
AT_ONCE = 1000


class Keyed(NamedTuple):
    """A request's key, and the JSON that it is the hash of (beside the model's fingerprint)."""

    key: str
    described: dict[str, Any]


class ResponseCache:
    """The answers below one folder; `folder=None` keeps them in memory for this process only."""

    def __init__(self, folder: Path | None, name: str = FILE_NAME) -> None:
        self.path = None if folder is None else folder / name
        self._memory: dict[str, Any] = {}
        self._writer = None if self.path is None else Writer(self.path)
        self._pending: dict[str, str] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        if self.path is not None:
            prepare(self.path)
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
        """The key of each request, or the reason why its audio cannot be heard; `known` need not be looked up again."""
        audios = [audio for request in requests for audio in request.audios]
        facts, errors = self.facts(audio for audio in audios if audio not in known)
        facts.update((audio, known[audio]) for audio in audios if audio in known)
        keyed: dict[Request, Keyed] = {}
        failed: dict[Request, str] = {}
        for request in requests:
            reasons = [errors[audio] for audio in request.audios if audio in errors]
            if reasons:
                failed[request] = reasons[0]
                continue
            described = {
                "prompt": request.prompt,
                "system": request.system,
                "audio": [facts[audio].sha256 for audio in request.audios],
                "generation": _as_dict(request.generation),
            }
            keyed[request] = Keyed("response/" + sha256_of([fingerprint_sha256, described]), described)
        return keyed, failed

    def facts(self, audios: Iterable[Audio]) -> tuple[dict[Audio, AudioFacts], dict[Audio, str]]:
        """Hash and seconds of each stretch, memoised by (path, size, mtime, stretch); or why it cannot be heard."""
        keys, errors = memo_keys(audios)
        memo = self.get_many(keys.values())
        unknown = {key: audio for audio, key in keys.items() if key not in memo}
        told: dict[str, str] = {}
        for key, found in zip(unknown, _hashed(list(unknown.values())), strict=True):
            if isinstance(found, AudioFacts):
                memo[key] = list(found)
                self.put(key, memo[key])
            else:
                told[key] = found
        errors.update({audio: told[key] for audio, key in keys.items() if key in told})
        known = {audio: AudioFacts(*memo[key]) for audio, key in keys.items() if key in memo}
        return known, errors

    def prime(self, known: Mapping[str, Any]) -> None:
        """Take another process's word for what it has hashed; it is not written."""
        self._memory.update(known)

    # -- entries ----------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The stored values of those keys that exist."""
        wanted = list(dict.fromkeys(keys))
        found = {key: self._memory[key] for key in wanted if key in self._memory}
        if self.path is None or len(found) == len(wanted):
            return found
        missing = [key for key in wanted if key not in found]
        if not self._pending.keys().isdisjoint(missing):
            self.commit()
        try:
            found.update(self._read(missing))
        except sqlite3.DatabaseError as error:
            # damage that the opening check cannot see, such as text that is no UTF-8
            self._mend(error)
            try:
                found.update(self._read(missing))
            except sqlite3.DatabaseError as again:
                raise MarathonError(f"{self.path}: cannot read the cache ({again})") from None
        return found

    def _read(self, keys: Sequence[str]) -> dict[str, Any]:
        """The stored values that are whole; a damaged one is no answer, and is asked again."""
        assert self.path is not None
        found: dict[str, Any] = {}
        damaged = 0
        with closing(read_only(self.path)) as connection:
            for first in range(0, len(keys), _CHUNK):
                chunk = keys[first : first + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = connection.execute(f"SELECT key, value FROM {TABLE} WHERE key IN ({marks})", chunk)
                for key, text in rows:
                    value = _loaded(text)
                    if value is not None and is_whole(key, value):
                        found[key] = value
                    else:
                        damaged += 1
        if damaged:
            print(
                f"marathon-eval: warning: {self.path}: {damaged} damaged entries are not used "
                "(`marathon-eval cache verify` names them)",
                file=sys.stderr,
            )
        return found

    def _mend(self, error: sqlite3.DatabaseError) -> None:
        """Go on with what is left of a damaged file. Raises MarathonError where the file is not what is wrong."""
        from marathon_eval.cache.salvage import is_damage, salvage

        assert self.path is not None
        if not is_damage(error):
            raise MarathonError(f"{self.path}: cannot read the cache ({error})") from None
        with self._lock:
            self.close()
            salvage(self.path)

    def knows(self, fingerprint: Mapping[str, Any]) -> bool:
        """Whether this model, with exactly these settings, has answered anything."""
        return bool(self.get_many(["fingerprint/" + sha256_of(fingerprint)]))

    def put(self, key: str, value: Any, at_once: bool = False) -> None:
        """Store; committed within COMMIT_SECONDS, or now."""
        if self.path is None:
            self._memory[key] = value
            return
        with self._lock:
            self._pending[key] = storable(value)
            if at_once or len(self._pending) >= COMMIT_ROWS:
                self.commit()
            elif self._timer is None:
                self._timer = threading.Timer(COMMIT_SECONDS, self._commit_in_time)
                self._timer.daemon = True
                self._timer.start()

    def commit(self) -> None:
        """Write what is pending to disk, in one transaction. Raises MarathonError when the disk refuses."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._pending or self._writer is None:
                return
            try:
                with self._writer.locked() as writer:
                    writer.executemany(f"REPLACE INTO {TABLE} VALUES (?, ?)", self._pending.items())
            except sqlite3.Error as error:
                raise MarathonError(f"{self.path}: cannot write the cache ({error})") from None
            self._pending.clear()

    def _commit_in_time(self) -> None:
        # rows that the disk refuses stay pending: the next commit, in the run's own thread, says so
        with suppress(MarathonError):
            self.commit()

    def close(self) -> None:
        """Write what is pending, and let go of the file. Raises MarathonError when the disk refuses."""
        with self._lock:
            try:
                self.commit()
            finally:
                if self._writer is not None:
                    self._writer.close()

    def known(self, model: Model, requests: Sequence[Request]) -> dict[Request, Entry]:
        """The entries of those requests that this model has answered."""
        keyed, _ = self.keyed(sha256_of(model.fingerprint), list(dict.fromkeys(requests)))
        stored = self.get_many(entry.key for entry in keyed.values())
        return {
            request: Entry(entry.key, stored[entry.key])
            for request, entry in keyed.items()
            if entry.key in stored
        }

    # -- answers ----------------------------------------------------------------------------------------------

    def answer(
        self,
        model: Model,
        requests: Sequence[Request],
        on_misses: Callable[[list[Request]], None] | None = None,
        through: Through = complete,
        known: Mapping[Audio, AudioFacts] = MappingProxyType({}),
    ) -> Iterator[CachedResponse]:
        """Every request with its response: hits first, then misses as the model finishes them.

        Equal requests are asked once. Audio that cannot be heard becomes a failed response.
        `on_misses` hears what must be asked, before the first weight loads; `through` asks it. `known` need not be
        looked up again.
        """
        fingerprint = model.fingerprint
        fingerprint_id = sha256_of(fingerprint)
        misses: dict[Request, Keyed] = {}
        wanted = list(dict.fromkeys(requests))
        for first in range(0, len(wanted), AT_ONCE):
            keyed, failed = self.keyed(fingerprint_id, wanted[first : first + AT_ONCE], known)
            stored = self.get_many(entry.key for entry in keyed.values())
            for request, reason in failed.items():
                yield CachedResponse(request, Response.failed(reason), False)
            for request, entry in keyed.items():
                if entry.key in stored:
                    yield CachedResponse(request, response_from(stored[entry.key]["response"]), True)
                else:
                    misses[request] = entry
        if misses:
            if on_misses is not None:
                on_misses(list(misses))
            self.put("fingerprint/" + fingerprint_id, fingerprint)
            yield from self._ask(model, misses, fingerprint_id, through)

    def _ask(
        self, model: Model, misses: dict[Request, Keyed], fingerprint_id: str, through: Through
    ) -> Iterator[CachedResponse]:
        clock = time.monotonic()
        for request, response in through(model, list(misses)):
            # given up as it is answered, so that a long run holds no more at its end than at its beginning
            key, described = misses.pop(request)
            if cacheable(request, response):
                row = {
                    "request": described,
                    "fingerprint": fingerprint_id,
                    "response": asdict(response),
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                took = time.monotonic() - clock
                self.put(key, {**row, "check": check_of(key, row)}, at_once=took > SLOW_ANSWER_SECONDS)
            yield CachedResponse(request, response, False)
            clock = time.monotonic()


def _hashed(audios: Sequence[Audio]) -> Iterator[AudioFacts | str]:
    """Each stretch's facts, or why it cannot be heard, in order: several at a time, since decoding leaves Python's lock."""
    from concurrent.futures import ThreadPoolExecutor

    def facts(audio: Audio) -> AudioFacts | str:
        try:
            return audio.facts()
        except AudioError as error:
            return str(error)

    if len(audios) < 2:
        yield from map(facts, audios)
        return
    pool = ThreadPoolExecutor(min(HASHED_AT_ONCE, os.cpu_count() or 1), thread_name_prefix="hash")
    try:
        yield from pool.map(facts, audios)
    finally:
        # after Ctrl-C nobody waits for a thousand clips
        pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=64)
def _as_dict(generation: Generation) -> dict[str, Any]:
    """A run has a handful of generation settings and thousands of requests; nobody changes the dict."""
    return asdict(generation)


def _loaded(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
