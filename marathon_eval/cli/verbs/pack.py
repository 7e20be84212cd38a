"""Pack a finished run into one archive that `unpack_verify` can score again on another machine.

The archive holds results, samples, task files, documents, prompt hashes, package versions and cached responses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.errors import MarathonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="folder of a finished run, or a folder above it (its newest run is taken)"
    )
    parser.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        help="the archive to write (default: the run's folder name with .tar.gz, beside that folder)",
    )
    parser.add_argument("--data_dir", metavar="DIR", help="local copy of the dataset, if the run used one")
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with the run's tasks"
    )
    parser.add_argument(
        "--use_cache", "-c", metavar="DIR", help="folder of the cache with the run's responses"
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.rescore.archive import write_archive
    from marathon_eval.evaluator.rescore.verify_archive import archive_files
    from marathon_eval.results.files import newest_run

    folder = newest_run(Path(arguments.run)).resolve()
    target = Path(arguments.output or folder.with_name(f"{folder.name}.tar.gz"))
    if not target.name.endswith(".tar.gz"):
        raise MarathonError(f"--output: {target} must end in .tar.gz")
    typed = {name: getattr(arguments, name) for name in ("data_dir", "use_cache")}
    files, unused = archive_files(folder, {**typed, "include_path": tuple(arguments.include_path)})
    if unused is not None:
        print(printable(unused), file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_archive(target, files)
    print(f"{target}: {len(files)} files")
    return EXIT_WHOLE
