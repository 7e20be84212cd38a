"""Lists why rows failed, over all runs of a report, for the head of its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from marathon_eval.report.sample_columns import TaskColumns
from marathon_eval.results.failures import failure_kind


@dataclass
class FailureLine:
    """Holds one reason: `kind` is what its errors share, `first` the first error; rows by run, and by run and task."""

    kind: str
    first: str
    rows: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The rows of all runs and tasks."""
        return sum(self.rows.values())

    @property
    def runs(self) -> int:
        """The number of runs with such rows."""
        return len({run for run, _ in self.rows})


def failed_row_lines(tasks: Sequence[TaskColumns], labels: Sequence[str]) -> list[FailureLine]:
    """Group the errors of all runs by reason, the most frequent first; `labels` name the runs by number."""
    lines: dict[str, FailureLine] = {}
    for task in tasks:
        for number, columns in task.cells.items():
            for error in columns.errors.values():
                kind = failure_kind(error)
                line = lines.setdefault(kind, FailureLine(kind, error))
                place = labels[number], task.task
                line.rows[place] = line.rows.get(place, 0) + 1
    return sorted(lines.values(), key=lambda line: -line.count)
