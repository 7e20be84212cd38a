"""Makes a text stream that says whether it is a terminal."""

from __future__ import annotations

import io


class Terminal(io.StringIO):
    """A text stream that says whether it is a terminal."""

    encoding = "utf-8"

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal
