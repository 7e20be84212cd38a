"""Scores existing answers from Python: `marathon_eval.score(RUN)`, as the verb `score` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Never

from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.evaluator.settings import checked_settings
from marathon_eval.evaluator.simple import AnyPath, Arguments, write_below
from marathon_eval.results.evaluation import Evaluation, plain_line

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.config import RunConfig

_OF_PREDICTIONS = ("predictions", "prediction_key")
#: Settings that are never taken from a stored run.
_TYPED = (
    *("include_path", "trust_task_code", "data_dir", "use_cache", "no_cache"),
    *("judge_model", "judge_args", "judge_gen_kwargs"),
)


def score(
    run: AnyPath | None = None,
    *,
    tasks: Sequence[str] = (),
    predictions: AnyPath | None = None,
    prediction_key: str | None = None,
    subset: str | None = None,
    include_path: AnyPath | Sequence[AnyPath] = (),
    trust_task_code: bool = False,
    data_dir: AnyPath | None = None,
    judge_model: str | None = None,
    judge_args: Arguments = "",
    judge_gen_kwargs: Arguments = "",
    use_cache: AnyPath | None = None,
    no_cache: bool = False,
    output_path: AnyPath | None = None,
    **unknown: Never,
) -> Evaluation:
    """Score existing answers and return the run, as `marathon-eval score` does. No model is run but a judge.

    `run` is the folder of a finished run, or a folder above it (its newest run is taken). In its place `predictions` names a
    file of another program's answers, and `tasks` the tasks that they belong to. Each argument is the flag of its name
    (`marathon-eval score --help`). Without `output_path` nothing is written. What the user should know beside the scores
    is printed on standard error. Raises one MarathonError for every mistake that the command line reports, and for a misspelt
    argument.
    """
    given = {
        name: value for name, value in locals().items() if name not in ("run", *_OF_PREDICTIONS, "unknown")
    }
    if unknown:
        name, known = next(iter(unknown)), [*given, "run", *_OF_PREDICTIONS]
        raise MarathonError(
            f"score: no argument '{name}'.{did_you_mean(name, known)} Arguments: {', '.join(sorted(known))}"
        )
    config = checked_settings({**given, "model": ""})
    # without a judge no cache is read
    config = replace(config, no_cache=config.no_cache or config.judge_model is None)
    if run is None:
        result = _predicted(config, predictions, prediction_key)
    else:
        result = _of_run(config, run, predictions, prediction_key)
    if config.output_path is not None:
        write_below(result, Path(config.output_path))
    return Evaluation.of(result)


def _predicted(config: RunConfig, predictions: AnyPath | None, key: str | None) -> RunResult:
    from marathon_eval.evaluator.rescore.score_predictions import scored_predictions

    if predictions is None or not config.tasks:
        raise MarathonError("score: give either the folder of a run, or predictions= and tasks=")
    scored = scored_predictions(config, _path("predictions", predictions), key)
    for note in scored.notes:
        _say(f"marathon-eval: {note}")
    return scored.result


def _of_run(config: RunConfig, run: AnyPath, predictions: AnyPath | None, key: str | None) -> RunResult:
    from marathon_eval.evaluator.rescore.scored_again import scored_again
    from marathon_eval.results.files import newest_run

    if predictions is not None or key is not None or config.tasks or config.subset is not None:
        raise MarathonError(
            "score: tasks=, subset=, predictions= and prediction_key= belong together; the folder of a run has its own"
        )
    typed = {name: getattr(config, name) for name in _TYPED}
    return scored_again(newest_run(_path("run", run)), typed, _say)


def _path(name: str, value: object) -> Path:
    if not isinstance(value, str | PathLike):
        raise MarathonError(f"score: {name}: must be a path, got {value!r}")
    return Path(value)


def _say(text: str) -> None:
    print(plain_line(text), file=sys.stderr)
