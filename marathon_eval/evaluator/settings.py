"""Checks the settings of a run that come from Python, by the types of RunConfig's fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from os import PathLike, fspath
from typing import Any

from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.evaluator.config import RunConfig, parse_args
from marathon_eval.results.run_name import checked_run_name

#: Settings that may be written as `a=1,b=2`, as on the command line.
_ARGUMENTS = ("model_args", "gen_kwargs", "judge_args", "judge_gen_kwargs", "prices", "judge_prices")
_LISTS = ("tasks", "include_path")
#: Lists of folders, of which one may be given without a list.
_FOLDERS = ("include_path",)
_OF_MODEL = "it is an argument of the model: model_args={{'{name}': ...}}"
#: Flags of the command line that are no settings from Python, and what takes their place.
ELSEWHERE = {
    **{
        name: _OF_MODEL.format(name=name)
        for name in ("batch_size", "device", "max_batch_size", "trust_remote_code")
    },
    "workers": "workers are for the command line: `marathon-eval --workers N`",
    "export": "the files of `--export lm_eval` are for the command line; run['results'] has lm-eval's dictionary",
    "retry": "call it again with the same cache: what failed is asked again",
    "dry_run": "for the command line: `marathon-eval --dry_run`",
    "log_to": "for the command line: `marathon-eval --log_to`, or `marathon-eval push RUN`",
    "config": "give the settings as arguments: simple_evaluate(**settings)",
    "verbosity": "for the command line; progress=True shows a bar",
    "apply_chat_template": "chat templates are always applied",
    "json": "the run has .summary()",
}


def checked_settings(settings: Mapping[str, Any]) -> RunConfig:
    """Return the settings as a RunConfig, as the command line would make it of flags.

    Raises one MarathonError that names every setting which does not exist or has a wrong value.
    """
    known = {item.name for item in fields(RunConfig)}
    surplus = [name for name in settings if name not in known]
    if surplus:
        if surplus[0] in ELSEWHERE:
            raise MarathonError(f"no setting '{surplus[0]}': {ELSEWHERE[surplus[0]]}")
        raise MarathonError(
            f"no setting '{surplus[0]}'.{did_you_mean(surplus[0], known)} Settings: {', '.join(sorted(known))}"
        )
    config = _validated({name: _plain(name, value) for name, value in settings.items()})
    if config.limit is not None and config.samples:
        raise MarathonError("limit and samples both choose rows: give one")
    checked_limit(config.limit, "limit")
    checked_lengths(config.min_seconds, config.max_seconds, "")
    if config.num_fewshot is not None and config.num_fewshot < 0:
        raise MarathonError(f"num_fewshot: must be 0 or more, got {config.num_fewshot}")
    checked_long_audio(config.long_audio)
    checked_run_name(config.run_name, "run_name")
    return replace(config, transform=canonical_transform(config.transform))


def _plain(name: str, value: Any) -> Any:
    """Return a value in the type that RunConfig has: paths as text, lists as tuples, `a=1` as a mapping."""
    if name in _LISTS:
        if name in _FOLDERS and isinstance(value, str | PathLike):
            return (fspath(value),)
        if isinstance(value, str):
            raise MarathonError(f"{name}: must be a list of names, got the text {value!r}: write [{value!r}]")
        if not isinstance(value, list | tuple):
            raise MarathonError(f"{name}: must be a list of names, got {value!r}")
        return tuple(fspath(item) if isinstance(item, PathLike) else item for item in value)
    if name in _ARGUMENTS and isinstance(value, str):
        return parse_args(value, name)
    if name in _ARGUMENTS and isinstance(value, Mapping):
        return dict(value)
    return fspath(value) if isinstance(value, PathLike) else value


def _validated(settings: Mapping[str, Any]) -> RunConfig:
    """Return the RunConfig. Raises MarathonError for values of a wrong type."""
    from typing import get_type_hints

    from pydantic import ConfigDict, ValidationError, create_model

    hints = get_type_hints(RunConfig)
    declared: Any = {name: (hints[name], ...) for name in settings}
    strict = ConfigDict(strict=True, protected_namespaces=())
    try:
        create_model("Settings", __config__=strict, **declared).model_validate(dict(settings))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"
            for fault in error.errors(include_url=False)
        ]
        raise MarathonError("; ".join(faults)) from None
    return RunConfig(**settings)


def canonical_transform(text: str) -> str:
    """Return the transform in its canonical spelling, which is part of the cache key. Raises MarathonError."""
    if not text:
        return ""
    from marathon_eval.api.transforms import canonical_steps

    return canonical_steps(text)


def checked_long_audio(text: str | None) -> str | None:
    """Return the value of --long_audio if it can be read. Raises MarathonError."""
    if text is not None:
        from marathon_eval.evaluator.windows import parse_long_audio

        parse_long_audio(text)
    return text


def checked_lengths(
    least: float | None, most: float | None, dashes: str = "--"
) -> tuple[float | None, float | None]:
    """Return the bounds of --min_seconds and --max_seconds. Raises MarathonError where no clip can have such a length."""
    for flag, seconds in (("min_seconds", least), ("max_seconds", most)):
        if seconds is not None and not 0 <= seconds < math.inf:
            raise MarathonError(f"{dashes}{flag}: must be a number of seconds from 0, got {seconds:g}")
    if least is not None and most is not None and least > most:
        raise MarathonError(f"{dashes}min_seconds: {least:g} is above {dashes}max_seconds {most:g}")
    return least, most


def checked_limit(limit: float | None, flag: str = "--limit") -> float | None:
    """Return the limit if it is a whole number of rows or a fraction below 1. Raises MarathonError otherwise."""
    # NaN fails every comparison; infinity has no integer value and must not reach int()
    if limit is not None and not (0 < limit < 1 or (1 <= limit < math.inf and limit == int(limit))):
        raise MarathonError(f"{flag}: must be a whole number of rows or a fraction below 1, got {limit:g}")
    return limit
