"""Defines the result of examining a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from marathon_eval.corpus.audit.decode import DecodedFile
from marathon_eval.corpus.audit.expected import KnownFault
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.survey import Survey


class Finding(NamedTuple):
    """Holds a fault, and the known fault of the release that explains it, if any."""

    fault: Fault
    known: KnownFault | None


@dataclass(frozen=True)
class Examined:
    """Holds the rows and files of a data set, the decoded files by path, and the findings in order of task and place."""

    survey: Survey
    heard: Mapping[Path, DecodedFile]
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether rows were read and each can be used: all faults of weight "error" are known faults of the release."""
        return bool(self.survey.rows) and not any(
            item.fault.weight == "error" and item.known is None for item in self.findings
        )
