"""Gives each process that `accelerate launch` started a fixed share of the requests, by accelerate's own primitives.

Process 0 sends the requests that the cache lacks, every process answers its share into a cache file of its own, and process
0 gathers the answers and scores them. Nobody takes over from a process that dies: torch's launchers end the others then,
and the same command goes on from the files. https://huggingface.co/docs/accelerate/package_reference/utilities
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Model, Request, Response, Through
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.rank_files import rank_file, take_in
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import Progress, cache_folder, seconds_of
from marathon_eval.evaluator.workers.asking import lacking_cells, take_over
from marathon_eval.evaluator.workers.worker import CellAnswer, Job, Unit, Worker, memo_of, weights_memo
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.evaluator.sweep import AskCells
    from marathon_eval.evaluator.sweep_cells import Grid, SweepCell
    from marathon_eval.evaluator.workers.launched import Ranks


def shared_out(
    requests: Sequence[Request], seconds_of: Callable[[Request], float], ranks: Sequence[int]
) -> dict[int, list[Request]]:
    """Give every request to one of `ranks`, with the others of its clip, so that all get about the same seconds of audio.

    The longest clip goes first, and each to whoever has least (Graham 1969, https://doi.org/10.1137/0117039: at worst
    4/3 of the best split). Inside a share the requests keep their order.
    """
    clips: dict[object, list[int]] = {}
    for place, request in enumerate(requests):
        # without audio nothing is shared between requests
        clips.setdefault(request.audios or place, []).append(place)
    # a question costs something even where its clip is short or missing
    costs = {clip: sum(1.0 + seconds_of(requests[at]) for at in places) for clip, places in clips.items()}
    loads = dict.fromkeys(ranks, 0.0)
    shares: dict[int, list[int]] = {rank: [] for rank in ranks}
    for clip in sorted(clips, key=lambda clip: -costs[clip]):
        least = min(loads, key=loads.__getitem__)
        loads[least] += costs[clip]
        shares[least] += clips[clip]
    return {rank: [requests[at] for at in sorted(places)] for rank, places in shares.items()}


@dataclass(frozen=True)
class ShareOrder:
    """Holds what process 0 sends to all: the job, the hashes of its fingerprints, the cache's folder, each one's share."""

    job: Job
    fingerprints: list[str]
    folder: str | None
    weights: dict[str, Any]
    shares: list[Unit]


class Together:
    """Stands for the processes of one launch; each of them makes one."""

    def __init__(self, ranks: Ranks) -> None:
        from accelerate import PartialState

        self.ranks = ranks
        # on the CPU, since objects are exchanged; tensors' limit of half an hour would end those who wait for long answers
        self._state = PartialState(cpu=True, timeout=timedelta(days=30))
        self._workers: dict[str, Worker] = {}
        self._in_step = True

    def received(self) -> ShareOrder | int:
        """Return what process 0 sends next: an order, or the exit code. Raises MarathonError where it has ended."""
        return self._broadcast(None)

    def end(self, code: int) -> None:
        """Send the exit code; not while the others answer: they notice that this process has ended."""
        if self._in_step:
            self._broadcast(code)
            self.leave()

    def leave(self) -> None:
        """End the group, when all have the exit code: a thread of it that is left aborts the process as it exits."""
        try:
            self._state.wait_for_everyone()
        except RuntimeError:
            # one has ended meanwhile: the launcher says so, and there is nothing left to exchange
            return
        self._state.destroy_process_group()

    def _broadcast(self, sent: ShareOrder | int | None) -> ShareOrder | int:
        from accelerate.utils import broadcast_object_list

        box: list[Any] = [sent]
        _reached(lambda: broadcast_object_list(box))
        found: ShareOrder | int = box[0]
        return found

    def gather(self, answers: list[CellAnswer] | str) -> list[list[CellAnswer] | str]:
        """Return every process's answers, or the reason why it has none, in the order of ranks; waits for all.

        Raises MarathonError where one has ended.
        """
        from accelerate.utils import gather_object

        _reached(self._state.wait_for_everyone)
        gathered: list[list[CellAnswer] | str] = _reached(lambda: gather_object([answers]))
        return gathered

    def own_answers(self, order: ShareOrder) -> Iterator[CellAnswer]:
        """Answer this process's share, into its own cache file. Raises MarathonError as the model does."""
        share = order.shares[self.ranks.rank]
        if not share.requests:
            return
        take_device(order.job.model_args.get("device"), self.ranks)
        folder = None if order.folder is None else Path(order.folder)
        with ResponseCache(folder, rank_file(FILE_NAME, self.ranks.rank)) as cache:
            cache.prime(order.weights)
            if repr(order.job) not in self._workers:
                self._workers[repr(order.job)] = Worker(order.job)
            worker = self._workers[repr(order.job)]
            if worker.fingerprints(cache) != order.fingerprints:
                raise MarathonError(
                    f"process {self.ranks.rank} has another model than process 0: the same packages, weights and "
                    "settings are needed everywhere"
                )
            yield from worker.answers(share, cache)
            worker.close()

    def answers(
        self, job: Job, models: Sequence[Model], units: list[Unit], config: RunConfig
    ) -> Iterator[tuple[Request, CellAnswer]]:
        """Send the shares and yield the answers of all processes, this one's first. Raises MarathonError."""
        folder, cache = cache_folder(config), models[0].cache
        assert isinstance(cache, ResponseCache)
        identities = [sha256_of(model.fingerprint) for model in models]
        place = None if folder is None else str(folder.absolute())
        order = ShareOrder(job, identities, place, weights_memo(cache), units)
        self._in_step = False
        self._broadcast(order)
        for answer in self.own_answers(order):
            yield units[0].requests[answer.place], answer
        gathered = self.gather([])
        self._in_step = True
        for rank, answers in enumerate(gathered[1:], 1):
            if isinstance(answers, str):
                raise MarathonError(f"process {rank}: {answers}")
            yield from ((units[rank].requests[answer.place], answer) for answer in answers)
        if cache.path is not None:
            cache.commit()
            take_in(cache.path)


def follow(together: Together) -> int:
    """Answer the shares of a process other than 0 until process 0 sends the exit code, and return it.

    Raises MarathonError where process 0 has ended.
    """
    while not isinstance(order := together.received(), int):
        try:
            answers: list[CellAnswer] | str = list(together.own_answers(order))
        except MarathonError as error:
            answers = str(error)
        together.gather(answers)
    together.leave()
    return order


def through_shares(config: RunConfig, together: Together) -> Through:
    """Return the function by which process 0 sends each process its share. Raises MarathonError."""
    refuse_device_arguments(config.model_args, together.ranks)

    def ask(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        cache = model.cache
        assert isinstance(cache, ResponseCache)
        facts, _ = cache.facts(audio for request in requests for audio in request.audios)
        shares = shared_out(requests, lambda request: seconds_of(request, facts), range(together.ranks.world))
        units = [
            Unit(share, [[0]] * len(share), {**memo_of(cache, share), **model.memo(share)})
            for share in shares.values()
        ]
        for request, answer in together.answers(Job.of_run(config), [model], units, config):
            yield request, answer.response

    return ask


def cells_through_shares(config: RunConfig, grid: Grid, together: Together) -> AskCells:
    """Return the function by which process 0 sends each process its clips, with all cells. Raises MarathonError."""
    refuse_device_arguments(config.model_args, together.ranks)

    def fill(
        cells: Sequence[SweepCell],
        requests: Sequence[Request],
        missing: Sequence[set[Request]],
        facts: Mapping[Audio, AudioFacts],
        cache: ResponseCache,
        progress: Progress,
    ) -> Iterator[None]:
        lacking = lacking_cells(requests, missing)
        shares = shared_out(
            list(lacking),
            lambda request: seconds_of(request, facts) * len(lacking[request]),
            range(together.ranks.world),
        )
        units = [
            Unit(share, [lacking[one] for one in share], memo_of(cache, share)) for share in shares.values()
        ]
        job, models = Job.of_run(config, grid), [cell.model for cell in cells]
        for request, answer in together.answers(job, models, units, config):
            take_over([(cells[answer.cell], request, answer.response)], cache, facts, progress)
            yield

    return fill


def _reached(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except RuntimeError as error:  # torch's, when a process of the group has ended
        raise MarathonError(
            f"another process of this launch has ended ({str(error).strip().splitlines()[0][:120]}); finished answers are kept: "
            "the same command goes on from here"
        ) from None


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

    if device == "cpu" or not torch.cuda.is_available():
        return
    count = torch.cuda.device_count()
    if count == 1:
        # all that the launcher lets this process see, or the only one there is
        return
    if ranks.local >= count:
        raise MarathonError(
            f"rank {ranks.rank}: is process {ranks.local + 1} of its node, which has {count} GPUs: launch at most so many"
        )
    torch.cuda.set_device(ranks.local)
