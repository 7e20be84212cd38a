"""Declares the flags that several of `run`, `sweep`, `score` and `cache why` share, and builds a RunConfig from parsed flags."""

from __future__ import annotations

import argparse
from dataclasses import replace

from marathon_eval.cli.verbs._lm_eval_flags import add_lm_eval_arguments, seed_of, with_lm_eval_flags
from marathon_eval.cli.verbs._trust import add_trust_argument
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args, parse_samples
from marathon_eval.evaluator.settings import (
    canonical_transform,
    checked_lengths,
    checked_limit,
    checked_long_audio,
)
from marathon_eval.results.run_name import checked_run_name


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry_run."""
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="check packages, data, scorers and disk, print the expected cost, and stop before the model is run",
    )


def add_run_arguments(
    parser: argparse.ArgumentParser,
    model_args: str = "arguments of the model and of its press, such as pretrained=PATH,press=dart,ratio=0.5",
) -> None:
    """Add the flags that choose the model, the tasks, their rows, the cache, the controls and the judge.

    `model_args` is the help of --model_args.
    """
    _add_model_arguments(parser, model_args)
    _add_row_arguments(parser)
    _add_request_arguments(parser)
    add_control_arguments(parser)
    add_judge_arguments(parser)
    add_lm_eval_arguments(parser)


def _add_model_arguments(parser: argparse.ArgumentParser, model_args: str) -> None:
    parser.add_argument(
        "--model",
        "-M",
        required=True,
        metavar="NAME",
        help="a name that `marathon-eval ls models` prints, the path of a .py file, or package.module:Class",
    )
    parser.add_argument(
        "--model_args",
        "-a",
        default="",
        metavar="A=B,…",
        help=f"{model_args}, or JSON",
    )
    parser.add_argument(
        "--tasks",
        "--task",
        "-t",
        nargs="+",
        required=True,
        metavar="TASK",
        help="tasks, groups, tags, patterns such as 'vox_*' or YAML files, separated by commas or spaces; "
        "`marathon-eval ls tasks` prints all",
    )
    parser.add_argument(
        "--run_name",
        metavar="NAME",
        help="what tables and the folder of the results call this run, in place of the model's name; it changes no answer",
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of yours whose tasks/, models/, presses/, metrics/, filters/ and row_steps/ are searched first",
    )


def _add_row_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        help="a local copy of the dataset (default: download the needed files from the Hugging Face hub)",
    )
    parser.add_argument(
        "--subset",
        metavar="NAME",
        help="a row selection that the tasks define, such as paper (the default) or full",
    )
    parser.add_argument(
        "--limit",
        "-L",
        type=float,
        metavar="N",
        help="evaluate the first N rows of each task, or this fraction of them if N is below 1",
    )
    parser.add_argument(
        "--samples",
        "-E",
        metavar="JSON",
        help="""evaluate only these row numbers: '{"gtzan": [0, 3]}', or a JSON file""",
    )
    for name, fewer in (("min", "fewer"), ("max", "more")):
        parser.add_argument(
            f"--{name}_seconds",
            type=float,
            metavar="S",
            help=f"leave out rows with {fewer} seconds of audio, and count them",
        )


def _add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how requests are made and where responses are cached."""
    parser.add_argument(
        "--gen_kwargs",
        default="",
        metavar="A=B,…",
        help="generation settings that override the tasks' generation_kwargs, such as max_new_tokens=64",
    )
    parser.add_argument(
        "--batch_size",
        "-b",
        metavar="N",
        help="requests per batch: a number, or auto; the same as batch_size in --model_args",
    )
    parser.add_argument(
        "--device", metavar="DEVICE", help="where the model runs; the same as device in --model_args"
    )
    parser.add_argument(
        "--use_cache",
        "-c",
        metavar="DIR",
        help="folder of the response cache (default: $MARATHON_EVAL_CACHE, or ~/.cache/marathon_eval)",
    )
    parser.add_argument(
        "--long_audio",
        metavar="HOW",
        help="what happens to long clips, instead of the tasks' own long_audio: refuse, or "
        "window:seconds=600,overlap=0,combine=vote (or last, join, map_reduce)",
    )
    parser.add_argument("--no_cache", action="store_true", help="neither read nor write cached responses")
    parser.add_argument(
        "--retry_errors", action="store_true", help="send failed requests a second time at the end of the run"
    )
    parser.add_argument(
        "--seed",
        default="0",
        metavar="N",
        help="seed of sampled responses (default: 0); if lm-eval's four seeds are given, the third is used",
    )


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that change or remove the audio or the option order, for control runs."""
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="a manifest from `doctor --manifest`; a row whose audio differs from it becomes an error row",
    )
    parser.add_argument(
        "--transform",
        default="",
        metavar="STEPS",
        help="change the audio before the model gets it: steps noise, codec, speed, silence and rate, "
        "such as noise:snr=10+codec:name=mp3",
    )
    parser.add_argument(
        "--no_audio",
        nargs="?",
        const="silence",
        choices=["silence", "none"],
        help="control run without the recordings: silence of the same length (default), or no audio input (none)",
    )
    parser.add_argument(
        "--swap_audio",
        action="store_true",
        help="control run in which every row gets the audio of another row of its task",
    )
    parser.add_argument(
        "--permute_choices",
        type=int,
        metavar="K",
        help="control run that repeats each multiple-choice row with its options in K cyclic orders",
    )


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the judge model, which grades open answers (evaluator/judge.py)."""
    parser.add_argument("--judge_model", metavar="NAME", help="the model that grades open answers")
    parser.add_argument(
        "--judge_args", default="", metavar="A=B,…", help="arguments of the judge model, as in --model_args"
    )
    parser.add_argument(
        "--judge_gen_kwargs",
        default="",
        metavar="A=B,…",
        help="generation settings of the judge model, as in --gen_kwargs",
    )


def add_budget_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that limit the requests to the model and the judge."""
    add_judge_budget(parser, "the model and the judge together", "--prices and --judge_prices")
    parser.add_argument(
        "--prices",
        default="",
        metavar="in=X,out=Y",
        help="prices per million tokens: in, out, audio (default: the price of in)",
    )


def add_judge_budget(
    parser: argparse.ArgumentParser, asked: str = "the judge", prices: str = "--judge_prices"
) -> None:
    """Add the flags that limit the requests to `asked`, whose prices the flags in `prices` give."""
    parser.add_argument(
        "--max_requests",
        type=int,
        metavar="N",
        help=f"send at most N requests, to {asked}; requests answered from the cache do not count",
    )
    parser.add_argument(
        "--max_tokens_total",
        type=int,
        metavar="N",
        help="stop sending requests after N tokens, in and out together",
    )
    parser.add_argument(
        "--max_cost",
        type=float,
        metavar="X",
        help=f"stop sending requests once their cost, computed from {prices}, reaches X",
    )
    parser.add_argument(
        "--judge_prices",
        default="",
        metavar="in=X,out=Y",
        help="prices per million tokens of the judge: in, out; of a panel those of each judge, as JSON: "
        """'{"NAME": {"in": X, "out": Y}, ...}'""",
    )


def run_config(arguments: argparse.Namespace) -> RunConfig:
    """Return the parsed flags as a RunConfig. Raises MarathonError for values that make no sense."""
    model_args = parse_args(arguments.model_args, "--model_args")
    if arguments.batch_size is not None:
        from marathon_eval.backends.hf.batching import parse_batch_size

        model_args["batch_size"] = parse_batch_size(arguments.batch_size)
    if arguments.device is not None:
        model_args["device"] = arguments.device
    if arguments.limit is not None and arguments.samples:
        raise MarathonError("--limit and --samples both choose rows: give one")
    least, most = checked_lengths(arguments.min_seconds, arguments.max_seconds)
    config = RunConfig(
        model=arguments.model,
        tasks=tuple(task_names(arguments)),
        model_args=model_args,
        include_path=tuple(arguments.include_path),
        trust_task_code=arguments.trust_task_code,
        data_dir=arguments.data_dir,
        subset=arguments.subset,
        limit=checked_limit(arguments.limit),
        samples=parse_samples(arguments.samples) if arguments.samples else None,
        min_seconds=least,
        max_seconds=most,
        long_audio=checked_long_audio(arguments.long_audio),
        gen_kwargs=parse_args(arguments.gen_kwargs, "--gen_kwargs"),
        use_cache=arguments.use_cache,
        no_cache=arguments.no_cache,
        retry_errors=arguments.retry_errors,
        seed=seed_of(str(arguments.seed)),
        no_audio=arguments.no_audio,
        swap_audio=arguments.swap_audio,
        permute_choices=arguments.permute_choices,
        transform=canonical_transform(arguments.transform),
        manifest=arguments.manifest,
        judge_model=arguments.judge_model,
        judge_args=parse_args(arguments.judge_args, "--judge_args"),
        judge_gen_kwargs=parse_args(arguments.judge_gen_kwargs, "--judge_gen_kwargs"),
        run_name=checked_run_name(arguments.run_name),
    )
    config = with_lm_eval_flags(config, arguments)
    if not hasattr(arguments, "predict_only"):
        return config
    return replace(
        config,
        output_path=arguments.output_path,
        log_samples=not arguments.no_log_samples,
        predict_only=arguments.predict_only,
        max_requests=arguments.max_requests,
        max_tokens_total=arguments.max_tokens_total,
        max_cost=arguments.max_cost,
        prices=parse_args(arguments.prices, "--prices"),
        judge_prices=parse_args(arguments.judge_prices, "--judge_prices"),
        selftest=arguments.selftest,
    )


def task_names(arguments: argparse.Namespace) -> list[str]:
    """Return what --tasks stands for, with patterns, tags and folders resolved. Raises MarathonError."""
    from marathon_eval.api.registry import Registry
    from marathon_eval.evaluator.task_names import resolved_names

    registry = Registry(arguments.include_path, arguments.trust_task_code)
    return resolved_names(registry, [name for item in arguments.tasks for name in item.split(",") if name])
