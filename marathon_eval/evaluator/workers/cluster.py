"""Starts Ray on this machine, or connects to a cluster, and calls its actors. The only file that imports Ray."""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.workers.actor import Ended
from marathon_eval.evaluator.workers.worker import Unit

#: Read by Ray when it is imported: on loopback, without usage report, quiet about devices that it leaves alone. By default
#: Ray runs workers at niceness 15, so that a model would get only the time that no other program of the machine wants.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
}
#: How Ray says why a process ended; advice of several lines follows.
_EXIT = re.compile(r"Worker exit type: (\w+ Worker exit detail: [^.\n]*)")
LOOK_SECONDS = 1.0
#: Bytes of Ray's object store on one machine, which it would make a third of the memory.
STORE_BYTES = 256 << 20


class WorkerPlan(NamedTuple):
    """Holds the flags: the number of workers (None: as many as there is room for), and where and how they run."""

    workers: int | None
    address: str | None = None
    gpus_per_worker: float | None = None
    ship_audio: bool = False


class Cluster:
    """Wraps what a pool uses of Ray."""

    def __init__(self, plan: WorkerPlan, model_args: Mapping[str, Any]) -> None:
        self._plan = plan
        self._on_cpu = model_args.get("device") == "cpu"
        self._gpus = 0.0
        self._room, self._looked = 0, float("-inf")
        #: Machines may join a cluster; one machine stays as it is.
        self.may_grow = plan.address is not None

    def start(self) -> None:
        """Connect, or start Ray on this machine. Raises MarathonError where that fails or a GPU is missing."""
        if self._plan.address is None:
            for name, value in {**ENVIRONMENT, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
                os.environ.setdefault(name, value)
        import ray

        # the judge's pool follows the model's; Ray itself ends with this process
        if not ray.is_initialized():
            _connect(self._plan)
        available = ray.cluster_resources().get("GPU", 0.0)
        wanted = self._plan.gpus_per_worker
        self._gpus = wanted if wanted is not None else float(available > 0 and not self._on_cpu)
        if self._gpus and not self.may_grow and available < self._gpus * (self._plan.workers or 1):
            raise MarathonError(
                f"--workers {self._plan.workers or 'auto'}: {self._gpus:g} GPUs for each worker, and this machine has "
                f"{available:g}; --gpus_per_worker 0.5 lets two workers share one, --device cpu needs none"
            )

    def room(self) -> int:
        """Return how many workers the machines that are there can hold, at most as many as the plan asks for.

        Looks for machines every LOOK_SECONDS.
        """
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._room, self._looked = self._counted_room(), time.monotonic()
        return self._room

    def _counted_room(self) -> int:
        import ray

        kind, each = ("GPU", self._gpus) if self._gpus else ("CPU", 1.0)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(int(node.get(kind, 0.0) / each + 1e-9) for node in nodes)
        return room if self._plan.workers is None else min(room, self._plan.workers)

    def lack(self) -> str:
        """Say that there is no room for a worker."""
        each = f"{self._gpus:g} GPUs" if self._gpus else "one CPU"
        return f"no machine has {each} free for a worker; answers so far are kept: the same command goes on"

    def begin(self, actor_class: type) -> Any:
        """Create an actor. One that dies is not restarted by Ray, so that the pool knows what it was asked."""
        import ray

        remote: Any = ray.remote(actor_class)
        return remote.options(num_gpus=self._gpus, num_cpus=0 if self._gpus else 1, max_restarts=0).remote()

    def finished(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """Return those calls that have ended, after at most so many seconds."""
        import ray

        if not calls:
            threading.Event().wait(seconds)
            return []
        done: list[Any] = ray.wait(list(calls), num_returns=len(calls), timeout=0)[0]
        return done or ray.wait(list(calls), num_returns=1, timeout=seconds)[0]

    def result(self, call: Any) -> Any:
        """Return what the call returned, or Ended where its worker or its machine is gone. Raises what it raised."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            return ray.get(call)
        except RayTaskError:
            raise
        except RayError as error:
            found = _EXIT.search(str(error))
            return Ended(found[1] if found else str(error).strip().splitlines()[0][:200])

    def end(self, actor: Any) -> None:
        """Kill an actor, which frees its GPU."""
        import ray
        from ray.exceptions import RayError

        with suppress(RayError):  # it is gone already, or the cluster is
            ray.kill(actor)

    def files_of(self, unit: Unit) -> dict[str, bytes]:
        """Read the unit's audio files for a machine without them, if the plan says so; a missing one is left out."""
        found: dict[str, bytes] = {}
        if self._plan.ship_audio:
            for path in {audio.path for request in unit.requests for audio in request.audios}:
                with suppress(OSError):  # the worker reports it as this process would
                    found[path] = Path(path).read_bytes()
        return found


def _connect(plan: WorkerPlan) -> None:
    """Call ray.init, and keep this program's handler of SIGTERM, which Ray would replace by one that exits at once."""
    import ray

    settings: dict[str, Any] = {"address": plan.address}
    if plan.address is None:
        cpus = max(plan.workers or 0, os.cpu_count() or 1)
        # "local": without an address, Ray would connect to a cluster that was started on this machine
        settings = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        settings["object_store_memory"] = STORE_BYTES
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"--ray_address {plan.address}" if plan.address else "--workers"
        raise MarathonError(f"{where}: Ray cannot be used ({str(error).strip().splitlines()[0]})") from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)
