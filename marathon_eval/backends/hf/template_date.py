"""Gives chat templates that write today's date the same date on every day.

Granite's and Llama's templates put the date into a system turn by `strftime_now("...")`
(https://huggingface.co/docs/transformers/chat_templating_writing). The prompt of a cached response must not depend on the
day on which it was asked for. transformers takes no function from a caller, so the call is replaced by its result.
"""

from __future__ import annotations

import re
from datetime import date

#: The date that templates are given.
_DAY = date(2025, 1, 1)
_CALL = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")


def with_fixed_date(template: str) -> str:
    """Return the chat template with the fixed date in place of today's."""
    return _CALL.sub(lambda call: repr(_DAY.strftime(call[2])), template)
