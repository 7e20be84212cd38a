"""Stops a run when one reason fails every request: a wrong setting needs no thousands of error rows to be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.api.model import Model
    from marathon_eval.api.request import Response

#: After this many failures in a row with the same reason and no answer between, a run stops with that reason.
SAME_FAILURES = 10
#: Begins the error of a request that was never sent, because a server is down; it doesn't count as a failure of its own.
NEVER_SENT = "not asked: "


def never_sent(response: Response) -> bool:
    """Return whether the response stands for a request that was never sent: a budget is spent, or a server is down."""
    return response.status == "error" and (response.error or "").startswith(NEVER_SENT)


@dataclass
class SameFailures:
    """Counts failures that have one reason and no answer between them; `model` is the flag and name for the message."""

    model: str
    reason: str | None = None
    count: int = 0

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the count of a model's failures, at 0."""
        return cls(f"{model.flags.model} {model.name()}")

    def note(self, error: str | None) -> None:
        """Count the error of a failed request, or None for an answer.

        Raises MarathonError at the tenth failure in a row that has the same reason.
        """
        if error is not None and error.startswith(NEVER_SENT):
            return
        self.count = 0 if error is None else self.count + 1 if error == self.reason else 1
        self.reason = error
        if self.count >= SAME_FAILURES:
            raise MarathonError(
                f"{self.model}: stopped, because {self.count} requests in a row failed with the same reason: {error} "
                "(answers before them are kept, and a rerun goes on from there)"
            )
