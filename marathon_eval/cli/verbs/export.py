"""Write a data set as plain files: rows.jsonl, and the audio that its tables hold below audio/.

DATASET is a data file (parquet, csv, tsv, json, jsonl), a folder or a name on the hub. A task reads the copy with
dataset_path: jsonl, dataset_kwargs: {data_files: rows.jsonl}.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from marathon_eval.cli.main import EXIT_WHOLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="a data file, a folder or a name on the hub")
    parser.add_argument("folder", metavar="DIR", help="the folder to write; it must not hold rows.jsonl")
    parser.add_argument("--split", default="test", metavar="NAME", help="the split to write (default test)")
    parser.add_argument("--name", metavar="NAME", help="the configuration of a data set that has several")
    parser.add_argument("--revision", metavar="REV", help="commit, branch or tag on the hub")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.plain_copy import export_rows

    written = export_rows(
        arguments.dataset, Path(arguments.folder), arguments.split, arguments.name, arguments.revision
    )
    print(f"{written.path}: {written.rows} rows, {written.files} audio files")
    return EXIT_WHOLE
