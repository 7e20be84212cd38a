"""Cuts an answer to the part that states it, for metrics that read several values out of one text."""

from __future__ import annotations

import re

_LEAD = re.compile(r"(?i)\banswers?\s*(?:is|are|=|:)[\s:*]*(?!$)|[\s*]=\s*(?!$)")


def stated_part(text: str) -> str:
    """Return what follows the last "answer is", "answers are", "answer:" or "=", else the whole text."""
    parts = [found.end() for found in _LEAD.finditer(text) if text[found.end() :].strip()]
    return text[parts[-1] :] if parts else text
