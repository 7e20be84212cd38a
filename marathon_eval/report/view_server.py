"""Serves the report's page on loopback: an address with a random token, whole clips by byte ranges, live counts.

Only who knows the token gets anything, so that other users of the machine do not; and only by the name of this machine,
so that no web site reaches it by a name of its own (DNS rebinding).
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, cast

from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.report.served_page import PLAYED, ServedPage, heard_as_wav, peaks_of

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65_536
_CLIP_NUMBER = re.compile("[0-9]{1,9}")
#: Sent with everything: nothing is kept, and no other site may embed it or learn the address.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ViewServer(ThreadingHTTPServer):
    """Serves one page at `address`. Raises OSError if the port is taken."""

    daemon_threads = True
    #: Another user's program cannot take the port over while this one listens.
    allow_reuse_address = False

    def __init__(self, page: ServedPage, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.page = page
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        """The address to open, token included."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _server(self) -> ViewServer:
        return cast("ViewServer", self.server)

    def do_GET(self) -> None:
        # a browser closes the connection of a clip that it has heard enough of
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a line would hold the token."""

    def _answer(self) -> None:
        parts = self.path.partition("?")[0].split("/")
        token, rest = parts[1] if len(parts) > 1 else "", parts[2:]
        known = secrets.compare_digest(token.encode("utf-8", "replace"), self._server.token.encode())
        if not known or self.headers.get("Host") not in self._server.hosts:
            self._text(
                HTTPStatus.FORBIDDEN, "This address needs the token that `marathon-eval view` printed."
            )
            return
        page = self._server.page
        try:
            match rest:
                case [""]:
                    self._send(page.html().encode(), "text/html; charset=utf-8")
                case ["status.json"]:
                    self._json(page.status())
                case ["clip", number] if _CLIP_NUMBER.fullmatch(number):
                    self._clip(int(number))
                case ["peaks", number] if _CLIP_NUMBER.fullmatch(number):
                    self._json(peaks_of(page.clips.audio(int(number))))
                case _:
                    self._text(HTTPStatus.NOT_FOUND, "Nothing is here.")
        except (AudioError, LookupError) as error:
            self._text(HTTPStatus.NOT_FOUND, f"The clip cannot be read: {error}")
        except (MarathonError, OSError) as error:
            if isinstance(error, BrokenPipeError | ConnectionResetError):
                raise
            self._text(HTTPStatus.INTERNAL_SERVER_ERROR, f"The runs cannot be read: {error}")

    def _clip(self, number: int) -> None:
        audio = self._server.page.clips.audio(number)
        kind = PLAYED.get(audio.path[audio.path.rfind(".") :].lower())
        if kind is None or audio.start or audio.stop is not None or audio.transform:
            self._send(heard_as_wav(audio), "audio/wav", ranges=True)
            return
        try:
            file = open(audio.path, "rb")  # noqa: SIM115 - closed below, after the headers are known
        except OSError as error:
            raise AudioError(f"{audio.path}: {error.strerror}") from None
        with file:
            size = file.seek(0, 2)
            self._ranged(file, size, kind)

    def _ranged(self, file: BinaryIO, size: int, kind: str) -> None:
        wanted = byte_range(self.headers.get("Range"), size)
        if wanted is None:
            self._head(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, 0, {"Content-Range": f"bytes */{size}"}
            )
            return
        first, last = wanted
        partial = self.headers.get("Range") is not None
        headers = {
            "Accept-Ranges": "bytes",
            **({"Content-Range": f"bytes {first}-{last}/{size}"} if partial else {}),
        }
        self._head(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK, kind, last - first + 1, headers)
        if self.command == "HEAD":
            return
        file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            self.wfile.write(chunk)
            left -= len(chunk)

    def _send(self, content: bytes, kind: str, ranges: bool = False) -> None:
        if ranges:
            import io

            self._ranged(io.BytesIO(content), len(content), kind)
            return
        self._head(HTTPStatus.OK, kind, len(content), {})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _text(self, status: HTTPStatus, text: str) -> None:
        content = text.encode("utf-8", "replace")
        self._head(status, "text/plain; charset=utf-8", len(content), {})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: HTTPStatus, kind: str, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(length),
            **HEADERS,
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a Range header asks for (RFC 9110, 14.1.2); None if there are no such bytes.

    Without a header it is the whole file. Several ranges at once are refused, as the RFC allows.
    """
    if header is None:
        return 0, size - 1
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip(), re.ASCII)
    if not found or found.group(0).endswith("=-"):
        return None
    first, last = found.groups()
    if not first:
        length = int(last)
        return (max(0, size - length), size - 1) if length and size else None
    end = min(int(last), size - 1) if last else size - 1
    return (int(first), end) if int(first) <= end else None
