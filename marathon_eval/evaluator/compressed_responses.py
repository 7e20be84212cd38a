"""Stores a run's responses by request; after the first thousands as JSON text, in half the memory of objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import fields
from operator import attrgetter

from marathon_eval.api.model import Request, Response, Usage

#: The first responses stay objects, because encoding and decoding take time; later ones are stored as JSON text.
AS_THEY_ARE = 8192
_OF_RESPONSE = attrgetter("text", "finish_reason", "status", "error")
_OF_USAGE = attrgetter(*(field.name for field in fields(Usage)))
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


class Responses(MutableMapping[Request, Response]):
    """Maps requests to responses. A response stored as JSON is decoded at each access; its tuples become lists."""

    def __init__(self, answers: Iterable[tuple[Request, Response]] = ()) -> None:
        self._stored: dict[Request, Response | str] = {}
        self.update(answers)

    def __setitem__(self, request: Request, response: Response) -> None:
        small = len(self._stored) < AS_THEY_ARE
        self._stored[request] = (
            response if small else _TEXT.encode([_OF_RESPONSE(response), _OF_USAGE(response.usage)])
        )

    def __getitem__(self, request: Request) -> Response:
        return _response(self._stored[request])

    def take(self, request: Request) -> Response | None:
        """Return the response and remove it, or return None if there is none."""
        stored = self._stored.pop(request, None)
        return None if stored is None else _response(stored)

    def __delitem__(self, request: Request) -> None:
        del self._stored[request]

    def __iter__(self) -> Iterator[Request]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def clear(self) -> None:
        """Remove all responses at once; MutableMapping would remove them one by one."""
        self._stored.clear()


def _response(stored: Response | str) -> Response:
    if not isinstance(stored, str):
        return stored
    (text, finish_reason, status, error), usage = json.loads(stored)
    return Response(text, finish_reason, status, error, Usage(*usage))
