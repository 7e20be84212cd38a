"""Reproduces how AudioMarathon's LibriSpeech script cleans a transcript and computes its word error rate.

https://github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others/LibriSpeech_qwen2.5.py (commit 50d4b38): the rules
are theirs, the code is ours. Unlike Whisper's normaliser, the script changes no number, spelling or contraction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.scoring.metrics.wer import edits
from marathon_eval.scoring.released.audiomarathon import last_turn
from marathon_eval.scoring.released.audiomarathon_words import normalised

#: Tried in this order: only the first that occurs is used, even in the middle of a sentence.
_MARKERS = ("spoken content:", "content:", "transcription:", "transcript:")
_PLACEHOLDER = "<transcribed text here>"
_SEPARATOR = re.compile(r"<sep>[^\n]*?(?:<|$)")
_LABEL = re.compile(r"(?:spoken\s+(?:text|content)|content|transcript|transcription):\s*", re.IGNORECASE)


def cleaned(response: str) -> str:
    """Return the text between the first marker and its next occurrence, without placeholder, separators and label."""
    text = last_turn(response)
    for marker in _MARKERS:
        if marker in text.lower():
            parts = re.split(re.escape(marker), text, flags=re.IGNORECASE)
            if len(parts) > 1:
                text = parts[1].strip()
                break
    text = _SEPARATOR.sub("", text.replace(_PLACEHOLDER, "")).strip()
    label = _LABEL.match(text)
    return text[label.end() :].strip() if label else text


def utterance_wer(reference: str, hypothesis: str) -> float:
    """Return the word error rate of one utterance, as a fraction; 1 where either side is empty once normalised."""
    expected, transcribed = normalised(reference), normalised(hypothesis)
    return edits(expected, transcribed).rate if expected and transcribed else 1.0


def transcript_step() -> FilterStep:
    """Return the filter `audiomarathon.librispeech`, which cleans the hypothesis; a blank one is unanswered."""

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        return [_read(repeat) if repeat.found else repeat for repeat in repeats]

    return step


def _read(repeat: Held) -> Held:
    text = cleaned(repeat.text)
    if not text:
        return Held("", "empty", False)
    return Held(text, "verbatim" if text == repeat.text.strip() else "cleaned")
