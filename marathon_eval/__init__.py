"""marathon_eval: one harness for long-audio language models.

The public names, loaded when they are used: `import marathon_eval` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Audio", "Generation", "MarathonError", "Model", "Request", "Response", "Usage", "simple_evaluate"]

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio
    from marathon_eval.api.model import Generation, Model, Request, Response, Usage
    from marathon_eval.errors import MarathonError
    from marathon_eval.evaluator.evaluator import simple_evaluate

_HOMES = {
    "Audio": "api.audio",
    "MarathonError": "errors",
    "simple_evaluate": "evaluator.evaluator",
    **dict.fromkeys(("Generation", "Model", "Request", "Response", "Usage"), "api.model"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'marathon_eval' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"marathon_eval.{_HOMES[name]}"), name)
