"""Responses by request, for as long as a run asks: beyond the first thousands as JSON text, in half the objects' room."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import fields
from operator import attrgetter

from marathon_eval.api.model import Request, Response, Usage

#: So many are held as objects: making text and reading it takes time, and a run of this size has the room.
AS_THEY_ARE = 8192
_OF_RESPONSE = attrgetter("text", "finish_reason", "status", "error")
_OF_USAGE = attrgetter(*(one.name for one in fields(Usage)))
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


class Responses(MutableMapping[Request, Response]):
    """What was answered. What is taken out of the later ones is made anew each time: lists, where a tuple was put in."""

    def __init__(self, answers: Iterable[tuple[Request, Response]] = ()) -> None:
        self._held: dict[Request, Response | str] = {}
        self.update(answers)

    def __setitem__(self, request: Request, response: Response) -> None:
        small = len(self._held) < AS_THEY_ARE
        self._held[request] = (
            response if small else _TEXT.encode([_OF_RESPONSE(response), _OF_USAGE(response.usage)])
        )

    def __getitem__(self, request: Request) -> Response:
        return _response(self._held[request])

    def take(self, request: Request) -> Response | None:
        """The response, which is held no longer."""
        held = self._held.pop(request, None)
        return None if held is None else _response(held)

    def __delitem__(self, request: Request) -> None:
        del self._held[request]

    def __iter__(self) -> Iterator[Request]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        """Not one by one, as the mixin does."""
        self._held.clear()


def _response(held: Response | str) -> Response:
    if not isinstance(held, str):
        return held
    (text, finish_reason, status, error), usage = json.loads(held)
    return Response(text, finish_reason, status, error, Usage(*usage))
