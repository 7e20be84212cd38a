"""Hides a torchvision that cannot be imported, before transformers looks for it."""

from __future__ import annotations

import importlib
import importlib.util
import sys


def hide_broken_torchvision() -> bool:
    """Make a torchvision that cannot be imported count as not installed; True when it was hidden."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # how Python marks "not importable"
        _forget_what_transformers_found()
        return True
    return False


def _forget_what_transformers_found() -> None:
    """transformers, if it was imported before us, asks again which packages there are."""
    found = sys.modules.get("transformers.utils.import_utils")
    for question in ("is_torchvision_available", "is_torchvision_v2_available"):
        remembered = getattr(found, question, None)
        if remembered is not None and hasattr(remembered, "cache_clear"):
            remembered.cache_clear()
