"""Reads a report's page with an HTML parser, with its samples unpacked."""

from __future__ import annotations

import base64
import gzip
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells


class Parsed(HTMLParser):
    """Holds a page as an HTML parser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.shown: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = attrs, text + data
        elif self._inside != "style":
            self.shown.append(data)

    def data(self) -> dict[str, Any]:
        (text,) = [text for attrs, text in self.scripts if attrs.get("id") == "data"]
        loaded: dict[str, Any] = json.loads(text)
        return loaded

    def tasks(self) -> dict[str, dict[str, Any]]:
        blocks = [unpacked(text) for attrs, text in self.scripts if attrs.get("class") == "task"]
        return {block["task"]: block for block in blocks}


def unpacked(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return loaded


def parsed(folder: Path, **options: Any) -> Parsed:
    report = make_report(read_cells([folder]), options.get("with_published", False))
    return Parsed(render_page(report, folder / "report.html", **options))
