"""Defines the lines of a self-test: what was checked, the verdict, and what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

TestVerdict = Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True)
class SelfTestLine:
    """Reports one check: its name, its verdict, and the figures or the reason in words."""

    name: str
    verdict: TestVerdict
    said: str


class NotApplicable(Exception):
    """Says that a check has nothing to check here; the message says why."""


class CheckFailed(Exception):
    """Says that a check found something wrong; the message says what."""


@dataclass
class SelfTestResult:
    """Holds all lines of one model's self-test, and what it ran on."""

    model: str
    fingerprint: dict[str, Any]
    setting: dict[str, Any] = field(default_factory=dict)
    lines: list[SelfTestLine] = field(default_factory=list)
    seconds: float = 0.0
    #: When it began, in UTC as results.json has times.
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    @property
    def failed(self) -> list[SelfTestLine]:
        """Return the lines whose verdict is fail."""
        return [line for line in self.lines if line.verdict == "fail"]

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON, for `--output`, `--json` and the `--selftest` of a run."""
        return {
            "schema_version": 1,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "setting": self.setting,
            "date": self.date,
            "seconds": round(self.seconds, 1),
            "lines": [{"check": x.name, "verdict": x.verdict, "said": x.said} for x in self.lines],
        }

    def check(self, name: str, look: Callable[[], str]) -> bool:
        """Add the line of one check and return whether it did not fail.

        `look` returns what was seen; it raises NotApplicable, CheckFailed, or any other error, which is a failure too.
        """
        try:
            line = SelfTestLine(name, "pass", look())
        except NotApplicable as reason:
            line = SelfTestLine(name, "not applicable", str(reason))
        except CheckFailed as wrong:
            line = SelfTestLine(name, "fail", str(wrong))
        except Exception as error:  # noqa: BLE001 - a check that breaks is a failed line, and the others still run
            line = SelfTestLine(name, "fail", f"{type(error).__name__}: {error}".partition("\n")[0])
        self.lines.append(line)
        return line.verdict != "fail"


def require(condition: bool, said: str) -> None:
    """Raise CheckFailed with `said` unless the condition holds."""
    if not condition:
        raise CheckFailed(said)
