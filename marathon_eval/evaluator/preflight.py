"""What a run needs, looked at before weights load: packages, weights and keys, room on the disk, scorers that can tell.

Nothing of it costs a rerun that asks nothing: a run looks once it is known that something must be asked, and
`--dry_run` whenever it is called. No torch is imported and no server asked.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.model import Model
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import RequestPool, cache_folder

if TYPE_CHECKING:
    from marathon_eval.task.task import Task

#: Bytes of an answer in sqlite's file and in its log, and of its sample's line: about twice what short answers take.
PER_ANSWER = 8_000


class Check(NamedTuple):
    """One thing looked at: what was found, and what is wrong with it (None: nothing)."""

    name: str
    said: str
    fault: str | None = None


class RunBeforeStart(NamedTuple):
    """A run before its first question."""

    tasks: Mapping[str, Task]
    pool: RequestPool
    models: tuple[Model, ...]
    judge: Model | None
    config: RunConfig
    cache: ResponseCache


def refuse_missing(plan: RunBeforeStart, answers: int) -> None:
    """Raise one MarathonError for all that is missing; `answers`: how many must be asked for."""
    faults = [check.fault for check in checks(plan, answers) if check.fault]
    if faults:
        raise MarathonError("; and ".join(faults))


def checks(plan: RunBeforeStart, answers: int) -> Iterator[Check]:
    """Every check, in the order in which a user would mend what they find."""
    stages = tuple({id(stage): stage for model in plan.models for stage in model.stages()}.values())
    judge = _judge(plan, answers)
    yield installed(stages, judge)
    yield reachable("weights and keys", stages[:1] if isinstance(stages[0], HFAudio) else stages)
    if judge:
        yield reachable("judge", judge)
    yield free_disk_bytes(plan.config, answers)
    yield scorers(plan)


def _judge(plan: RunBeforeStart, answers: int) -> tuple[Model, ...]:
    """The models that will judge, where a task asks for a judge; none where nothing new is to be judged."""
    if plan.judge is None or all(task.config.judge is None for task in plan.tasks.values()):
        return ()
    plan.judge.cache = plan.cache
    try:
        known = plan.cache.knows(plan.judge.fingerprint)
    except MarathonError:  # what it is cannot be said: the check of its weights says why
        known = False
    return () if known and not answers else plan.judge.stages()


def installed(models: tuple[Model, ...], judge: tuple[Model, ...] = ()) -> Check:
    """Modules that are imported on the first miss; found, not imported."""
    wanted: dict[str, str] = {}
    for flag, model in [
        *(("--model", model) for model in models),
        *(("--judge_model", one) for one in judge),
    ]:
        local = ("torch", "transformers") if isinstance(model, HFAudio) else ()
        extras = {**dict.fromkeys(local, "marathon-eval"), **_extras(model.needs)}
        for module, how in extras.items():
            wanted.setdefault(module, f"{flag} {model.name()} needs {module}: pip install '{how}'")
    missing = [said for module, said in wanted.items() if not _found(module)]
    return Check("imports", ", ".join(wanted) or "nothing more", "; and ".join(missing) or None)


def _extras(needs: Mapping[str, str]) -> dict[str, str]:
    return {module: f"marathon-eval[{extra}]" for module, extra in needs.items()}


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that should hold it is not there
        return False


def reachable(name: str, models: tuple[Model, ...]) -> Check:
    """Weights that are there or can be had, keys that are set."""
    faults = []
    for model in models:
        try:
            model.check()
        except MarathonError as error:
            faults.append(str(error))
    return Check(
        name, ", ".join(model.name() for model in models), "; and ".join(dict.fromkeys(faults)) or None
    )


def free_disk_bytes(config: RunConfig, answers: int) -> Check:
    """Free bytes where the cache and the results are written."""
    wanted = PER_ANSWER * answers
    named = {"--use_cache": cache_folder(config), "--output_path": config.output_path}
    places = {flag: _existing(Path(place)) for flag, place in named.items() if place is not None}
    free = {flag: shutil.disk_usage(place).free for flag, place in places.items()}
    faults = [
        f"{flag}: {places[flag]} has {bytes_said(have)} free, and {answers} answers need about {bytes_said(wanted)}"
        for flag, have in free.items()
        if have < wanted
    ]
    said = (
        ", ".join(f"{bytes_said(have)} free for {flag}" for flag, have in free.items())
        or "nothing is written"
    )
    return Check("disk", said, "; and ".join(faults) or None)


def _existing(place: Path) -> Path:
    """The nearest folder above that is there."""
    place = Path(os.path.abspath(place))
    return next(
        (folder for folder in (place, *place.parents) if folder.is_dir()), Path(tempfile.gettempdir())
    )


def bytes_said(count: int) -> str:
    """`7 kB`, `1.6 MB`, `76.9 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def scorers(plan: RunBeforeStart) -> Check:
    """Every scorer of every task on rows of this run."""
    if plan.config.predict_only:
        return Check("scorers", "not asked for: --predict_only")
    from marathon_eval.evaluator.scorer_check import check_scorers

    found = [check_scorers(task, plan.pool.docs[name].docs) for name, task in plan.tasks.items()]
    faults = [fault for one in found for fault in one.faults]
    said = f"{sum(len(one.telling) for one in found)} tell a gold answer from a wrong one"
    untold = sum(len(one.untold) for one in found)
    if untold:
        said += f", of {untold} these rows do not say"
    advice = " (--predict_only asks without scoring)"
    return Check("scorers", said, "; and ".join(faults) + advice if faults else None)
