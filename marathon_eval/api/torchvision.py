"""Hides a torchvision that cannot be imported, before transformers looks for it."""

from __future__ import annotations

import importlib
import importlib.util
import sys


def hide_broken_torchvision() -> bool:
    """Mark a torchvision that cannot be imported as not installed; return True when it was hidden."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # how Python marks "not importable"
        _clear_transformers_checks()
        return True
    return False


def _clear_transformers_checks() -> None:
    """Clear what transformers, if it is imported already, has cached about torchvision being installed."""
    module = sys.modules.get("transformers.utils.import_utils")
    for name in ("is_torchvision_available", "is_torchvision_v2_available"):
        check = getattr(module, name, None)
        if check is not None and hasattr(check, "cache_clear"):
            check.cache_clear()
