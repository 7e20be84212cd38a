"""Runs a headless Chromium for the report's tests: finds it, starts it, and records what a page does."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Page, sync_playwright

from conftest import ROOT

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
#: What scripts/dev/install_browser unpacks where it may install nothing, and why it could not.
UNPACKED = ROOT / ".venv" / "chromium"
NO_BROWSER = ROOT / ".venv" / "no_browser"
LOCAL = ("file:", "data:", "blob:")
RULES = "axe.run(document, {resultTypes: ['violations']}).then((found) => JSON.stringify(found.violations))"


@dataclass
class Opened:
    """Holds a page, and its messages and requests since it was opened."""

    page: Page
    devtools: CDPSession
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Return every requested address that is not on this disk."""
        return [url for url in self.requests if not url.startswith(LOCAL)]

    def serious_faults(self) -> list[str]:
        """Return the serious and critical findings of axe-core.

        It is injected by the devtools, because the page's policy admits no script.
        """
        self.devtools.send("Runtime.evaluate", {"expression": AXE_SCRIPT})
        asked = {"expression": RULES, "awaitPromise": True, "returnByValue": True}
        found: list[dict[str, Any]] = json.loads(
            self.devtools.send("Runtime.evaluate", asked)["result"]["value"]
        )
        return [
            f"{fault['id']}: {node['html'][:120]} ({node['failureSummary'][:200]})"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Return Debian's Chromium, a system's own, or the unpacked one; fail the test if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((found for found in map(shutil.which, names) if found), None)
    env: dict[str, str | float | bool] = dict(os.environ)
    if executable is None:
        executable = str(UNPACKED / "usr/lib/chromium/chromium")
        env["LD_LIBRARY_PATH"] = ":".join(map(str, sorted(UNPACKED.glob("usr/lib/*-linux-gnu"))))
    if not Path(executable).is_file():
        known = NO_BROWSER.read_text(encoding="utf-8") if NO_BROWSER.is_file() else "no Chromium was found\n"
        pytest.fail(
            f"{known}scripts/dev/install_browser tries again; MARATHON_NO_BROWSER=1 leaves these tests out"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS, env=env)
        try:
            yield browser
        finally:
            browser.close()


def wait_until(page: Page, expression: str, argument: Any = None, seconds: float = 60.0) -> None:
    """Evaluate a JavaScript expression until it is true; fail the test after so many seconds.

    Page.wait_for_function waits inside of the page, where the page's own policy refuses to evaluate text again.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"still not true after {seconds} s: {expression}"
        page.wait_for_timeout(50)


@contextmanager
def opened(browser: Browser, file: Path, width: int = 1400, scheme: Any = "light") -> Iterator[Opened]:
    """Open the report at `file`, with its samples unpacked, in a window of its own."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    seen = Opened(page, context.new_cdp_session(page))

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            seen.complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    try:
        page.goto(file.as_uri())
        page.wait_for_selector("#s-row-0", timeout=60_000)
        yield seen
    finally:
        context.close()
