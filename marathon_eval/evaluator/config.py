"""Defines the configuration of a run, and parses arguments such as `press=dart,ratio=0.5`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from marathon_eval.api.secrets import without_all_secrets
from marathon_eval.api.typed_text import typed_number
from marathon_eval.errors import MarathonError


@dataclass(frozen=True)
class RunConfig:
    """Holds the settings of a run that results.json stores under `config`."""

    model: str
    tasks: tuple[str, ...]
    model_args: dict[str, Any] = field(default_factory=dict)
    include_path: tuple[str, ...] = ()
    trust_task_code: bool = False
    data_dir: str | None = None
    subset: str | None = None
    limit: float | None = None
    samples: dict[str, list[int]] | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    long_audio: str | None = None
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    use_cache: str | None = None
    no_cache: bool = False
    output_path: str | None = None
    log_samples: bool = True
    predict_only: bool = False
    retry_errors: bool = False
    seed: int = 0
    #: Few-shot examples of every task, instead of the tasks' own number.
    num_fewshot: int | None = None
    #: The system prompt of every request, instead of the tasks' own.
    system_instruction: str | None = None
    judge_model: str | None = None
    judge_args: dict[str, Any] = field(default_factory=dict)
    judge_gen_kwargs: dict[str, Any] = field(default_factory=dict)
    no_audio: str | None = None
    swap_audio: bool = False
    permute_choices: int | None = None
    transform: str = ""
    manifest: str | None = None
    #: Limits of what the model and the judge may be asked in this run, and prices per million tokens (evaluator/budget.py).
    max_requests: int | None = None
    max_tokens_total: int | None = None
    max_cost: float | None = None
    prices: dict[str, float] = field(default_factory=dict)
    #: One judge's prices, or those of each judge of a panel by its name.
    judge_prices: dict[str, float] | dict[str, dict[str, float]] = field(default_factory=dict)
    #: The JSON file of the self-test that the run cites.
    selftest: str | None = None
    #: What tables call the run, in place of its model's name (results/run_name.py).
    run_name: str | None = None

    def recorded(self) -> dict[str, Any]:
        """Return the config as results.json stores it; values under secret-like names (API keys) are removed.

        Without `selftest`: the run's own entry of that name says more.
        """
        recorded: dict[str, Any] = without_all_secrets(asdict(self))
        del recorded["selftest"]
        return recorded


def parse_args(text: str, flag: str) -> dict[str, Any]:
    """Parse `a=1,b=x` or one JSON object into a dict. Raises MarathonError that names the flag.

    As in lm-eval, `true` and `false` become booleans and numbers become numbers. Unlike lm-eval, `none`, `nan` and
    lists stay text unless the JSON form is used, and a repeated name is an error. A number keeps its text for
    arguments of a model that are declared as text.
    """
    if text.lstrip().startswith("{"):
        return _json_args(text, flag)
    arguments: dict[str, Any] = {}
    for token in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = token.partition("=")
        if not equals or not name.strip():
            raise MarathonError(
                f"{flag}: '{token}' is not name=value. A value with a comma needs the JSON form, "
                f"""{flag} '{{"name": "a,b"}}'"""
            )
        if name.strip() in arguments:
            raise MarathonError(f"{flag}: '{name.strip()}' is given twice")
        arguments[name.strip()] = _value(value.strip())
    return arguments


def _json_args(text: str, flag: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MarathonError(f"{flag}: not readable as JSON ({error})") from None
    if not isinstance(loaded, dict):
        raise MarathonError(f"{flag}: the JSON form must be an object")
    return loaded


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        # nan and inf stay text: JSON cannot represent them, and no setting uses them
        return typed_number(number, text) if number - number == 0 else text
    return text


def parse_samples(text: str) -> dict[str, list[int]]:
    """Parse `--samples`: JSON such as `{"gtzan": [0, 3]}`, or the path of a JSON file. Raises MarathonError."""
    source = text
    if not text.lstrip().startswith("{"):
        try:
            source = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: not a valid path, or not a text file
            reason = error.strerror if isinstance(error, OSError) else error
            raise MarathonError(f"--samples: {text!a}: {reason}; give JSON or a file of it") from None
    loaded = _json_args(source, "--samples")
    for task, numbers in loaded.items():
        if not isinstance(numbers, list) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise MarathonError(f"--samples: {task}: must be a list of row numbers, got {numbers!r}")
    return loaded
