"""Build long audio with questions from a corpus of short recordings, following a recipe.

Source files are examined first by the checks of `doctor`: a damaged or silent one ends the build before a file is made.
The data set's manifest records for every second of audio which source file it comes from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="name of a shipped recipe (tau, gtzan, had, ...), or the path of a recipe's YAML file",
    )
    parser.add_argument(
        "--source",
        required=True,
        metavar="DIR",
        help="folder of the source corpus, unpacked as its publishers distribute it",
    )
    parser.add_argument(
        "--output_path", "-o", required=True, metavar="DIR", help="folder of the data set to write"
    )
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with more recipes/"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="number of files to build at the same time (default 1)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed to use instead of the recipe's")
    parser.add_argument(
        "--lengths",
        metavar="S,S",
        help="lengths of position probes in seconds, separated by commas, instead of the recipe's",
    )
    parser.add_argument(
        "--depths",
        metavar="P,P",
        help="depths of the event in position probes, in per cent of a clip (0 start, 100 end), instead of the recipe's",
    )
    parser.add_argument(
        "--distractors",
        type=int,
        metavar="N",
        help="number of distracting sounds in each position probe, instead of the recipe's",
    )
    parser.add_argument("--limit", "-L", type=int, metavar="N", help="build only the first N files")
    parser.add_argument(
        "--tts",
        metavar="COMMAND",
        help='command that reads the file {text} aloud into {wav}, such as "espeak-ng -f {text} -w {wav}"',
    )
    parser.add_argument(
        "--verdicts", metavar="FILE", help="verdicts.json of a `review`; rows rejected there are not built"
    )
    parser.add_argument(
        "--replace", action="store_true", help="overwrite a finished build that was made with other settings"
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.audit.review import rejected_rows
    from marathon_eval.corpus.audit.source_checks import refuse_bad_sources
    from marathon_eval.corpus.build.builder import build
    from marathon_eval.corpus.build.needle_flags import with_needle_flags
    from marathon_eval.corpus.build.pipeline import Order
    from marathon_eval.corpus.build.recipe import load_recipe

    recipe = with_needle_flags(
        load_recipe(arguments.recipe, arguments.include_path),
        arguments.lengths,
        arguments.depths,
        arguments.distractors,
    )
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
        rejected=rejected_rows(Path(arguments.verdicts), "--verdicts", recipe.recipe)
        if arguments.verdicts
        else frozenset(),
        limit=arguments.limit,
        replace=arguments.replace,
    )

    def told(text: str) -> None:
        print(f"marathon-eval: {text}", file=sys.stderr, flush=True)

    def examine(root: Path, names: Sequence[str]) -> None:
        refuse_bad_sources(root, names, order.jobs, told)

    built = build(recipe, order, told, examine)
    print(
        f"{built.files} files, {built.rows} rows, {built.seconds / 3600:.2f} h: {built.made} new, the others existed already"
    )
    for entry in built.left[:20]:
        print(
            f"  left out: {entry.clips} clips, {entry.seconds:.0f} s of {entry.group or 'all'}: {entry.why}"
        )
    if len(built.left) > 20:
        print(f"  left out: {len(built.left) - 20} more groups, all in the manifest")
    print(f"manifest: {built.manifest}  ({built.seconds / max(built.wall_s, 1e-9):.0f} x real time)")
    return EXIT_WHOLE
