"""Paths of the installed package."""

from __future__ import annotations

from pathlib import Path

#: marathon_eval/ itself: it holds data/ and the links models, presses and tasks
PACKAGE = Path(__file__).resolve().parent
