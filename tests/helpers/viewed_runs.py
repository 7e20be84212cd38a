"""Runs `marathon-eval view` as a process of its own, and asks it as a browser would."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    """Holds a status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Viewed:
    """Holds a running server; `get` asks it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address
        self.place = urlsplit(address)

    def get(self, name: str, token: str | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port or 0, timeout=60)
        path = self.place.path if token is None else f"/{token}/"
        with closing(connection):
            return self._asked(connection, path + name, headers)

    def get_path(self, path: str) -> Reply:
        with closing(
            http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=60)
        ) as asked:
            return self._asked(asked, path, {})

    @staticmethod
    def _asked(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> Reply:
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        reply = connection.getresponse()
        return Reply(reply.status, dict(reply.getheaders()), reply.read())

    def status(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.get("status.json").body)
        return loaded


@contextmanager
def viewed(*runs: Path) -> Iterator[Viewed]:
    command = [sys.executable, "-m", "marathon_eval", "view", *map(str, runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate(timeout=60)[1]
        yield Viewed(process, address)
    finally:
        process.kill()
        process.wait(60)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
