"""Stops a run when one reason fails every request: a wrong setting needs no thousands of error rows to be seen."""

from __future__ import annotations

from dataclasses import dataclass

from marathon_eval.errors import MarathonError

#: After this many failures in a row with the same reason and no answer between, a run stops with that reason.
SAME_FAILURES = 10
#: Begins the error of a request that was never sent, because a server is down; it doesn't count as a failure of its own.
NEVER_SENT = "not asked: "


@dataclass
class SameFailures:
    """Counts failures that have one reason and no answer between them; `model` is the flag and name for the message."""

    model: str
    reason: str | None = None
    count: int = 0

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
