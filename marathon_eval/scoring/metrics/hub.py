"""Metrics of Hugging Face's `evaluate`, by hub name or path: `metric: evaluate:<name>`, imported only when asked for.

They are Python code from the hub or a folder, so the entry has to say `trust_remote_code: true`, and, since a task may be a
stranger's, the user `MARATHON_EVAL_TRUST_REMOTE_CODE=1`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.metric import Mean, ScoredRow
from marathon_eval.errors import MarathonError

#: A task cannot trust itself.
TRUSTED = "MARATHON_EVAL_TRUST_REMOTE_CODE"


class HubMetric(Mean):
    """One number per row, averaged, as lm-eval does with `hf_evaluate`; a metric over the corpus is another number.

    Options: `key` (which number of the result; by default the metric's name, or the only one), all others go to
    `compute`. Raises MarathonError where the metric cannot be loaded.
    """

    def __init__(self, called: str, options: Mapping[str, Any], where: str) -> None:
        super().__init__(called.rstrip("/").rpartition("/")[2].removesuffix(".py"), self._compute)
        rest = dict(options)
        if rest.pop("trust_remote_code", False) is not True:
            raise MarathonError(
                f"{where}: metric 'evaluate:{called}' runs code that is not part of this package; "
                "write trust_remote_code: true in its entry if you trust it"
            )
        if os.environ.get(TRUSTED) != "1":
            raise MarathonError(
                f"{where}: metric 'evaluate:{called}' asks to run code that is not part of this package; "
                f"set {TRUSTED}=1 in the environment if you trust it"
            )
        self._key = rest.pop("key", None)
        self._options = rest
        self._where = where
        self._metric = _loaded(called, where)

    def _compute(self, row: ScoredRow) -> float | None:
        references = list(row.targets) if len(row.targets) > 1 else row.label
        result = self._metric.compute(
            predictions=[row.answer.value or ""], references=[references], **self._options
        )
        key = self._key or (self.name if self.name in result else next(iter(result)))
        if key not in result:
            raise MarathonError(
                f"{self._where}: metric '{self.name}' has no '{key}'. It has: {', '.join(result)}"
            )
        return float(result[key])


def _loaded(called: str, where: str) -> Any:
    from marathon_eval.api.torchvision import hide_broken_torchvision

    hide_broken_torchvision()  # evaluate imports transformers, which a broken one would take down
    try:
        import evaluate

        return evaluate.load(called)
    except (ImportError, OSError, ValueError, TypeError, AttributeError, SyntaxError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise MarathonError(f"{where}: metric 'evaluate:{called}' cannot be loaded ({reason})") from None
