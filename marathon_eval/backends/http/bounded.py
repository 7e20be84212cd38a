"""Bounds a server's reply: its seconds from the first byte sent to the last received, and its bytes once unpacked.

The SDKs' own timeouts bound the wait for the next byte only, so that a server could send for ever; and a gzip of
3 MB unpacks to gigabytes. The bounds lie in the HTTP client, which every SDK call passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from marathon_eval.api.unpacked_reply import REPLY_ENCODINGS, reply_unpacker, unpacked_parts
from marathon_eval.backends.http.attempts import attempt_begins
from marathon_eval.backends.http.reply import NoAnswer

#: Limit in bytes of one reply, unpacked; 32,000 streamed tokens take about a quarter of it.
MAX_REPLY_BYTES = 64 << 20
_DEADLINE, _HOST = "marathon_eval.deadline", "marathon_eval.host"


def bounded_client(client: type[Any], seconds: float, **settings: Any) -> Any:
    """Return an instance of an httpx2 client class whose replies are bounded in seconds and bytes.

    A late reply raises httpx2.ReadTimeout. A reply above MAX_REPLY_BYTES, in another encoding than gzip or deflate, or
    a redirect to another host raises NoAnswer.
    """
    import httpx2

    class Bounded(client):  # type: ignore[misc]  # the class is the SDK's
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            deadline = asyncio.get_running_loop().time() + seconds
            request.headers["accept-encoding"] = REPLY_ENCODINGS
            request.extensions = {**request.extensions, _DEADLINE: deadline, _HOST: request.url.host}
            try:
                async with asyncio.timeout_at(deadline):
                    response = await super().send(request, stream=True, **options)
            except TimeoutError:
                raise httpx2.ReadTimeout("the time is over", request=request) from None
            if not stream:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
            return response

    hooks = {"request": [attempt_begins, _refuse_other_host], "response": [_bound_body]}
    return Bounded(event_hooks=hooks, **settings)


async def _refuse_other_host(request: Any) -> None:
    """Refuse to follow a redirect to another host: the audio and the prompt are for the server that the user named."""
    if request.url.host != request.extensions.get(_HOST, request.url.host):
        raise NoAnswer(f"the server redirects to {request.url.host}, another host")


async def _bound_body(response: Any) -> None:
    """Replace the response's stream by one with bounds, which also unpacks it."""
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    deadline = response.request.extensions[_DEADLINE]
    response.stream = _stream_class()(response.stream, deadline, encoding)


@cache
def _stream_class() -> type[Any]:
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
        def __init__(self, stream: Any, deadline: float, encoding: str) -> None:
            self._stream, self._deadline, self._encoding = stream, deadline, encoding

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left, chunks = MAX_REPLY_BYTES, aiter(self._stream)
            try:
                unpacker = reply_unpacker(self._encoding)
            except ValueError as error:
                raise NoAnswer(str(error)) from None
            while True:
                try:
                    async with asyncio.timeout_at(self._deadline):
                        chunk = await anext(chunks, None)
                except TimeoutError:
                    raise httpx2.ReadTimeout("the time is over") from None
                if chunk is None:
                    return
                try:
                    for part in unpacked_parts(unpacker, chunk):
                        left -= len(part)
                        if left < 0:
                            raise NoAnswer(f"the server's reply is longer than {MAX_REPLY_BYTES >> 20} MB")
                        yield part
                except ValueError as error:
                    raise NoAnswer(str(error)) from None

        async def aclose(self) -> None:
            await self._stream.aclose()

    return BoundedStream
