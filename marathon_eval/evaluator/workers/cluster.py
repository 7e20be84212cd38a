"""Starts Ray on this machine, or connects to a cluster, and counts the workers that it has room for. The only file that imports Ray."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from marathon_eval.errors import MarathonError

#: Read by Ray when it is imported: on loopback, without usage report, quiet about devices that it leaves alone. By default
#: Ray runs workers at niceness 15, so that a model would get only the time that no other program of the machine wants.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
}
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
    """Holds Ray (`ray`, the module), connected, and how much of a machine each worker takes (`resources`).

    Raises MarathonError where Ray cannot be reached or started, or a GPU is missing.
    """

    def __init__(self, plan: WorkerPlan, model_args: Mapping[str, Any]) -> None:
        self._plan = plan
        self.ray = _connected(plan)
        available = self.ray.cluster_resources().get("GPU", 0.0)
        wanted, on_cpu = plan.gpus_per_worker, model_args.get("device") == "cpu"
        self._gpus = wanted if wanted is not None else float(available > 0 and not on_cpu)
        self.resources = {"num_gpus": self._gpus, "num_cpus": 0 if self._gpus else 1}
        self._room, self._looked = 0, float("-inf")
        if self._gpus and plan.address is None and available < self._gpus * (plan.workers or 1):
            raise MarathonError(
                f"--workers {plan.workers or 'auto'}: {self._gpus:g} GPUs for each worker, and this machine has "
                f"{available:g}; --gpus_per_worker 0.5 lets two workers share one, --device cpu needs none"
            )

    def room(self) -> int:
        """Return how many workers the machines that are there can hold, at most as many as the plan asks for.

        Looks for machines every LOOK_SECONDS.
        """
        if time.monotonic() - self._looked > LOOK_SECONDS:
            kind, each = ("GPU", self._gpus) if self._gpus else ("CPU", 1.0)
            nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            room = sum(int(node.get(kind, 0.0) / each + 1e-9) for node in nodes)
            self._room = room if self._plan.workers is None else min(room, self._plan.workers)
            self._looked = time.monotonic()
        return self._room

    def lack(self) -> str:
        """Say that there is no room for a worker."""
        each = f"{self._gpus:g} GPUs" if self._gpus else "one CPU"
        return f"no machine has {each} free for a worker; answers so far are kept: the same command goes on"


def _connected(plan: WorkerPlan) -> Any:
    """Import Ray, call ray.init, and keep this program's handler of SIGTERM, which Ray would replace by one that exits at once."""
    settings: dict[str, Any] = {"address": plan.address}
    if plan.address is None:
        for name, value in {**ENVIRONMENT, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
            os.environ.setdefault(name, value)
        cpus = max(plan.workers or 0, os.cpu_count() or 1)
        # "local": without an address, Ray would connect to a cluster that was started on this machine
        settings = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        settings["object_store_memory"] = STORE_BYTES
    import ray

    # the judge's pool follows the model's; Ray itself ends with this process
    if ray.is_initialized():
        return ray
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
    return ray
