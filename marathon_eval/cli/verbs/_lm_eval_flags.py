"""Declares the flags that users of lm-evaluation-harness know, for `run`, `sweep` and `cache why`, and carries them out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.task.task import Task

LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
#: lm-eval's `--seed a,b,c,d` seeds Python, numpy, torch (which samples answers) and the few-shot examples.
_TORCH_SEED, _MOST_SEEDS = 2, 4


def add_lm_eval_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --config and the flags of lm-eval that have a meaning here."""
    parser.add_argument(
        "--config",
        "-C",
        metavar="FILE",
        help="YAML with flags by name, such as `tasks: [gtzan]`; flags on the command line override it; "
        "`run` also accepts lists of models, presses and conditions and evaluates every combination",
    )
    parser.add_argument(
        "--num_fewshot",
        "-f",
        type=int,
        metavar="N",
        help="few-shot examples of every task (default: the tasks' own number); "
        "examples include audio only if the task's prompt contains <audio>",
    )
    parser.add_argument(
        "--system_instruction",
        metavar="TEXT",
        help="system prompt of every request, instead of the tasks' own",
    )
    parser.add_argument(
        "--apply_chat_template",
        nargs="?",
        const=True,
        metavar="NAME",
        help="accepted for lm-eval's sake: the model's chat template is always applied",
    )
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="run the code of the model's hub repository; the same as trust_remote_code=true in --model_args",
    )
    parser.add_argument(
        "--max_batch_size",
        type=int,
        metavar="N",
        help="most requests per batch with --batch_size auto; the same as max_batch_size in --model_args",
    )


def add_printing_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that print more or less around a run."""
    parser.add_argument("--show_config", action="store_true", help="print each task's keys and values")
    parser.add_argument(
        "--write_out", "-w", action="store_true", help="print the first prompt and right answer of each task"
    )
    parser.add_argument(
        "--verbosity",
        "-v",
        type=str.upper,
        choices=LEVELS,
        metavar="LEVEL",
        help="log messages of the libraries from this level on (CRITICAL, ERROR, WARNING, INFO, DEBUG); "
        "ERROR and CRITICAL also hide the progress",
    )


def seed_of(text: str) -> int:
    """Return the seed that answers are sampled with: if lm-eval's four seeds are given, the third. Raises MarathonError."""
    words = [word.strip() for word in text.split(",")]
    allowed = "one integer, or up to four comma-separated integers or None"
    if len(words) > _MOST_SEEDS or not all(_is_seed(word) for word in words):
        raise MarathonError(f"--seed: {text!a}: must be {allowed}")
    numbers = [None if word.lower() == "none" else int(word) for word in words]
    sampling = numbers[_TORCH_SEED] if len(numbers) > _TORCH_SEED else numbers[0]
    if len(set(numbers)) > 1:
        print(f"marathon-eval: --seed {text}: responses are sampled with {sampling or 0}", file=sys.stderr)
    return sampling or 0


def _is_seed(word: str) -> bool:
    return word.lower() == "none" or word.removeprefix("-").isdecimal()


def with_lm_eval_flags(config: RunConfig, arguments: argparse.Namespace) -> RunConfig:
    """Return the config with these flags in it. Raises MarathonError."""
    number = arguments.num_fewshot
    if number is not None and number < 0:
        raise MarathonError(f"--num_fewshot: must be 0 or more, got {number}")
    given: dict[str, Any] = {}
    if arguments.trust_remote_code:
        given["trust_remote_code"] = True
    if arguments.max_batch_size is not None:
        given["max_batch_size"] = arguments.max_batch_size
    for name, value in given.items():
        if config.model_args.get(name, value) != value:
            raise MarathonError(
                f"--{name}: --model_args has {name}={config.model_args[name]}: give one of them"
            )
    return replace(
        config,
        model_args={**config.model_args, **given},
        num_fewshot=number,
        system_instruction=arguments.system_instruction,
    )


def set_verbosity(level: str | None) -> bool:
    """Set the level of log messages; return whether progress is shown. None changes nothing."""
    if level is None:
        return True
    import logging

    logging.basicConfig(level=level, force=True)
    os.environ["TRANSFORMERS_VERBOSITY"] = level.lower()
    return LEVELS.index(level) > LEVELS.index("ERROR")


def print_before(config: RunConfig, arguments: argparse.Namespace) -> None:
    """Print what --show_config and --write_out ask for: on standard error if --json has standard output."""
    if not (arguments.show_config or arguments.write_out):
        return
    from marathon_eval.api.registry import Registry
    from marathon_eval.evaluator.evaluator import load_tasks

    registry = Registry(config.include_path, config.trust_task_code)
    tasks, _ = load_tasks(registry, config.tasks, config.num_fewshot)
    stream = sys.stderr if arguments.json else sys.stdout
    if arguments.show_config:
        print(config_text(tasks), end="", file=stream)
    if arguments.write_out:
        print(*first_prompts(tasks, config), sep="\n", file=stream)


def config_text(tasks: Mapping[str, Task]) -> str:
    """Return the keys and values of the tasks as YAML, with their includes merged."""
    import yaml

    values = {name: _without_code(task.document.values) for name, task in tasks.items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def _without_code(value: Any) -> Any:
    """Convert values without a YAML type to text."""
    if isinstance(value, Mapping):
        return {str(key): _without_code(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_code(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def first_prompts(tasks: Mapping[str, Task], config: RunConfig) -> Iterator[str]:
    """Yield the prompt, clips and right answer of each task's first row. Raises MarathonError."""
    from marathon_eval.cli.dry_run_table import first_request
    from marathon_eval.evaluator.requests import docs_of, requests_of_doc

    limited = config if config.samples is not None else replace(config, limit=1)
    for name, task in tasks.items():
        for doc in docs_of(task, limited).docs[:1]:
            item = requests_of_doc(task, doc, config, config.model)
            if (request := item.recorded) is None:
                yield f"{name}, row {doc.doc_id}: {item.error}"
                continue
            shown = {"task": name, "doc_id": doc.doc_id, "audio": [audio.path for audio in request.audios]}
            shown |= {"system": request.system, "prompt": request.shown(), "target": task.target(doc)}
            yield from first_request(shown)
