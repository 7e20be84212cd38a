"""Make long audio with questions from a source corpus, by a recipe; the manifest says where every second comes from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a shipped recipe (tau, gtzan, had, ...) or a path to one"
    )
    parser.add_argument(
        "--source", required=True, metavar="DIR", help="the source corpus, as it is distributed"
    )
    parser.add_argument(
        "--output_path", "-o", required=True, metavar="DIR", help="the data set to write into"
    )
    parser.add_argument("--include_path", nargs="+", default=[], metavar="DIR", help="folders with recipes/")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="files made at the same time")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the recipe's own")
    parser.add_argument("--limit", "-L", type=int, metavar="N", help="the first N files only")
    parser.add_argument("--tts", metavar="COMMAND", help='reads texts aloud: "espeak-ng -f {text} -w {wav}"')
    parser.add_argument("--verdicts", metavar="FILE", help="of a review: rejected rows are left out")
    parser.add_argument("--replace", action="store_true", help="in place of a finished build that differs")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.audit.review import rejected_rows
    from marathon_eval.corpus.build.builder import build
    from marathon_eval.corpus.build.pipeline import Order
    from marathon_eval.corpus.build.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.include_path)
    if arguments.seed is not None:
        recipe = recipe.model_copy(update={"seed": arguments.seed})
    for flag in ("jobs", "limit"):
        if (number := getattr(arguments, flag)) is not None and number < 1:
            raise MarathonError(f"--{flag}: must be 1 or more, got {number}")
    order = Order(
        source=Path(arguments.source),
        output=Path(arguments.output_path),
        jobs=arguments.jobs,
        tts=arguments.tts,
        rejected=rejected_rows(Path(arguments.verdicts), recipe.recipe)
        if arguments.verdicts
        else frozenset(),
        limit=arguments.limit,
        replace=arguments.replace,
    )
    done = build(
        recipe, order, told=lambda text: print(f"marathon-eval: {text}", file=sys.stderr, flush=True)
    )
    print(
        f"{done.files} files, {done.rows} rows, {done.seconds / 3600:.2f} h: {done.made} made, the rest was there"
    )
    for entry in done.left[:20]:
        print(
            f"  left out: {entry.clips} clips, {entry.seconds:.0f} s of {entry.group or 'all'}: {entry.why}"
        )
    if len(done.left) > 20:
        print(f"  left out: {len(done.left) - 20} more groups, all in the manifest")
    print(f"manifest: {done.manifest}  ({done.seconds / max(done.wall_s, 1e-9):.0f} x real time)")
    return EXIT_WHOLE
