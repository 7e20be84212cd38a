"""Tells a refusal to answer ("I cannot tell") from a description of what was heard ("it was hard to hear")."""

from __future__ import annotations

import re

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.languages import FOREIGN_REFUSAL

_TELLING = (
    r"(?:tell|say|determine|know|hear|identify|be sure|be certain|make out|answer|help|listen|process|access|decide|judge|choose"
    r"|recognise|recognize|distinguish|provide|assist|detect|confirm|pick|give|infer|conclude|work out|be determined|be sure)"
)
_CANNOT = r"(?:can(?:not|'?t| not)|could(?: not|n'?t)|(?:am|are|was|were|'m|'re)? ?(?:unable|not able) to)"
_SENT = r"(?:provided|attached|uploaded|shared|supplied|included|given|received)"
_SOUND = r"(?:audio|sound|recording|clip|audio (?:file|clip|recording|input|data))(?: file| clip)?"
#: "No audio was provided", "please upload the recording".
_NOTHING_SENT = (
    rf"\bno {_SOUND} (?:(?:was|is|were|has been|seems to be|appears to be) )?(?:actually )?{_SENT}\b"
    rf"|\b{_SOUND} (?:(?:was|is|has)(?: not|n'?t)(?: been)?) (?:actually )?{_SENT}\b"
    rf"|\bplease (?:provide|upload|attach|share|send)\b (?:me )?(?:(?:with )?(?:the|an|your|a) )?{_SOUND}\b"
    rf"|\b(?:don'?t|do not) see (?:any|an|the) {_SOUND}\b"
)
_UNSURE = (
    r"(?:(?:not|isn'?t) (?:at all |entirely |really |quite |so |too |very |completely )?(?:sure|certain|clear)"
    r"|unsure|unclear|uncertain)"
)
#: The one who answers, not one who is described: "I cannot tell", not "she cannot tell".
_REFUSAL = lazy_pattern(
    rf"\b(?:i|we)\b(?: (?:really|honestly|simply|just|also|still|unfortunately))? ?{_CANNOT} (?:\w+ )?{_TELLING}\b"
    rf"|\b(?:i|we)(?:'m| am|'re| are| was)? (?:\w+ )?{_UNSURE}"
    rf"|\b(?:i|we) (?:\w+ )?(?:do(?: not|n'?t)|did(?: not|n'?t)) (?:\w+ )?(?:know|understand|have (?:\w+ )?(?:access|information)"
    r"|hear (?:anything|any audio|any sound|the audio|a recording))\b"
    rf"|(?:\A|[.!?\n]\s*|, )(?:{_CANNOT} {_TELLING}|{_UNSURE}|don'?t know|no idea)\b"
    rf"|\bit(?:'s| is| was)? (?:\w+ )?(?:(?:hard|difficult|impossible|not possible) to {_TELLING.replace('|hear|', '|')}|{_UNSURE})"
    rf"|(?:\A|[.!?\n]\s*)(?:hard|difficult|impossible|not possible) to {_TELLING.replace('|hear|', '|')}"
    rf"|\bit (?:cannot|can'?t|can not) be (?:determined|told|said|known|decided)|\bcannot be determined"
    r"|\b(?:insufficient|not enough) (?:information|evidence|context|data|detail)|\bas an ai\b|(?:\A|[.!?\n]\s*)(?:it )?depends\b(?! on (?:her|him|them|me|you)\b)|\bi have no idea\b"
    r"|\A\W*(?:i(?:'m| am) )?(?:sorry|apologi[sz]e|my apologies)\b(?=.*(?:\bcan|\bcould|\bunable|\bnot?\b|n't))|\b(?:i|we) apologi[sz]e\b|\bno way to (?:tell|know)\b"
    rf"|{_NOTHING_SENT}",
    re.IGNORECASE,
)
#: One of these is in every English refusal; looking for them is quicker than the pattern.
_HINTS = (
    *(
        "cannot",
        "can't",
        "cant",
        "can not",
        "couldn",
        "could not",
        "able to",
        "sure",
        "certain",
        "clear",
        "n't",
        "not",
        "dont",
    ),
    *(
        "didnt",
        "idea",
        "hard",
        "difficult",
        "possible",
        "insufficient",
        "an ai",
        "depend",
        "sorry",
        "pologi",
        "no way",
        *("provide", "attach", "upload", "share", "send", "suppl", "includ", "given", "receive"),
    ),
)
#: What the author says of itself, not of the recording: "I'm happy to help!"
COURTESY = lazy_pattern(
    r"\b(?:i|we)(?:'m|'re| am| are|'d be| would be|'ll be| will be) (?:\w+ )?(?:happy|glad|pleased|delighted|excited|sad|sorry|afraid) "
    r"to (?:help|assist|answer|listen|say|report|tell you)\b",
    re.IGNORECASE,
)
_CONTRAST = lazy_pattern(
    r"\b(?:but|however|though|still|yet|nevertheless|nonetheless|best guess|my guess|guess is|had to (?:guess|choose|pick)|pero"
    r"|aber|mais|mas|ma|но|але|ale|ama|tetapi|tapi|nhưng|لكن|אבל|लेकिन)\b|但|不过|不過|แต่|でも|しかし|하지만",
    re.IGNORECASE,
)
_CONCEDED = lazy_pattern(r"\b(?:although|though|even though|while|even if)\b([^,.;]*),", re.IGNORECASE)
_HEDGE = lazy_pattern(
    r"\b(?:may|might|could|perhaps|maybe|possibly|can only say|quizás|vielleicht|peut-être|talvez|forse|возможно|mungkin)\b"
    r"|也许|可能|かもしれ|아마",
    re.IGNORECASE,
)


def refusal_in(text: str) -> bool:
    """Return whether a text says that its author cannot answer."""
    lowered = text.lower()
    if text.isascii() and not any(hint in lowered for hint in _HINTS):
        return False
    return bool(_REFUSAL.search(text) or (not text.isascii() and FOREIGN_REFUSAL.search(text)))


def answered_after_all(text: str) -> str | None:
    """Return the part of a text that answers in spite of a refusal before it ("hard to say, but it is a cat").

    Returns None where there is none, or where that part refuses or only guesses.
    """
    for match in _CONCEDED.finditer(text):
        if refusal_in(match[1]):
            after = text[match.end() :]
            return None if refusal_in(after) or _HEDGE.search(after) else after
    for match in reversed(list(_CONTRAST.finditer(text))):
        before, after = text[: match.start()], text[match.end() :]
        if refusal_in(before):
            return None if refusal_in(after) or _HEDGE.search(after) else after
    return None
