"""Checks what a run needs before weights load: packages, weights, API keys, free disk space, and working scorers.

A run makes the checks only if the cache lacks a response, so a rerun from the cache does not pay for them;
`--dry_run` always makes them. The checks import no torch and contact no inference server.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.model import CLIP_MARK, Model, Request
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError, install_hint
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.requests import RequestPool, cache_folder, seconds_of
from marathon_eval.results.outcomes import is_error_rate

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.task.task import Task

#: Disk bytes per response (cache file, its log and the sample's line): about twice what a short response takes.
PER_ANSWER = 8_000


class Check(NamedTuple):
    """Reports one check: its name, a summary (`said`), and what is wrong (`fault`, None if nothing is).

    A `warning` does not stop the run.
    """

    name: str
    said: str
    fault: str | None = None
    warning: str | None = None


class RunBeforeStart(NamedTuple):
    """Holds the parts of a run before its first request is sent."""

    tasks: Mapping[str, Task]
    pool: RequestPool
    models: tuple[Model, ...]
    judge: Model | None
    config: RunConfig
    cache: ResponseCache


def run_checks(plan: RunBeforeStart, answers: int) -> None:
    """Print warnings, and raise one MarathonError that lists all faults.

    `answers` is the number of responses that the cache lacks.
    """
    made = list(checks(plan, answers))
    faults = [check.fault for check in made if check.fault]
    for check in made:
        if check.warning and not faults:
            print(f"marathon-eval: warning: {check.warning}", file=sys.stderr)
    if faults:
        raise MarathonError("; and ".join(faults))


def checks(plan: RunBeforeStart, answers: int) -> Iterator[Check]:
    """Make every check, in the order in which a user would repair the faults."""
    stages = tuple({id(stage): stage for model in plan.models for stage in model.stages()}.values())
    judge = _judge(plan, answers)
    yield installed(stages, judge)
    yield reachable("weights and keys", stages[:1] if isinstance(stages[0], HFAudio) else stages)
    if judge:
        yield reachable("judge", judge)
        yield judge_prompts(plan)
    yield places_of_clips(plan)
    yield turns_of_dialogues(plan)
    yield audio_lengths(plan)
    yield from votes_on_texts(plan)
    yield free_disk_bytes(plan.config, answers)
    yield scorers(plan)


def _judge(plan: RunBeforeStart, answers: int) -> tuple[Model, ...]:
    """Return the judge's models; empty if no task uses a judge, or if there is nothing new to judge."""
    if plan.judge is None or all(task.config.judge is None for task in plan.tasks.values()):
        return ()
    plan.judge.cache = plan.cache
    try:
        in_cache = plan.cache.knows(plan.judge.fingerprint)
    except MarathonError:  # the check of its weights reports why there is no fingerprint
        in_cache = False
    return () if in_cache and not answers else plan.judge.stages()


def installed(models: tuple[Model, ...], judge: tuple[Model, ...] = ()) -> Check:
    """Check that the modules that the models need are installed, without importing them."""
    messages: dict[str, str] = {}
    for flag, model in [
        *(("--model", model) for model in models),
        *(("--judge_model", model) for model in judge),
    ]:
        local = ("torch", "transformers") if isinstance(model, HFAudio) else ()
        extras = {**dict.fromkeys(local, "local"), **model.needs}
        for module, requirement in extras.items():
            messages.setdefault(module, f"{flag} {model.name()} needs {module}: {install_hint(requirement)}")
    missing = [message for module, message in messages.items() if not _is_installed(module)]
    return Check("imports", ", ".join(messages) or "nothing more", "; and ".join(missing) or None)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is not installed
        return False


def reachable(name: str, models: tuple[Model, ...]) -> Check:
    """Check that each model's weights are on disk or can be downloaded, and that its API keys are set."""
    faults = []
    for model in models:
        try:
            model.check()
        except MarathonError as error:
            faults.append(str(error))
    return Check(
        name, ", ".join(model.name() for model in models), "; and ".join(dict.fromkeys(faults)) or None
    )


def places_of_clips(plan: RunBeforeStart) -> Check:
    """Check that the models take clips inside the text, if a task places them there."""
    placing = [name for name, items in plan.pool.doc_requests.items() if _placed(items)]
    if not placing:
        return Check("places of clips", "no task places clips inside the text")
    said = f"{', '.join(placing)}: inside the text"
    for model in plan.models:
        if not model.places_clips:
            fault = (
                f"--model {model.name()} takes no clips inside the text: {', '.join(placing)} has {CLIP_MARK} in doc_to_text; use a "
                "chat model, or a task without it"
            )
            return Check("places of clips", said, fault)
    return Check("places of clips", said)


def _placed(items: Iterable[DocRequests]) -> bool:
    return any(request.placed for item in items for request in item.requests)


def turns_of_dialogues(plan: RunBeforeStart) -> Check:
    """Check that the models take the earlier turns of a dialogue, if a task has any."""
    names = [name for name, task in plan.tasks.items() if task.has_turns]
    if not names:
        return Check("turns", "every row is one question")
    said = f"{', '.join(names)}: turn by turn; requests and costs count first turns only"
    fault = next(
        (
            f"--model {model.name()} takes one question at a time: {', '.join(names)} has doc_to_messages; use a chat "
            "model, or a task without it"
            for model in plan.models
            if not model.takes_turns
        ),
        None,
    )
    return Check("turns", said, fault)


def audio_lengths(plan: RunBeforeStart) -> Check:
    """Check which requests have more audio than a model takes. They become error rows; a run of nothing else is refused."""
    requests, facts = _heard(plan)
    too_long = requests_too_long(plan)
    if not too_long:
        return Check("audio length", "no clip is known to be too long")
    request, reason = max(too_long.items(), key=lambda item: seconds_of(item[0], facts))
    said = (
        f"{len(too_long)} of {len(requests)} requests have more audio than the model takes and become error rows, the longest "
        f"{request.audios[0].path}: {reason} (--max_seconds leaves such rows out, --long_audio window: asks piece by piece)"
    )
    if len(too_long) == len(requests):
        return Check("audio length", said, said)
    return Check("audio length", said, warning=said)


def _heard(plan: RunBeforeStart) -> tuple[list[Request], Mapping[Audio, AudioFacts]]:
    """Return the requests with audio, and the facts of its clips."""
    requests = [request for request in plan.pool.requests() if request.audios]
    return requests, plan.cache.facts(audio for request in requests for audio in request.audios)[0]


def requests_too_long(plan: RunBeforeStart) -> dict[Request, str]:
    """Return the requests that have more audio than one of the models takes, each with the reason."""
    requests, facts = _heard(plan)
    too_long: dict[Request, str] = {}
    for request in requests:
        seconds = seconds_of(request, facts)
        reasons = (_misfit(model, request, seconds) for model in plan.models)
        reason = next((reason for reason in reasons if reason is not None), None)
        if reason is not None:
            too_long[request] = reason
    return too_long


def rows_too_long(plan: RunBeforeStart) -> set[tuple[str, int]]:
    """Return (task, row) of the rows of which a request, or one of its windows, has more audio than a model takes."""
    too_long = requests_too_long(plan)

    def sent(request: Request) -> tuple[Request, ...]:
        split = plan.pool.splits.get(request)
        return (request,) if split is None else split.parts

    return {
        (name, item.doc.doc_id)
        for name, items in plan.pool.doc_requests.items()
        for item in items
        if too_long and any(part in too_long for request in item.requests for part in sent(request))
    }


def votes_on_texts(plan: RunBeforeStart) -> Iterator[Check]:
    """Check that no task that an error rate scores takes the vote of its windows, whose texts never agree."""
    voting = [
        name
        for name, items in plan.pool.doc_requests.items()
        if is_error_rate(str((plan.tasks[name].scorer.headline or {}).get("metric", "")))
        and any(_votes(plan.pool, request) for item in items for request in item.requests)
    ]
    if voting:
        names = ", ".join(voting)
        fault = (
            f"long_audio: combine=vote keeps the text of one window, and an error rate scores {names}: take combine=join, "
            "which joins the texts of all windows"
        )
        yield Check("windows", f"{names}: the windows of a transcript cannot vote", fault)


def _votes(pool: RequestPool, request: Request) -> bool:
    split = pool.splits.get(request)
    return split is not None and split.windows.combine == "vote"


def _misfit(model: Model, request: Request, seconds: float) -> str | None:
    try:
        return model.misfit(request, seconds)
    except MarathonError:  # the check of the weights reports why their config cannot be read
        return None


def judge_prompts(plan: RunBeforeStart) -> Check:
    """Check that the rows have every name that the judge's prompts use."""
    from marathon_eval.evaluator.judge_prompts import check_judge_columns

    faults = []
    for name, task in plan.tasks.items():
        try:
            check_judge_columns(task, plan.pool.docs[name].docs)
        except MarathonError as error:
            faults.append(str(error))
    return Check("judge prompts", "the rows have every name in them", "; and ".join(faults) or None)


def free_disk_bytes(config: RunConfig, answers: int) -> Check:
    """Check the free disk space of the folders where the cache and the results are written."""
    needed = PER_ANSWER * answers
    folders = {"--use_cache": cache_folder(config), "--output_path": config.output_path}
    places = {flag: _existing(Path(place)) for flag, place in folders.items() if place is not None}
    free = {flag: shutil.disk_usage(place).free for flag, place in places.items()}
    faults = [
        f"{flag}: {places[flag]} has {bytes_said(available)} free, and {answers} answers need about {bytes_said(needed)}"
        for flag, available in free.items()
        if available < needed
    ]
    summary = ", ".join(f"{bytes_said(available)} free for {flag}" for flag, available in free.items())
    return Check("disk", summary or "nothing is written", "; and ".join(faults) or None)


def _existing(place: Path) -> Path:
    """Return the nearest existing folder at or above `place`."""
    place = Path(os.path.abspath(place))
    return next(
        (folder for folder in (place, *place.parents) if folder.is_dir()), Path(tempfile.gettempdir())
    )


def bytes_said(count: int) -> str:
    """Format a number of bytes as `7 kB`, `1.6 MB` or `76.9 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def scorers(plan: RunBeforeStart) -> Check:
    """Check that the scorers of every task tell right from wrong answers on rows of this run."""
    if plan.config.predict_only:
        return Check("scorers", "not asked for: --predict_only")
    from marathon_eval.evaluator.scorer_check import check_scorers

    checked = [
        check_scorers(task, plan.pool.docs[name].docs) for name, task in plan.tasks.items() if task.has_gold
    ]
    faults = [fault for task_check in checked for fault in task_check.faults]
    summary = f"{sum(len(task_check.telling) for task_check in checked)} tell a gold answer from a wrong one"
    undecided = sum(len(task_check.untold) for task_check in checked)
    if undecided:
        summary += f"; {undecided} could not be checked on these rows"
    advice = " (--predict_only asks without scoring)"
    return Check("scorers", summary, "; and ".join(faults) + advice if faults else None)
