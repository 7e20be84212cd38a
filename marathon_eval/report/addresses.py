"""Writes the links of a page that open rows: `#run=...&task=...`, which page_state.js.j2 reads."""

from __future__ import annotations

from urllib.parse import quote


def address(**state: str) -> str:
    """Return a link within the page to the rows that `state` names: run, task, outcome, error and the like."""
    return "#" + "&".join(f"{key}={quote(text, safe='', errors='replace')}" for key, text in state.items())
