"""Implements `transcript`, which removes a model's thoughts and the chat around a transcript.

Apart from thoughts (reasoning.py), only the two ends of the text are changed, never the middle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.reasoning import KNOWN_MARKS, MarkPairs, ThoughtMarks, known_and, without_thoughts

_TOKENS = r"(?:<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|end_of_turn)>)"
_AT_ENDS = lazy_pattern(rf"\A(?:\s*{_TOKENS})+|(?:{_TOKENS}\s*)+\Z")
_FINAL_CHANNEL = lazy_pattern(r"\A\s*(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*final\s*<\|message\|>")
#: The form of Qwen3-ASR, whose adapter takes it off and whose servers do not: `language English<asr_text>`.
_SPOKEN_LANGUAGE = lazy_pattern(r"\A\s*language \w+<asr_text>")
_ROLE = lazy_pattern(r"\A\s*assistant\s*\n", re.IGNORECASE)
_SOURCE = r"(?:the |this |that )?(?:audio|recording|speech|clip|file|passage|speaker|person|man|woman|voice|narrator|sound|segment)"
_NOUN = r"(?:spoken (?:content|text|words)|transcription|transcript|transcribed (?:text|speech|audio)|verbatim transcript(?:ion)?)"
#: A label needs its colon, because speech may begin with the word "content".
_LABEL = lazy_pattern(
    r"\A\s*(?:(?:sure|certainly|okay|ok|of course|absolutely)[,.!]?\s+)?(?:here(?:'s| is) (?:the|a|your) |the )?"
    rf"\**(?:(?:full |complete |exact )?{_NOUN}(?: (?:of|for|from) {_SOURCE}(?: clip| file| recording)?)?(?: (?:is|reads)(?: as follows)?)?"
    # what is said, by the recording or by the one who speaks: "In this clip, the speaker says: ..."
    rf"|(?:in {_SOURCE},? )?(?:{_SOURCE}|someone) (?:says|said|is saying|reads|states|contains|transcribes to)(?: the following| as follows)?"
    rf"|(?:original |exact |spoken |full )?(?:content|text|speech) (?:of|in) {_SOURCE}(?: clip| file| recording)? is(?: as follows)?"
    rf"|(?:what )?(?:is )?(?:said|spoken) in {_SOURCE}(?: is)?|{_SOURCE} (?:transcription|transcript)"
    r"|(?:la )?transcripción(?: del audio)?(?: es)?|(?:la )?transcription(?: de l'audio| est)?|(?:die )?transkription(?: lautet)?"
    r"|(?:a )?transcrição(?: do áudio)?(?: é)?|(?:la )?trascrizione(?: è)?|транскрипция|расшифровка|транскрипція|transkrypcja"
    r"|el hablante dice|le locuteur dit|der sprecher sagt|o falante diz|говорящий говорит"
    r"|transkripsiyon|transkripsi|bản ghi|النص|النص المكتوب|תמלול|प्रतिलेख|转录(?:文本|内容)?|转写(?:文本|结果)?|轉錄|音频内容|说话者说|文字起こし|書き起こし"
    r"|전사|받아쓰기|คำถอดเสียง|คํา?ถอดเสียง)"
    r"\**\s*[:\uff1a]\**",
    re.IGNORECASE,
)
#: A heading, which has a line of its own: "**Transcription**".
_HEADING = lazy_pattern(rf"\A\s*(?:#{{1,6}}\s+|\*\*)(?:full )?{_NOUN}\s*:?\s*(?:\*\*)?\s*\n", re.IGNORECASE)
_TAGGED = lazy_pattern(
    r"\A\s*<(transcript|transcription|text|answer)>(.*)</\1>\s*\Z", re.DOTALL | re.IGNORECASE
)
#: What an assistant adds below: "Let me know if you need anything else!"
_OFFER = lazy_pattern(
    r"\n[ \t]{0,9}(?:(?:please )?let me know if|i hope this helps|is there anything else|feel free to|do you want me to|would you like me to)"
    r"[^\n]*\Z",
    re.IGNORECASE,
)
#: Keys under which a response of JSON has its text.
_KEYS = ("transcript", "transcription", "text", "answer")
_PAIRS = {
    '"': '"',
    "'": "'",
    "<": ">",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u00ab": "\u00bb",
    "[": "]",
    "`": "`",
    "\u300c": "\u300d",
    "\u201e": "\u201c",
}


def transcript(marks: MarkPairs | None = None) -> FilterStep:
    """Return a filter that removes thoughts, and what stands around the whole text.

    That is a label or a heading, quotes, brackets, tags, the braces and the key of JSON, chat tokens and a closing offer of help.

    The rule is `verbatim` where the text stays as it was, else `unwrapped`; `empty` where nothing is left.
    `marks` are pairs [opening, closing] around a thought, in addition to those of `thought_marks.py`.
    """
    known = known_and(marks)

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        return [_read(repeat, known) if repeat.found else repeat for repeat in repeats]

    return step


def _read(repeat: Held, known: ThoughtMarks) -> Held:
    text = unwrap(repeat.text, known)
    if not text:
        return Held("", "empty", False)
    return Held(text, "verbatim" if text == repeat.text.strip() else "unwrapped")


def unwrap(text: str, known: ThoughtMarks = KNOWN_MARKS) -> str:
    """Remove thoughts, then peel what stands around the whole text until nothing is left to peel.

    Returns "" where the last thought is never closed.
    """
    text = _FINAL_CHANNEL.sub("", without_thoughts(text, known))
    while True:
        peeled = _SPOKEN_LANGUAGE.sub("", _ROLE.sub("", _AT_ENDS.sub("", text)))
        peeled = _HEADING.sub("", _LABEL.sub("", _TAGGED.sub(r"\2", _OFFER.sub("", peeled)))).strip()
        peeled = _text_of_json(peeled).strip()
        if len(peeled) > 1 and _PAIRS.get(peeled[0]) == peeled[-1] and _wraps(peeled):
            peeled = peeled[1:-1].strip()
        if peeled == text:
            return peeled
        text = peeled


def _text_of_json(text: str) -> str:
    """Return the text of a JSON object that has nothing but a transcript; another text comes back as it is."""
    if not (text.startswith("{") and text.endswith("}")):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    found = list(value.items())
    is_transcript = len(found) == 1 and found[0][0].lower() in _KEYS and isinstance(found[0][1], str)
    return str(found[0][1]) if is_transcript else text


def _wraps(text: str) -> bool:
    """Whether the first and the last character are one pair; in `"Yes," he said, "no"` they belong to two."""
    inner, opening, closing = text[1:-1], text[0], text[-1]
    if opening == "'":
        return not re.search(r"(?<!\w)'|'(?!\w)", inner)
    return opening not in inner and closing not in inner
