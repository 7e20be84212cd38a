"""Reproduces how AudioMarathon's released Qwen2.5-Omni scripts extract the answer from a response, oddities included.

https://github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others/*_qwen2.5.py (commit 50d4b38): the rules are
theirs, the code is ours. Each function in `RULES` maps a response and the row's options to what the script stores as
its prediction (a letter; for had, vox_age and vox_gender a text) and the rule that gave it; None where the script
stores nothing.

It differs in one point: for a blank output the slue and vox scripts search the prompt too, and so may find a letter
in their own system text. Here a blank response is unanswered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from marathon_eval.api.filter import Answer, FilterContext, FilterStep, Held

#: Maps a response and the row's options to an answer.
ReleasedRule = Callable[[str, Sequence[str]], Answer]
#: The result of a script that stores no prediction.
NOTHING = Answer(None, "no_answer")

_ABCD = "ABCD"
_TURN = "assistant\n"
_WORD_LETTER = re.compile(rf"\b[{_ABCD}]\b")
_ANY_LETTER = re.compile(f"[{_ABCD}]")
#: Words that vesus takes for an emotion, in an option and in the answer; the emotion's own name may be missing.
_EMOTION_WORDS = (
    ("anger", "frustrated", "mad", "furious"),
    ("joy", "cheerful", "pleased", "delighted"),
    ("sadness", "melancholy", "depressed", "sorrow"),
    ("fear", "anxiety", "scared", "afraid"),
    ("flat", "emotionless", "neutral", "bland"),
)
_REAL_WORD = re.compile(r"\b(?:real|authentic|genuine)\b")
_FAKE_WORD = re.compile(r"\b(?:fake|artificial|synthetic|synthesized)\b")


def last_turn(text: str) -> str:
    """Return the text after the last "assistant" line, where scripts that decode prompt and answer together cut."""
    return text.rpartition(_TURN)[2].strip()


def race(text: str, choices: Sequence[str]) -> Answer:
    """Find the first A, B, C or D in the upper-cased text; without one the first word, which is then no letter."""
    text = text.strip().upper()
    if match := _ANY_LETTER.search(text):
        return Answer(match[0], "first_letter")
    words = text.split()
    return Answer(words[0], "first_word") if words else NOTHING


def slue(text: str, choices: Sequence[str]) -> Answer:
    """Find a letter, alone or at the start of at most three characters; else a letter that is a word; else any."""
    text = text.strip().upper()
    if text and text[0] in _ABCD and len(text) <= 3:
        return Answer(text[0], "exact" if len(text) == 1 else "short")
    return _word_or_any_letter(text)


def desed(text: str, choices: Sequence[str]) -> Answer:
    """Find a letter alone; else the first that is a word; else any."""
    text = last_turn(text).upper()
    return Answer(text, "exact") if _is_letter(text, _ABCD) else _word_or_any_letter(text)


def gtzan(text: str, choices: Sequence[str]) -> Answer:
    """Find the letter at either end; else "option x", "choice x" or "x)"; else a letter that is a word; else any."""
    text = last_turn(text).upper()
    letter = _first(_ABCD, lambda x: _leads(text, x) or text.endswith(f" {x}"))
    if letter:
        return Answer(letter, "exact" if text == letter else "edge")
    lower = text.lower()
    if letter := _first(_ABCD, lambda x: _contains(lower, _named(x))):
        return Answer(letter, "named")
    return _word_or_any_letter(text)


def tau(text: str, choices: Sequence[str]) -> Answer:
    """Find the letter at the start, or named; else an option's whole text; else the one with most words, if two."""
    text = last_turn(text).lower().strip()
    if letter := _first(_ABCD, lambda x: _leads(text, x.lower(), ".):")):
        return Answer(letter, "exact" if text == letter.lower() else "edge")
    if letter := _first(_ABCD, lambda x: _contains(text, _named(x))):
        return Answer(letter, "named")
    best, most = "", 1
    for letter, choice in _lettered(choices):
        if choice.lower() in text:
            return Answer(letter, "option_text")
        shared = sum(word in text for word in choice.lower().partition(" - ")[0].split())
        if shared > most:
            best, most = letter, shared
    return Answer(best, "shared_words") if best else NOTHING


def vesus(text: str, choices: Sequence[str]) -> Answer:
    """Find the letter at the start, or named; else the first option with a word for the answer's emotion."""
    text = last_turn(text).lower().strip()
    if letter := _first(_ABCD, lambda x: _leads(text, x.lower())):
        return Answer(letter, "exact" if text == letter.lower() else "edge")
    if letter := _first(_ABCD, lambda x: _contains(text, _named(x))):
        return Answer(letter, "named")
    emotions = [words for words in _EMOTION_WORDS if _contains(text, words)]
    for letter, choice in _lettered(choices[:4]):
        if any(_contains(choice.lower(), words) for words in emotions):
            return Answer(letter, "emotion_word")
    return NOTHING


def had(text: str, choices: Sequence[str]) -> Answer:
    """Find a (real) or b (fake) at either end, named, or as " a " in the middle (also an article); else the words."""
    text = last_turn(text).lower().strip()
    for rule, means in (
        ("edge", lambda x: _leads(text, x) or text.endswith(f" {x}")),
        ("named", lambda x: _contains(text, (*_named(x), f" {x} "))),
    ):
        if letter := _first("ab", means):
            return Answer("real" if letter == "a" else "fake", "exact" if text == letter else rule)
    if ("real" in text) != ("fake" in text):
        return Answer("real" if "real" in text else "fake", "word")
    real, fake = _REAL_WORD.search(text), _FAKE_WORD.search(text)
    if bool(real) != bool(fake):
        return Answer("real" if real else "fake", "synonym")
    return NOTHING


def vox_age(text: str, choices: Sequence[str]) -> Answer:
    """Find the letter at either end, as the only word letter, or named; else the only option. Gives its text."""
    text, letters = text.lower().strip(), "abcde"[: len(choices)]
    # a letter that the row lacks counts too: beside it another letter is not the only one
    word_letters = [letter for letter in "abcde" if re.search(rf"\b{letter}\b", text)]
    for rule, means in (
        ("edge", lambda x: _leads(text, x) or text.endswith(f" {x}")),
        ("only_letter", lambda x: word_letters == [x]),
        ("named", lambda x: _contains(text, (f"option {x}", f"choice {x}", f"answer {x}"))),
    ):
        if letter := _first(letters, means):
            return Answer(choices[letters.index(letter)], "exact" if text == letter else rule)
    named = [choice for choice in choices if choice.lower() in text] if text else []
    return Answer(named[0], "option_text") if len(named) == 1 else NOTHING


def vox_gender(text: str, choices: Sequence[str]) -> Answer:
    """Find the letter at the start, or named; else the only option in the text; else male or female as a word."""
    text = text.lower().strip()
    male, female = (
        choice.lower().strip() for choice in (choices if len(choices) == 2 else ("male", "female"))
    )
    for rule, means in (
        ("edge", lambda x: _leads(text, x)),
        ("named", lambda x: _contains(text, _named(x))),
    ):
        if letter := _first("ab", means):
            return Answer(male if letter == "a" else female, "exact" if text == letter else rule)
    if (male in text) != (female in text):
        return Answer(male if male in text else female, "option_text")
    # "male" is part of "female", so for these two whole words decide
    words = {word for word in ("male", "female") if re.search(rf"\b{word}\b", text)}
    if (male, female) == ("male", "female") and len(words) == 1:
        return Answer(words.pop(), "word")
    return NOTHING


#: The rules by task.
RULES: dict[str, ReleasedRule] = {
    rule.__name__: rule for rule in (race, slue, desed, gtzan, tau, vesus, had, vox_age, vox_gender)
}


def step_factory(rule: ReleasedRule) -> Callable[[], FilterStep]:
    """Return the factory of a filter that applies a rule and has no options."""

    # a task's rows have few different answers, and often the same options
    remembered = lru_cache(maxsize=256)(rule)

    def factory() -> FilterStep:
        def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
            return [_read(repeat, context) if repeat.found else repeat for repeat in repeats]

        return step

    def _read(repeat: Held, context: FilterContext) -> Held:
        answer = remembered(repeat.text, context.choices) if repeat.text.strip() else Answer(None, "empty")
        return Held(answer.value or "", answer.rule, answer.value is not None)

    factory.__doc__ = rule.__doc__
    return factory


def _word_or_any_letter(text: str) -> Answer:
    if match := _WORD_LETTER.search(text):
        return Answer(match[0], "word_letter")
    match = _ANY_LETTER.search(text)
    return Answer(match[0], "any_letter") if match else NOTHING


def _is_letter(text: str, letters: str) -> bool:
    return len(text) == 1 and text in letters


def _leads(text: str, letter: str, marks: str = ".)") -> bool:
    return text == letter or any(text.startswith(letter + mark) for mark in marks)


def _named(letter: str) -> tuple[str, ...]:
    letter = letter.lower()
    return f"option {letter}", f"choice {letter}", f"{letter})"


def _contains(text: str, parts: Iterable[str]) -> bool:
    return any(part in text for part in parts)


def _first(letters: str, means: Callable[[str], bool]) -> str:
    """Return the first letter for which `means` is true, in the alphabet's order, not the text's; "" without one."""
    return next((letter for letter in letters if means(letter)), "")


def _lettered(choices: Sequence[str]) -> Iterable[tuple[str, str]]:
    return ((chr(ord("A") + place), choice) for place, choice in enumerate(choices))
