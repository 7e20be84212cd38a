"""Adds the flag by which a user lets tasks run Python of their own."""

from __future__ import annotations

import argparse


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--trust_task_code`."""
    parser.add_argument(
        "--trust_task_code", action="store_true", help="run Python that the tasks' YAMLs name with !function"
    )
