"""Serve the report's page on this machine: whole clips as the model heard them, and runs while they go on."""

from __future__ import annotations

import argparse

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="DIR",
        help="folder of a run, or a folder above several, also one below which a run goes on",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port on 127.0.0.1 (default: one that is free)"
    )
    parser.add_argument(
        "--with_published", action="store_true", help="add the tables that the benchmarks' authors published"
    )
    parser.add_argument(
        "--data_dir",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders in which clips are looked for that are no longer where the run found them",
    )
    parser.add_argument(
        "--use_cache",
        "-c",
        metavar="DIR",
        help="folder of a cache that holds the runs' prompts, if not the default",
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.report.served_page import ServedPage
    from marathon_eval.report.view_server import ViewServer

    if not 0 <= arguments.port <= 65535:
        raise MarathonError(f"--port: must be 0 to 65535, got {arguments.port}")
    page = ServedPage(arguments.runs, arguments.data_dir, arguments.use_cache, arguments.with_published)
    page.html()
    try:
        server = ViewServer(page, arguments.port)
    except OSError as error:
        raise MarathonError(f"--port: cannot listen on {arguments.port} ({error.strerror})") from None
    with server:
        print(server.address, flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:  # Ctrl-C and SIGTERM are how a server ends
            return EXIT_WHOLE
    return EXIT_WHOLE
