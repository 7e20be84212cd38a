"""Push finished runs to a dataset on the Hugging Face hub, or log them to wandb, mlflow or trackio.

marathon-eval push RUN hf://datasets/OWNER/NAME     the files of a run, or of all runs below a folder
marathon-eval push RUN wandb:PROJECT                what `--log_to wandb:PROJECT` logs when a run ends
"""

from __future__ import annotations

import argparse
from pathlib import Path

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.errors import MarathonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or a folder above several")
    parser.add_argument(
        "to",
        nargs="+",
        metavar="TO",
        help="hf://datasets/OWNER/NAME (with /FOLDER or @BRANCH), wandb, mlflow or trackio (with :PROJECT)",
    )
    parser.add_argument(
        "--public",
        action="store_true",
        help="make a new repository on the hub public; without it a new one is private",
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results.files import read_results
    from marathon_eval.results.hub_push import HubPlace, parse_hub_place, push_runs
    from marathon_eval.results.trackers import log_run, parse_tracker

    places = [
        parse_hub_place(text, "push") if text.startswith("hf:") else parse_tracker(text, "push")
        for text in arguments.to
    ]
    folders = folders_of_runs(Path(arguments.run))
    results = {
        folder: read_results(folder) for folder in folders
    }  # a damaged run is refused before any is sent
    for text, place in zip(arguments.to, places, strict=True):
        if isinstance(place, HubPlace):
            print(printable(f"{len(folders)} pushed: {push_runs(folders, place, arguments.public)}"))
            continue
        for folder in folders:
            log_run(place, results[folder], folder, "push")
        print(printable(f"{len(folders)} pushed: {text}"))
    return EXIT_WHOLE


def folders_of_runs(path: Path) -> list[Path]:
    """Return the folder of a run, or those of all runs below a folder. Raises MarathonError if there is none."""
    if (path / "results.json").is_file():
        return [path]
    folders = sorted(file.parent for file in path.glob("**/results.json"))
    if not folders:
        raise MarathonError(f"{path}: no results.json here or below")
    return folders
