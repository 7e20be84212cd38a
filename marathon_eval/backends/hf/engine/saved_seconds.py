"""Counts the encode and prefill seconds that a batch saved by reusing earlier work, and adds them to its responses.

With the saved seconds added, a response's usage says what it would have cost in a run of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marathon_eval.api.model import Response


@dataclass
class SavedSeconds:
    """Holds the encode and prefill seconds that the current batch saved."""

    encode: float = 0.0
    prefill: float = 0.0

    def added_to(self, responses: list[Response]) -> list[Response]:
        """Return the batch's responses with the saved seconds in their usage, divided evenly over the batch.

        `usage.details["shared"]` names the stages that were reused.
        """
        stages = [name for name in ("encode", "prefill") if getattr(self, name)]
        if not stages:
            return responses
        return [self._added_to(response, len(responses), stages) for response in responses]

    def _added_to(self, response: Response, batch_size: int, stages: list[str]) -> Response:
        usage = response.usage
        return replace(
            response,
            usage=replace(
                usage,
                encode_s=round((usage.encode_s or 0.0) + self.encode / batch_size, 6),
                prefill_s=round((usage.prefill_s or 0.0) + self.prefill / batch_size, 6),
                details={**usage.details, "shared": stages},
            ),
        )
