"""Every answer once: a sqlite file of responses, keyed by the rendered request and the model's fingerprint.

Nothing of the task is in the key, so that editing a metric, a filter or a target asks the model nothing. JSON, WAL, and
a commit after 32 answers or one second, whichever comes first, and at once after an answer that took longer than 0.1 s;
between commits no lock is held, so that runs share a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from marathon_eval.audio import Audio, AudioFacts
from marathon_eval.cache_file import LOCK_SECONDS, TABLE, prepare, read_only
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.model import Generation, Model, Request, Response, Usage, complete

FILE_NAME = "answers.sqlite"
COMMIT_ROWS = 32
COMMIT_SECONDS = 1.0
SLOW_ANSWER_SECONDS = 0.1
_CHUNK = 500


class Answered(NamedTuple):
    """One request with its response, and whether the cache had it."""

    request: Request
    response: Response
    cached: bool


class Keyed(NamedTuple):
    """A request's key, and the JSON that it is the hash of (beside the model's fingerprint)."""

    key: str
    described: dict[str, Any]


def default_folder() -> Path:
    """`$MARATHON_EVAL_CACHE`, else the user's cache folder."""
    named = os.environ.get("MARATHON_EVAL_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marathon_eval"


def canonical(value: Any) -> str:
    """The one JSON text of a value: what is hashed."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def storable(value: Any) -> str:
    """The value's JSON as sqlite takes it: a lone surrogate, which is no UTF-8, is written as its escape."""
    text = canonical(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text


def sha256_of(value: Any) -> str:
    # a lone surrogate, as a row's JSON may hold, is no UTF-8, and must cost its row alone
    return hashlib.sha256(canonical(value).encode(errors="surrogatepass")).hexdigest()


class ResponseCache:
    """The answers below one folder; `folder=None` keeps them in memory for this process only."""

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / FILE_NAME
        self._memory: dict[str, Any] = {}
        self._writer: sqlite3.Connection | None = None
        self._pending: dict[str, str] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        if self.path is not None:
            prepare(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- keys -------------------------------------------------------------------------------------------------

    def keyed(
        self, fingerprint_sha256: str, requests: Sequence[Request]
    ) -> tuple[dict[Request, Keyed], dict[Request, str]]:
        """The key of each request, or the reason why its audio cannot be heard."""
        facts, errors = self.facts(audio for request in requests for audio in request.audios)
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
        keys, errors = _audio_keys(audios)
        memo = self.get_many(keys.values())
        known: dict[Audio, AudioFacts] = {}
        for audio, key in keys.items():
            try:
                if key not in memo:
                    memo[key] = list(audio.facts())
                    self.put(key, memo[key])
                known[audio] = AudioFacts(*memo[key])
            except AudioError as error:
                errors[audio] = str(error)
        return known, errors

    # -- entries ----------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The stored values of those keys that exist."""
        wanted = list(dict.fromkeys(keys))
        found = {key: self._memory[key] for key in wanted if key in self._memory}
        if self.path is None or len(found) == len(wanted):
            return found
        self.commit()
        missing = [key for key in wanted if key not in found]
        try:
            found.update(self._read(missing))
        except sqlite3.DatabaseError as error:
            # damage that the opening check cannot see, such as text that is no UTF-8
            self._mend(error)
            found.update(self._read(missing))
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
                    if value is not None and whole(key, value):
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
        from marathon_eval.salvage import is_damage, salvage

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
            if not self._pending:
                return
            try:
                with self._open_writer() as writer:
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
                    self._writer = None

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            assert self.path is not None
            # used by the timer's thread too, under the lock
            self._writer = sqlite3.connect(self.path, timeout=LOCK_SECONDS, check_same_thread=False)
        return self._writer

    # -- answers ----------------------------------------------------------------------------------------------

    def answer(
        self,
        model: Model,
        requests: Sequence[Request],
        on_misses: Callable[[list[Request]], None] | None = None,
    ) -> Iterator[Answered]:
        """Every request with its response: hits first, then misses as the model finishes them.

        Equal requests are asked once. Audio that cannot be heard becomes a failed response.
        `on_misses` hears what must be asked, before the first weight loads.
        """
        fingerprint = model.fingerprint
        fingerprint_id = sha256_of(fingerprint)
        keyed, failed = self.keyed(fingerprint_id, requests)
        stored = self.get_many(entry.key for entry in keyed.values())
        for request, reason in failed.items():
            yield Answered(request, Response.failed(reason), False)
        misses = {}
        for request, entry in keyed.items():
            if entry.key in stored:
                yield Answered(request, response_from(stored[entry.key]["response"]), True)
            else:
                misses[request] = entry
        stored.clear()
        if misses:
            self.put("fingerprint/" + fingerprint_id, fingerprint)
            if on_misses is not None:
                on_misses(list(misses))
            yield from self._ask(model, misses, fingerprint_id)

    def _ask(self, model: Model, misses: Mapping[Request, Keyed], fingerprint_id: str) -> Iterator[Answered]:
        clock = time.monotonic()
        for request, response in complete(model, list(misses)):
            if cacheable(request, response):
                row = {
                    "request": misses[request].described,
                    "fingerprint": fingerprint_id,
                    "response": asdict(response),
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                took = time.monotonic() - clock
                key = misses[request].key
                self.put(key, {**row, "check": check_of(key, row)}, at_once=took > SLOW_ANSWER_SECONDS)
            yield Answered(request, response, False)
            clock = time.monotonic()


@lru_cache(maxsize=64)
def _as_dict(generation: Generation) -> dict[str, Any]:
    """A run has a handful of generation settings and thousands of requests; nobody changes the dict."""
    return asdict(generation)


def cacheable(request: Request, response: Response) -> bool:
    """Failures and refusals are asked again; a sampled answer without a seed is nobody's to repeat."""
    repeatable = request.generation.temperature == 0 or request.generation.seed is not None
    return repeatable and response.status in ("ok", "unverified")


def check_of(key: str, row: Mapping[str, Any]) -> str:
    """A checksum over an answer's key and content: the key alone proves the request, not what was said to it."""
    content = {name: value for name, value in row.items() if name != "check"}
    return f"{zlib.crc32((key + canonical(content)).encode(errors='surrogatepass')):08x}"


def whole(key: str, value: Any) -> bool:
    """Whether an entry is as it was written; one without a checksum (an early cache's) must have an answer's parts."""
    if isinstance(value, dict) and "check" in value:
        return bool(value["check"] == check_of(key, value))
    if key.startswith("audio/"):
        return isinstance(value, list) and list(map(type, value)) in ([str, float], [str, int])
    return not key.startswith("response/") or _is_answer(value)


def _is_answer(value: Any) -> bool:
    try:
        response = response_from(value["response"])
    except (TypeError, KeyError, ValueError):
        return False
    return isinstance(response.text, str) and isinstance(response.status, str)


def _loaded(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


def response_from(stored: Mapping[str, Any]) -> Response:
    fields = dict(stored)
    return Response(**{**fields, "usage": Usage(**fields["usage"])})


def _audio_keys(audios: Iterable[Audio]) -> tuple[dict[Audio, str], dict[Audio, str]]:
    """The memo's key of each stretch; a file that is not there has an error instead."""
    keys: dict[Audio, str] = {}
    errors: dict[Audio, str] = {}
    for audio in dict.fromkeys(audios):
        try:
            stat = os.stat(audio.path)
        except OSError:
            errors[audio] = f"{audio.path}: no such audio file"
            continue
        place = os.path.abspath(audio.path).encode(errors="backslashreplace").decode()
        keys[audio] = f"audio/{place}|{stat.st_size}|{stat.st_mtime_ns}|{audio.stretch}"
    return keys, errors
