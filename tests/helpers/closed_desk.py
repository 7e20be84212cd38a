"""Shuts a test off: it may change files in one folder only, and open no connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Connected(BaseException):
    """Reports a connection; no handler of errors catches it."""


@contextmanager
def closed_desk(parent: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a folder the current one and the home; fail if anything beside it changes or a connection is opened."""

    def refuse(*_: Any) -> Any:
        raise Connected

    desk = parent / "desk"
    desk.mkdir()
    (parent / "witness").write_text("unchanged")
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(desk))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield desk
    assert sorted(path.name for path in parent.iterdir()) == ["desk", "witness"]
    assert (parent / "witness").read_text() == "unchanged"
