"""Evaluates long-audio language models.

`import marathon_eval` loads nothing else: each public name is imported from its module on first use.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "Generation",
    "MarathonError",
    "Model",
    "Request",
    "Response",
    "Usage",
    "cached_answers",
    "compare",
    "report",
    "score",
    "simple_evaluate",
    "sweep",
    "write_report",
]

TYPE_CHECKING = False  # typing's own would take a tenth of `marathon-eval --help`
if TYPE_CHECKING:
    from typing import Any

    from marathon_eval import report
    from marathon_eval.api.audio import Audio
    from marathon_eval.api.model import Generation, Model, Request, Response, Usage
    from marathon_eval.cache.reader import cached_answers
    from marathon_eval.errors import MarathonError
    from marathon_eval.evaluator.rescore.from_python import score
    from marathon_eval.evaluator.simple import simple_evaluate
    from marathon_eval.evaluator.simple import simple_sweep as sweep
    from marathon_eval.report.from_python import write_report
    from marathon_eval.results.comparison import compare

#: The module below `marathon_eval` that defines each public name, and its name there if it has another.
_MODULES = {
    "Audio": "api.audio",
    "MarathonError": "errors",
    "cached_answers": "cache.reader",
    "compare": "results.comparison",
    "score": "evaluator.rescore.from_python",
    "simple_evaluate": "evaluator.simple",
    "sweep": "evaluator.simple:simple_sweep",
    "write_report": "report.from_python",
    **dict.fromkeys(("Generation", "Model", "Request", "Response", "Usage"), "api.model"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "report":  # a package that can be called
        return import_module("marathon_eval.report")
    if name not in _MODULES:
        raise AttributeError(f"module 'marathon_eval' has no attribute '{name}'")
    module, _, attribute = _MODULES[name].partition(":")
    return getattr(import_module(f"marathon_eval.{module}"), attribute or name)
