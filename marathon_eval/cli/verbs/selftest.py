"""Test a model as it will run here: its inputs, long audio, kernels, batches, press, time and memory, or its server."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", "-M", required=True, metavar="NAME", help="the model, as for a run")
    parser.add_argument(
        "--model_args",
        "-a",
        default="",
        metavar="A=B,…",
        help="its arguments, as for a run; with press=NAME,ratio=R the press is tested too",
    )
    parser.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda, cuda:1")
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of yours with models/ and presses/",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write the lines as JSON to this file, which `run --selftest FILE` cites",
    )
    parser.add_argument("--json", action="store_true", help="print the JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.cli.fitted_table import FittedTable, table_console
    from marathon_eval.evaluator.config import parse_args
    from marathon_eval.evaluator.evaluator import build_model
    from marathon_eval.evaluator.selftest.selftest import selftest
    from marathon_eval.files import write_atomically

    args = parse_args(arguments.model_args, "--model_args")
    if arguments.device is not None:
        args = {**args, "device": arguments.device}
    model = build_model(Registry(arguments.include_path), arguments.model, args)
    with tempfile.TemporaryDirectory(prefix="marathon_eval_") as folder:
        result = selftest(model, Path(folder))
    if arguments.output:
        write_atomically(Path(arguments.output), [json.dumps(result.as_json(), indent=2) + "\n"])

    if arguments.json:
        print(json.dumps(result.as_json(), indent=2))
        return EXIT_INCOMPLETE if result.failed else EXIT_WHOLE
    setting = ", ".join(f"{name} {value}" for name, value in result.setting.items())
    table = FittedTable(("check", "verdict", "what was seen"), 3, 1, f"{result.model}: {setting}")
    for line in result.lines:
        table.add_row(line.name, line.verdict, line.said)
    console = table_console(150)
    table.print(console)
    failed = len(result.failed)
    console.print(f"{len(result.lines)} checks, {failed} failed, {result.seconds:.0f} s", highlight=False)
    return EXIT_INCOMPLETE if failed else EXIT_WHOLE
