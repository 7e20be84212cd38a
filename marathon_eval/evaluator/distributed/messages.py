"""Sends JSON messages between the ranks of one run over the key-value store that every torch launcher opens.

No process group and no collective: those wait for the slowest, and for a dead one until a timeout that must be longer
than the longest answer. Here nobody waits blindly: every process gives a sign of life each second.
https://docs.pytorch.org/docs/stable/distributed.html#torch.distributed.TCPStore
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from marathon_eval.api.model import Response
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.distributed.ranks import Ranks

if TYPE_CHECKING:
    from marathon_eval.evaluator.distributed.ranks import Ranks

LEADER = 0
#: How long a process may take to start at all, and how long a started one may be silent.
START_SECONDS = 300.0
SILENT_SECONDS = 120.0
BEAT_SECONDS = 1.0
#: How often finished answers are sent, and how often one looks for them.
SEND_SECONDS = 1.0
LOOK_SECONDS = 0.05
#: After being told to stop, what one answer may still take: then the process ends itself.
GRACE_SECONDS = 30.0
_PIECE = 4 << 20
_OVER = "over"


class Store(Protocol):
    """What is used of torch's key-value store; all of it answers at once, but for `get` of a key that is missing."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def check(self, keys: list[str], /) -> bool: ...
    def delete_key(self, key: str, /) -> bool: ...


class Unreachable(Exception):
    """The store is gone: the launcher that kept it, or the node that it ran on."""


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's DistError, and what else its bindings raise
        raise Unreachable(str(error).strip().partition("\n")[0]) from None


class Channel:
    """One process's side of the conversation. Any thread may use it. Every call raises Unreachable."""

    def __init__(self, ranks: Ranks, store: Store) -> None:
        self.ranks = ranks
        self._store = store
        self._sent: dict[int, int] = {}
        self._read: dict[int, int] = {}
        self._beats: dict[int, tuple[bytes, float]] = {}
        self._opened = time.monotonic()
        store.set(f"who/{ranks.rank}", json.dumps([_machine(), os.getpid(), socket.gethostname()]))

    @classmethod
    def connect(cls, ranks: Ranks) -> Self:
        """Meet the others at MASTER_ADDR:MASTER_PORT. Raises MarathonError where nobody is there."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but torch's stubs do not say so

        host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        # torch's launchers keep the store themselves, so that it outlives every rank
        keeps = ranks.rank == LEADER and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        try:
            if not keeps:
                _await_listener(host, int(port))
            store = TCPStore(
                host,
                int(port),
                ranks.world,
                is_master=keeps,
                timeout=timedelta(seconds=GRACE_SECONDS),
                wait_for_workers=False,
            )
            return cls(ranks, store)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise MarathonError(
                f"rank {ranks.rank} of {ranks.world} cannot meet the others at "
                f"MASTER_ADDR:MASTER_PORT={host}:{port} ({reason})"
            ) from None

    @_reaching()
    def send(self, rank: int, kind: str, **body: Any) -> None:
        """Leave a message for another process."""
        number = self._sent[rank] = self._sent.get(rank, 0) + 1
        data = json.dumps({"kind": kind, **body})  # ASCII
        name = f"{self.ranks.rank}>{rank}/{number}"
        pieces = range(0, len(data), _PIECE)
        for at in pieces:
            self._store.set(f"{name}/{at}", data[at : at + _PIECE])
        # last: whoever sees the head finds the whole message
        self._store.set(name, str(len(data)))

    @_reaching()
    def received(self, rank: int) -> dict[str, Any] | None:
        """The next message from another process, if there is one."""
        name = f"{rank}>{self.ranks.rank}/{self._read.get(rank, 0) + 1}"
        if not self._store.check([name]):
            return None
        keys = [f"{name}/{at}" for at in range(0, int(self._store.get(name)), _PIECE)]
        message: dict[str, Any] = json.loads(b"".join(self._store.get(key) for key in keys))
        for key in (name, *keys):
            self._store.delete_key(key)
        self._read[rank] = self._read.get(rank, 0) + 1
        return message

    @_reaching()
    def alive(self, rank: int) -> bool:
        """Whether another process still gives signs of life; one on this machine is looked up at once."""
        now = time.monotonic()
        if not self._store.check([f"who/{rank}"]):
            return now - self._opened < START_SECONDS
        machine, pid, _ = json.loads(self._store.get(f"who/{rank}"))
        if machine == _machine() and not _runs(pid):
            return False
        beat = self._store.get(f"beat/{rank}") if self._store.check([f"beat/{rank}"]) else b""
        seen, since = self._beats.get(rank, (None, now))
        self._beats[rank] = (beat, since if seen == beat else now)
        return now - self._beats[rank][1] < SILENT_SECONDS

    @_reaching()
    def described(self, rank: int) -> str:
        """`rank 2 (process 4711 on node7)`."""
        if not self._store.check([f"who/{rank}"]):
            return f"rank {rank} (which never started)"
        _, pid, host = json.loads(self._store.get(f"who/{rank}"))
        return f"rank {rank} (process {pid} on {host})"

    @_reaching()
    def beat(self, count: int) -> None:
        """A sign of life."""
        self._store.set(f"beat/{self.ranks.rank}", str(count))

    @_reaching()
    def end(self, code: int) -> None:
        """The leader's last word: the run is over, with this exit code."""
        self._store.set(_OVER, str(code))

    @_reaching()
    def ended(self) -> int | None:
        """The exit code, once the leader has said it."""
        return int(self._store.get(_OVER)) if self._store.check([_OVER]) else None

    @_reaching()
    def leave(self) -> None:
        """This process asks and answers nothing any more."""
        self._store.set(f"left/{self.ranks.rank}", "")

    def staying(self, rank: int) -> bool:
        """Whether another process is there and has not left."""
        with _reaching():
            left = self._store.check([f"left/{rank}"])
        return not left and self.alive(rank)


class Pulse:
    """The thread that gives signs of life; in a follower it also breaks off an answer that nobody waits for."""

    def __init__(self, link: Channel) -> None:
        self._link = link
        self._done = threading.Event()
        self._gate = threading.Lock()
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        #: Whether the leader is gone without having ended the run.
        self.lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        # an interpreter that ends while a thread is inside torch's store aborts
        self._thread.join(GRACE_SECONDS)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """The main thread is at work here: it gets a KeyboardInterrupt when the leader has ended the run, or is lost."""
        try:
            with self._gate:
                self._busy = True
            yield
        finally:
            with self._gate:
                self._busy = False

    def _run(self) -> None:
        count = 0
        while not self._done.wait(BEAT_SECONDS if count else 0):
            count += 1
            over = self._looked(count)
            with self._gate:
                if self._busy and (over or self.lost):
                    # a real signal, for it also wakes a main thread that sleeps
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    break
        else:
            return
        if not self._done.wait(GRACE_SECONDS):
            place = f"rank {self._link.ranks.rank}"
            print(f"marathon-eval: {place}: is deep in an answer, and ended", file=sys.stderr, flush=True)
            os._exit(1)

    def _looked(self, count: int) -> bool:
        """A sign of life, and a look at the leader: whether it has ended the run."""
        try:
            self._link.beat(count)
            if self._link.ranks.rank == LEADER:
                return False
            over = self._link.ended() is not None
            self.lost = not over and not self._link.alive(LEADER)
        except Unreachable:
            over, self.lost = False, True
        return over


def _await_listener(host: str, port: int) -> None:
    """Return when the store answers; torch's own waiting cannot be broken off by Ctrl-C. Raises OSError."""
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=BEAT_SECONDS).close()
            return
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(BEAT_SECONDS / 4)


def _machine() -> str:
    """What tells whether another's process number means something here: this boot, and this set of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()}/{os.getpid()}"


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs; one that only its parent has not looked after yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] not in ("Z", "X")


class Outbox:
    """Answers on their way to the leader."""

    def __init__(self, link: Channel) -> None:
        self._link = link
        self._rows: list[list[Any]] = []
        self._sent = time.monotonic()

    def add(self, place: int, response: Response) -> None:
        """Send soon."""
        self._rows.append([place, asdict(response)])
        if time.monotonic() - self._sent > SEND_SECONDS:
            self._link.send(LEADER, "answers", rows=self._rows)
            self._rows, self._sent = [], time.monotonic()

    def done(self) -> None:
        """Send the rest, and that it is all."""
        self._link.send(LEADER, "done", rows=self._rows)
