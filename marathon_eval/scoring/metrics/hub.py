"""Runs metrics of Hugging Face's `evaluate`, by hub name or path: `metric: evaluate:<name>`; imported where used.

They are Python code from the hub or a folder. So the metric's entry has to say `trust_remote_code: true` and, because
the author of a task may be a stranger, the user has to set `MARATHON_EVAL_TRUST_REMOTE_CODE=1`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.metric import Mean, ScoredRow
from marathon_eval.errors import MarathonError

#: The environment variable by which the user, not the task's author, trusts such code.
TRUSTED = "MARATHON_EVAL_TRUST_REMOTE_CODE"


class HubMetric(Mean):
    """Averages one number per row, as lm-eval does with `hf_evaluate`; this differs from the metric over the corpus.

    The option `key` names the number of the result (by default the metric's name, else the first number); all other
    options go to `compute`. Raises MarathonError where the metric is not trusted or cannot be loaded.
    """

    def __init__(self, path: str, options: Mapping[str, Any], where: str) -> None:
        super().__init__(
            path.rstrip("/").rpartition("/")[2].removesuffix(".py"), self._compute, counts_unscored=True
        )
        arguments = dict(options)
        if arguments.pop("trust_remote_code", False) is not True:
            raise MarathonError(
                f"{where}: metric 'evaluate:{path}' runs code that is not part of this package; "
                "write trust_remote_code: true in its entry if you trust it"
            )
        if os.environ.get(TRUSTED) != "1":
            raise MarathonError(
                f"{where}: metric 'evaluate:{path}' asks to run code that is not part of this package; "
                f"set {TRUSTED}=1 in the environment if you trust it"
            )
        self._key = arguments.pop("key", None)
        self._options = arguments
        self._where = where
        self._metric = _loaded(path, where)

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


def _loaded(path: str, where: str) -> Any:
    from marathon_eval.api.torchvision import hide_broken_torchvision

    hide_broken_torchvision()  # evaluate imports transformers, whose import a broken torchvision breaks
    try:
        import evaluate

        return evaluate.load(path)
    except (ImportError, OSError, ValueError, TypeError, AttributeError, SyntaxError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise MarathonError(f"{where}: metric 'evaluate:{path}' cannot be loaded ({reason})") from None
