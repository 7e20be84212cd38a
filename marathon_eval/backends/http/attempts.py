"""Provides the request hook that times and counts the SDK's own retries, which the SDK does not report.

The hook restarts the clock at each attempt, so that waiting between retries does not count as response time. It also
limits the time to connect to `CONNECT_SECONDS`; the time to respond keeps the longer limit of `timeout=`.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

#: The limit for establishing a connection.
CONNECT_SECONDS = 10.0
_CURRENT: ContextVar[AttemptClock] = ContextVar("the clock of the call that this task makes")


class AttemptClock:
    """Counts the attempts of one call and measures the seconds since the last attempt was sent."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.attempts = 0
        _CURRENT.set(self)

    @property
    def seconds(self) -> float:
        """Return the seconds since the last attempt was sent."""
        return time.monotonic() - self.began

    @property
    def retries(self) -> int | None:
        """Return the number of retries; None when the first attempt succeeded."""
        return self.attempts - 1 if self.attempts > 1 else None


async def attempt_begins(request: Any) -> None:
    """Restart the current call's clock.

    An httpx2 client runs this `request` hook in the sending task before each attempt.
    """
    limits = request.extensions.get("timeout") or {}
    if (limits.get("connect") or 0.0) > CONNECT_SECONDS:
        limits["connect"] = CONNECT_SECONDS
    clock = _CURRENT.get(None)
    if clock is not None:
        clock.began, clock.attempts = time.monotonic(), clock.attempts + 1
