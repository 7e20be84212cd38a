"""Holds a document with its requests, and adds the requests of a dialogue's later turns once answers are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from marathon_eval.api.doc import Doc
from marathon_eval.api.model import Request, Response
from marathon_eval.errors import RowError
from marathon_eval.scoring.scorer import SCORABLE_STATUS


class DialoguePlan(NamedTuple):
    """Holds a function that builds the next turn's request, and the full dialogue with placeholder answers."""

    next_turn: Callable[[Sequence[str]], Request | None]
    whole: Request

    def lacks_turns(self, responses: Sequence[Response]) -> bool:
        """Return whether a further turn is to be asked after these responses; False after one that failed."""
        if any(response.status not in SCORABLE_STATUS for response in responses):
            return False
        try:
            return self.next_turn([response.text for response in responses]) is not None
        except RowError:  # there is a further turn, but its request cannot be built
            return True


class DocRequests(NamedTuple):
    """Holds one document with its requests, or the error because of which it has none.

    There is one request per repeat. A dialogue has one per turn: the first, and each later one once it can be built.
    """

    doc: Doc
    requests: list[Request]
    error: str | None
    dialogue: DialoguePlan | None = None

    @property
    def recorded(self) -> Request | None:
        """The request whose prompt and clips the sample records: the first; of a dialogue, the whole."""
        if self.dialogue is not None:
            return self.dialogue.whole
        return self.requests[0] if self.requests else None


def ask_later_turns(
    doc_requests: Mapping[str, list[DocRequests]],
    responses: Mapping[Request, Response],
    ask_more: Callable[[list[Request]], None],
    again: Callable[[list[Request]], None],
) -> None:
    """Ask every dialogue's later turns, all second turns together, then all third ones; a failed turn ends its dialogue.

    Each request is added to its document's. A turn that cannot be built makes an error row. `again` is called with the
    requests of each round.
    """
    waiting = [
        (items, place)
        for items in doc_requests.values()
        for place, item in enumerate(items)
        if item.dialogue is not None and item.requests
    ]
    while waiting:
        further = [(items, place) for items, place in waiting if _continued(items, place, responses)]
        requests = list(dict.fromkeys(items[place].requests[-1] for items, place in further))
        if requests:
            ask_more(requests)
            again(requests)
        waiting = further


def _continued(items: list[DocRequests], place: int, responses: Mapping[Request, Response]) -> bool:
    """Add the next turn's request to a dialogue; return whether there is one."""
    item = items[place]
    answers = [responses[request] for request in item.requests if request in responses]
    if (
        item.dialogue is None
        or len(answers) < len(item.requests)
        or any(answer.status not in SCORABLE_STATUS for answer in answers)
    ):
        return False
    try:
        request = item.dialogue.next_turn([answer.text for answer in answers])
    except RowError as error:
        items[place] = DocRequests(item.doc, [], str(error))
        return False
    if request is not None:
        item.requests.append(request)
    return request is not None
