"""A tokenizer file of Mistral's newer kind, tekken.json, for a vocabulary of 256 bytes."""

from __future__ import annotations

TEKKEN_SPECIAL, TEKKEN_AUDIO = 40, 24
