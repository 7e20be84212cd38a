"""Turns the file name that follows a code block's language into the block's title, which is how the site's Markdown writes it."""

from __future__ import annotations

import re
from typing import Any

_NAMED = re.compile(r"(?m)^```(\w+) (\S+/\S+)$")


def on_page_markdown(markdown: str, **about: Any) -> str:
    """Return the page with "```yaml mine/tasks/x.yaml" as "```yaml title="mine/tasks/x.yaml""; mkdocs calls this hook."""
    return _NAMED.sub(r'```\1 title="\2"', markdown)
