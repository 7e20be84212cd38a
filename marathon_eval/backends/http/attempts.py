"""What is done at each attempt to send a request: the SDKs ask again by themselves, and tell nobody.

Their waiting is no answer's time, so the clock restarts; and a host that takes no connection is given up in seconds,
while one that thinks for minutes is not.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

CONNECT_SECONDS = 10.0
_CURRENT: ContextVar[AttemptClock] = ContextVar("the clock of the call that this task makes")


class AttemptClock:
    """Seconds since the last attempt of one call was sent, and how many attempts there were."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.attempts = 0
        _CURRENT.set(self)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def retries(self) -> int | None:
        """None when the first attempt was answered."""
        return self.attempts - 1 if self.attempts > 1 else None


async def attempt_begins(request: Any) -> None:
    """For the `request` hook of an httpx2 client: runs in the task that sends, just before it does."""
    limits = request.extensions.get("timeout") or {}
    if (limits.get("connect") or 0.0) > CONNECT_SECONDS:
        limits["connect"] = CONNECT_SECONDS
    clock = _CURRENT.get(None)
    if clock is not None:
        clock.began, clock.attempts = time.monotonic(), clock.attempts + 1


HOOKS: dict[str, list[Any]] = {"request": [attempt_begins]}
