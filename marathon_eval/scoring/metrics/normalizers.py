"""Defines the text normalisers of error rates, and which of them each language takes.

`whisper_english` and `whisper_basic` are those of Radford et al. 2022, appendix C (package whisper-normalizer). The
basic one puts a space in place of every combining mark, which removes vowel signs of Indic and South-East Asian
scripts and splits pointed Hebrew and Arabic words; languages written with marks take `keep_marks`. Before both, typographic
apostrophes, rows of dots and invisible characters get one form, which Whisper's own do not do: "don’t" was no "don't".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.scoring.released.audiomarathon_words import normalised

#: Names of the normalisers.
Normalizer = Literal["whisper_english", "whisper_basic", "keep_marks", "audiomarathon", "none"]

#: Languages by ISO 639 code: those of Whisper, and a few more.
LANGUAGES = dict(
    entry.split(":")
    for entry in [
        "af:afrikaans",
        "am:amharic",
        "ar:arabic",
        "as:assamese",
        "az:azerbaijani",
        "ba:bashkir",
        "be:belarusian",
        "bg:bulgarian",
        "bn:bengali",
        "bo:tibetan",
        "br:breton",
        "bs:bosnian",
        "ca:catalan",
        "ckb:kurdish",
        "cs:czech",
        "cy:welsh",
        "da:danish",
        "de:german",
        "dv:dhivehi",
        "el:greek",
        "en:english",
        "es:spanish",
        "et:estonian",
        "eu:basque",
        "fa:persian",
        "fi:finnish",
        "fo:faroese",
        "fr:french",
        "ga:irish",
        "gl:galician",
        "gu:gujarati",
        "ha:hausa",
        "haw:hawaiian",
        "he:hebrew",
        "hi:hindi",
        "hr:croatian",
        "ht:haitian",
        "hu:hungarian",
        "hy:armenian",
        "id:indonesian",
        "ig:igbo",
        "is:icelandic",
        "it:italian",
        "ja:japanese",
        "jw:javanese",
        "ka:georgian",
        "kk:kazakh",
        "km:khmer",
        "kn:kannada",
        "ko:korean",
        "ky:kyrgyz",
        "la:latin",
        "lb:luxembourgish",
        "ln:lingala",
        "lo:lao",
        "lt:lithuanian",
        "lv:latvian",
        "mg:malagasy",
        "mi:maori",
        "mk:macedonian",
        "ml:malayalam",
        "mn:mongolian",
        "mr:marathi",
        "ms:malay",
        "mt:maltese",
        "my:burmese",
        "ne:nepali",
        "nl:dutch",
        "nn:nynorsk",
        "no:norwegian",
        "oc:occitan",
        "or:odia",
        "pa:punjabi",
        "pl:polish",
        "ps:pashto",
        "pt:portuguese",
        "ro:romanian",
        "ru:russian",
        "sa:sanskrit",
        "sd:sindhi",
        "si:sinhala",
        "sk:slovak",
        "sl:slovenian",
        "sn:shona",
        "so:somali",
        "sq:albanian",
        "sr:serbian",
        "su:sundanese",
        "sv:swedish",
        "sw:swahili",
        "ta:tamil",
        "te:telugu",
        "tg:tajik",
        "th:thai",
        "tk:turkmen",
        "tl:tagalog",
        "tr:turkish",
        "tt:tatar",
        "ug:uyghur",
        "uk:ukrainian",
        "ur:urdu",
        "uz:uzbek",
        "vi:vietnamese",
        "wo:wolof",
        "xh:xhosa",
        "yi:yiddish",
        "yo:yoruba",
        "yue:cantonese",
        "zh:chinese",
        "zu:zulu",
    ]
)
#: Other codes and names of the same languages.
_ALIASES = {
    "nb": "no",
    "cmn": "zh",
    "iw": "he",
    "fil": "tl",
    "jv": "jw",
    "mandarin": "zh",
    "farsi": "fa",
    "ku": "ckb",
}
#: Languages whose letters have no mark that whisper_basic removes, and no sign inside a word that it splits at.
_BASIC = frozenset(
    [
        "af",
        "bg",
        "bs",
        "ca",
        "cs",
        "cy",
        "da",
        "de",
        "el",
        "es",
        "et",
        "eu",
        "fi",
        "fo",
        "fr",
        "gl",
        "hr",
        "hu",
        "hy",
        "id",
        "is",
        "it",
        "ja",
        "ka",
        "ko",
        "la",
        "lb",
        "lv",
        "mk",
        "ms",
        "nl",
        "nn",
        "no",
        "oc",
        "pl",
        "pt",
        "ro",
        "ru",
        "sk",
        "sl",
        "sq",
        "sr",
        "sv",
        "sw",
        "tl",
        "vi",
        "yue",
        "zh",
    ]
)
#: Languages written without spaces between words.
UNSPACED_LANGUAGES = frozenset(("zh", "yue", "ja", "th", "lo", "km", "my", "bo"))
#: Languages whose capital I is the dotless one.
_DOTLESS = frozenset(("tr", "az"))
_DOTLESS_CAPITALS = str.maketrans({"I": "ı", "İ": "i"})

#: Apostrophes and quotation marks between two letters, where they belong to the word, as in Ukrainian and Hebrew.
_INSIDE_WORD = re.compile("(?<=[^\\W\\d_])['\"’ʼ׳״](?=[^\\W\\d_])")
_APOSTROPHE = re.compile("[’ʼ＇]|(?<=[^\\W\\d_])[‘´`′](?=[^\\W\\d_])")
_DOTS = re.compile(r"\.{2,}")
_LONE_DOT = re.compile(r"(?<!\S)\.+(?!\S)")
#: Letters that only stretch a word in writing.
_TATWEEL = "ـ"


def language_code(language: str) -> str:
    """Return the ISO 639 code of a language given as code, tag (`pt-BR`) or English name.

    Raises MarathonError with the list of languages for an unknown one.
    """
    name = language.strip().casefold()
    base = re.split("[-_]", name)[0]
    by_name = {english: code for code, english in LANGUAGES.items()} | _ALIASES
    for form in (name, base):
        if form in LANGUAGES or form in by_name:
            return form if form in LANGUAGES else by_name[form]
    raise MarathonError(
        f"language: no language '{language}'.{did_you_mean(name, [*LANGUAGES, *by_name])} Known: {', '.join(LANGUAGES)}"
    )


def normalizer_for(normalizer: Normalizer | None, language: str | None) -> Callable[[str], str]:
    """Return the normaliser that is named, else that of the language.

    Raises MarathonError without either, and where the named one removes marks that the language's words have.
    """
    code = None if language is None else language_code(language)
    if normalizer is None and code is None:
        raise MarathonError(
            "needs `language:` or `normalizer:`, here or as a key of the task: no normaliser fits every language. "
            f"normalizer: {', '.join(get_args(Normalizer))}. language: {', '.join(LANGUAGES)}"
        )
    if normalizer == "whisper_basic" and code is not None and code != "en" and code not in _BASIC:
        raise MarathonError(
            f"normalizer: whisper_basic removes or splits at marks of {LANGUAGES[code].capitalize()}; use keep_marks"
        )
    if normalizer == "whisper_english" and code not in (None, "en"):
        raise MarathonError(
            f"normalizer: whisper_english is for English, and language is '{language}'; leave normalizer out"
        )
    return named_normalizer(normalizer or _name_for(str(code)), code in _DOTLESS)


def _name_for(code: str) -> Normalizer:
    return "whisper_english" if code == "en" else "whisper_basic" if code in _BASIC else "keep_marks"


@lru_cache(maxsize=16)
def named_normalizer(name: Normalizer, dotless: bool = False) -> Callable[[str], str]:
    """Return a text normaliser by its name; it caches its results, and Whisper's are imported when first used.

    `dotless`: the capital I of the text is Turkish, used by keep_marks only.
    """
    if name == "none":
        return str
    if name == "audiomarathon":
        return normalised
    if name == "keep_marks":
        return lru_cache(maxsize=4096)(lambda text: keep_marks(text, dotless))
    if name == "whisper_english":
        from whisper_normalizer.english import EnglishTextNormalizer

        english = EnglishTextNormalizer()
        return lru_cache(maxsize=4096)(lambda text: _without_lone_dots(english(typewritten(text))))
    from whisper_normalizer.basic import BasicTextNormalizer

    basic = BasicTextNormalizer()
    return lru_cache(maxsize=4096)(lambda text: basic(typewritten(text)))


def typewritten(text: str) -> str:
    """Return a text with the apostrophe of typewriters, a space for a row of dots, and no invisible characters (Cf)."""
    if not text.isascii():
        text = _APOSTROPHE.sub("'", text.replace("…", "..."))
        text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return _DOTS.sub(" ", text)


def _without_lone_dots(text: str) -> str:
    """Remove the dots that Whisper's rule leaves as words, of which one at the text's end has no sign behind it."""
    return " ".join(word for word in text.split() if word.strip(".")) if _LONE_DOT.search(text) else text


def keep_marks(text: str, dotless: bool = False) -> str:
    """Return a text in lower case with one space for punctuation and symbols; letters keep their combining marks.

    The form is NFKC (Unicode annex 15). Digits of any script become 0 to 9; marks of direction, joiners of zero width
    and the Arabic tatweel, which change no word, are removed.
    """
    text = unicodedata.normalize("NFKC", text).replace(_TATWEEL, "")
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    text = (text.translate(_DOTLESS_CAPITALS) if dotless else text).lower()
    text = unicodedata.normalize("NFKC", _INSIDE_WORD.sub("", text))
    return " ".join("".join(map(_plain_sign, text)).split())


@lru_cache(maxsize=4096)
def _plain_sign(sign: str) -> str:
    category = unicodedata.category(sign)
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    return " " if category[0] in "SPC" else sign
