"""AudioMarathon's LibriSpeech script: how it cleans a transcript and compares it.

https://github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others/LibriSpeech_qwen2.5.py (commit 50d4b38): the rules are
theirs, the code is ours. No number, spelling or contraction is normalised, unlike Whisper's normaliser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.scoring.released.audiomarathon import last_turn
from marathon_eval.scoring.released.audiomarathon_words import normalised

#: In this order; only the first that occurs anywhere is used, in a sentence too.
_MARKERS = ("spoken content:", "content:", "transcription:", "transcript:")
_PLACEHOLDER = "<transcribed text here>"
_SEPARATOR = re.compile(r"<sep>[^\n]*?(?:<|$)")
_LABEL = re.compile(r"(?:spoken\s+(?:text|content)|content|transcript|transcription):\s*", re.IGNORECASE)


def cleaned(response: str) -> str:
    """The hypothesis: between the first marker and its next occurrence, without placeholder, separators and label."""
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
    """Word error rate of one utterance, as a fraction; 1 when either side is empty once normalised."""
    from marathon_eval.scoring.metrics.wer import edits

    said, heard = normalised(reference), normalised(hypothesis)
    return edits(said, heard).rate if said and heard else 1.0


def transcript_step() -> FilterStep:
    """`audiomarathon.librispeech`: the cleaned hypothesis; blank is unanswered."""

    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        return [_read(one) if one.found else one for one in held]

    return step


def _read(held: Held) -> Held:
    text = cleaned(held.text)
    if not text:
        return Held("", "empty", False)
    return Held(text, "verbatim" if text == held.text.strip() else "cleaned")
