"""Normalises a transcript as AudioMarathon's LibriSpeech script does, for its word error rate.

https://github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others/LibriSpeech_qwen2.5.py (commit 50d4b38).
"""

from __future__ import annotations

_SPACED = str.maketrans(dict.fromkeys('.!?,;:"()[]{}', " ") | dict.fromkeys("-'", ""))


def normalised(text: str) -> str:
    """Lower the case, replace `. ! ? , ; : " ( ) [ ] { }` by spaces, and remove hyphens and straight apostrophes."""
    return " ".join(text.lower().translate(_SPACED).split())
