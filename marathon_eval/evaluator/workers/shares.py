"""Gives each process that `accelerate launch` started a fixed share of the requests, by accelerate's own primitives.

Process 0 does what a run of one process does, and sends the requests that the cache lacks; every process answers its share into
a cache file of its own, and process 0 gathers the answers. Nobody takes over from a process that dies: torch's launchers end
the others then, and the same command goes on from the files. https://huggingface.co/docs/accelerate/package_reference/utilities
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Model, Request
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.rank_files import rank_file, take_in
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.requests import seconds_of
from marathon_eval.evaluator.workers.worker import CellAnswer, Given, Job, Unit, Worker, cache_of

if TYPE_CHECKING:
    from marathon_eval.evaluator.workers.launched import Ranks


@dataclass(frozen=True)
class Shares:
    """Holds what process 0 sends to all: the job, each process's share, and the folder of the cache."""

    job: Job
    units: Sequence[Unit]
    folder: Path | None


class Launch:
    """Stands for the processes of one launch; each of them makes one."""

    def __init__(self, ranks: Ranks) -> None:
        from accelerate import PartialState

        self.ranks = ranks
        # on the CPU, since objects are exchanged; tensors' limit of half an hour would end those who wait for long answers
        self._state = PartialState(cpu=True, timeout=timedelta(days=30))
        self._worker: Worker | None = None
        self._in_step = True
        #: The exit code, when all processes have it.
        self._code: int | None = None
        # registered before those of other modules, and so called after them
        atexit.register(self._exit)

    def send(
        self, job: Job, models: Sequence[Model], lacking: Mapping[Request, Sequence[int]]
    ) -> Iterator[Given]:
        """Send the shares, and yield the answers of all processes, this one's first. Raises MarathonError."""
        cache = cache_of(models[0])
        facts, _ = cache.facts(audio for request in lacking for audio in request.audios)
        parts = shared_out(
            list(lacking), lambda one: seconds_of(one, facts) * len(lacking[one]), self.ranks.world
        )
        units = [Unit.of(models, lacking, part) for part in parts]
        shares = Shares(job, units, cache.path and cache.path.absolute().parent)
        self._in_step = False
        self._exchange(shares)
        for answer in self._answers(shares):
            yield answer.of(parts[0])
        gathered = self._exchange([])
        self._in_step = True
        for rank, answers in enumerate(gathered):
            if isinstance(answers, str):
                raise MarathonError(f"process {rank}: {answers}")
            yield from (answer.of(parts[rank]) for answer in answers)
        if cache.path is not None:
            cache.commit()
            take_in(cache.path)

    def follow(self) -> int:
        """Answer this process's shares until process 0 sends the exit code, and return it. Raises MarathonError."""
        while not isinstance(sent := self._exchange(None)[0], int):
            try:
                answers: list[CellAnswer] | str = list(self._answers(sent))
            except MarathonError as error:
                answers = str(error)
            self._exchange(answers)
        self._leave(sent)
        return sent

    def end(self, code: int) -> None:
        """Send the exit code; not while the others answer: they notice that this process has ended."""
        if self._in_step:
            self._exchange(code)
            self._leave(code)

    def _answers(self, shares: Shares) -> Iterator[CellAnswer]:
        """Answer this process's share, into its own cache file. Raises MarathonError as the model does."""
        unit = shares.units[self.ranks.rank]
        if not unit.requests:
            return
        take_device(shares.job.model_args.get("device"), self.ranks)
        with ResponseCache(shares.folder, rank_file(FILE_NAME, self.ranks.rank)) as cache:
            self._worker = self._worker or Worker(shares.job)
            yield from self._worker.answers(unit, cache)
            self._worker.close()

    def _exchange(self, told: Any) -> list[Any]:
        """Return what each process tells the others, in the order of ranks; waits for all. Raises MarathonError where one has ended."""
        from accelerate.utils import gather_object

        try:
            gathered: list[Any] = gather_object([told])
        except RuntimeError as error:  # torch's, when a process of the group has ended
            raise MarathonError(
                f"another process of this launch has ended ({str(error).strip().splitlines()[0][:120]}); finished answers are "
                "kept: the same command goes on from here"
            ) from None
        return gathered

    def _leave(self, code: int) -> None:
        """End the group, when all have the exit code."""
        # the last exchange fails where another process has it already and is gone; the group must end all the same
        with suppress(MarathonError):
            self._exchange(None)
        self._state.destroy_process_group()
        self._code = code

    def _exit(self) -> None:
        """Exit without C++'s destructors: now and then a thread of the ended group is still there, and they abort."""
        if self._code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._code)


def shared_out(
    requests: Sequence[Request], seconds_of: Callable[[Request], float], world: int
) -> list[list[Request]]:
    """Return each process's requests: whole clips, so that all get about the same seconds of audio.

    The longest clip goes first, and each to whoever has least (Graham 1969, https://doi.org/10.1137/0117039: at worst
    4/3 of the best split). Inside a share the requests keep their order.
    """
    clips: dict[object, list[int]] = {}
    for place, request in enumerate(requests):
        # without audio nothing is shared between requests
        clips.setdefault(request.audios or place, []).append(place)
    # a question costs something even where its clip is short or missing
    costs = {clip: sum(1.0 + seconds_of(requests[at]) for at in places) for clip, places in clips.items()}
    loads, shares = [0.0] * world, [list[int]() for _ in range(world)]
    for clip in sorted(clips, key=lambda clip: -costs[clip]):
        least = loads.index(min(loads))
        loads[least] += costs[clip]
        shares[least] += clips[clip]
    return [[requests[at] for at in sorted(places)] for places in shares]


def refuse_device_arguments(model_args: Mapping[str, Any], ranks: Ranks) -> None:
    """Raise MarathonError for arguments that give every process the same device; a stage's own count too."""
    for name, value in model_args.items():
        # listener_device_map is the listener's device_map, and so is the one within listener_args
        if name.endswith("device_map") and value is not None:
            raise MarathonError(
                f"--model_args: {name}={value} lays one model over all GPUs, and {ranks.world} processes were launched: "
                f"start one process for it, or leave {name} out, and each process takes a GPU of its own"
            )
        if name.endswith("device") and ":" in str(value):
            flag = "--device: " if name == "device" else f"--model_args: {name}="
            raise MarathonError(
                f"{flag}{value}: is one device, and {ranks.world} processes were launched: "
                "leave it out, and each process takes a GPU of its own"
            )
        if isinstance(value, Mapping):
            refuse_device_arguments(value, ranks)


def take_device(device: object, ranks: Ranks) -> None:
    """Make `cuda` mean this process's own GPU. Raises MarathonError where there are fewer GPUs than processes."""
    import torch

    # a single GPU is all that the launcher lets this process see, or the only one there is
    if device == "cpu" or not torch.cuda.is_available() or (count := torch.cuda.device_count()) == 1:
        return
    if ranks.local >= count:
        raise MarathonError(
            f"rank {ranks.rank}: is process {ranks.local + 1} of its node, which has {count} GPUs: launch at most so many"
        )
    torch.cuda.set_device(ranks.local)
