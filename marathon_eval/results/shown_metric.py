"""Chooses the metric that stands for a reading where two runs are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shown_metric(task: Mapping[str, Any], reading: str) -> str:
    """Return the metric of a reading that tables show: the headline's, or else the first; empty without any.

    The test of the reading's right and wrong rows stands beside it.
    """
    metrics, wanted = task["readings"][reading]["metrics"], (task["headline"] or {}).get("metric")
    return str(wanted if wanted in metrics else next(iter(metrics), ""))
