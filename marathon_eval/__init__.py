"""Evaluates long-audio language models.

`import marathon_eval` loads nothing else: each public name is imported from its module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    "simple_evaluate",
]

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio
    from marathon_eval.api.model import Generation, Model, Request, Response, Usage
    from marathon_eval.cache.reader import cached_answers
    from marathon_eval.errors import MarathonError
    from marathon_eval.evaluator.evaluator import simple_evaluate

#: The module below `marathon_eval` that defines each public name.
_MODULES = {
    "Audio": "api.audio",
    "MarathonError": "errors",
    "cached_answers": "cache.reader",
    "simple_evaluate": "evaluator.evaluator",
    **dict.fromkeys(("Generation", "Model", "Request", "Response", "Usage"), "api.model"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'marathon_eval' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"marathon_eval.{_MODULES[name]}"), name)
