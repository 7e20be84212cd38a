"""Keeps control characters of names and answers out of the terminal, which would obey them.

Everything printed on standard output passes here: names in results.json, tasks, metrics and answers come from other
people. A rich console alone writes colours, and escapes what it is given to show.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager

TYPE_CHECKING = False  # typing's own would take a tenth of `marathon-eval --help`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Escape control characters, such as `\\x1b`, and those that turn the direction of text."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def print_notes(notes: Iterable[str]) -> None:
    """Print each note on standard error."""
    for note in notes:
        print(printable(f"marathon-eval: note: {note}"), file=sys.stderr)


class EscapedStream:
    """Writes to a text stream, with control characters escaped; everything else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text, and return its length as the caller knows it."""
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each text."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Escape control characters in all that is printed on standard output inside the block."""
    stream = sys.stdout
    sys.stdout = EscapedStream(stream)
    try:
        yield
    finally:
        sys.stdout = stream


def plain_console(**settings: Any) -> Console:
    """Return a rich console on standard output that escapes control characters in everything that it renders."""
    from rich.console import Console

    class PlainConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Any]:
            for segment in super().render(renderable, options):
                escaped = (
                    segment.text
                    if segment.control or segment.text.isascii() and segment.text.isprintable()
                    else printable(segment.text)
                )
                yield segment if escaped is segment.text else segment._replace(text=escaped)

    stream = sys.stdout.stream if isinstance(sys.stdout, EscapedStream) else sys.stdout
    return PlainConsole(file=stream, markup=False, **settings)
