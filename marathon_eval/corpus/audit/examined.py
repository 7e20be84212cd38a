"""What the examination of a data set found."""

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
    """A fault and, where it is one of the release's own, its name."""

    fault: Fault
    known: KnownFault | None


@dataclass(frozen=True)
class Examined:
    """What was found, in order of task and place."""

    survey: Survey
    heard: Mapping[Path, DecodedFile]
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether every row can be used: no error that is not known."""
        return not any(item.fault.weight == "error" and item.known is None for item in self.findings)
