"""Checks that `choice` follows the conclusion of texts that weigh the options one by one, in English and Chinese.

test_reasoned_languages.py has sixteen other languages. All texts were written for this project.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from marathon_eval.scoring.filters.choice import find

REASONED_SETS = (
    ("Dog barking", "Cat meowing", "Bird singing", "Car passing"),
    ("happy", "sad", "angry", "neutral"),
    ("A man", "A woman", "A child"),
    ("Yes", "No"),
    ("Real", "Fake"),
    ("3", "5", "7"),
    ("To buy milk", "To meet a friend", "To sell a car"),
    ("C major", "A minor", "G major", "E minor"),
)
REJECTIONS = (
    "({L}) {T}: This is not supported by the audio.",
    "Option {L} ({T}) does not match what is heard.",
    "{L}. {T} - there is no evidence for this.",
    "{L}) {T} can be eliminated.",
    "We can rule out {L}.",
    "{L} is unlikely because the tone differs.",
    "- **{L}. {T}**: The recording lacks this.",
    "Option {L}: {T}. This is wrong.",
    "{L} ({T}) \u2717",
    "{L}. {T} \u274c",
    "I do not hear {T}.",
    "There is no sign of {T} here.",
    "While {T} is plausible, it does not fit.",
    "Option {L} suggests {T}, which contradicts the audio.",
)
SUPPORT = (
    "({M}) {U}: This matches.",
    "Option {M} ({U}) fits well.",
    "{M}. {U} - this is supported by the audio.",
    "{M} ({U}) \u2713",
    "{M}. {U} \u2705",
    "",
)
CONCLUSIONS = (
    "Therefore, the answer is {M}.",
    "So the correct answer is ({M}) {U}.",
    "The answer is {U}.",
    "**{M}**",
    "### Final Answer\n{M}",
    "Final answer: {M}",
    "Thus, {M}. {U} is the best choice.",
    "In conclusion, {U} is the correct answer.",
    "My answer: {U}",
    "\\boxed{{{M}}}",
)
#: Conclusions of rows without letters.
CONCLUSIONS_IN_TEXT = (
    "The answer is {U}.",
    "So it is {U}.",
    "Therefore, {U}.",
    "It must be {U}.",
    "I would choose {U}.",
    "**{U}**",
    "In conclusion, {U} is the correct answer.",
)


def reasoned(
    seed: int, conclusions: tuple[str, ...], lettered: bool
) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield texts that weigh the options line by line and conclude, with the options and the place of the one concluded."""
    draw = random.Random(seed)
    fits = [line for line in SUPPORT if lettered or "{M}" not in line]
    rejections = [line for line in REJECTIONS if lettered or "{L}" not in line]
    for _ in range(400):
        options = draw.choice(REASONED_SETS)
        right = draw.randrange(len(options))
        names = {"M": chr(ord("A") + right), "U": options[right]}
        lines = ["I listened to the audio carefully."]
        for place, option in enumerate(options):
            line = draw.choice(fits if place == right else rejections)
            lines.append(line.format(L=chr(ord("A") + place), T=option, **names))
        yield "\n".join([*filter(None, lines), draw.choice(conclusions).format(**names)]), options, right


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lettered", [True, False])
def test_the_conclusion_of_a_reasoned_text_is_read(seed: int, lettered: bool) -> None:
    texts = list(reasoned(seed, CONCLUSIONS if lettered else CONCLUSIONS_IN_TEXT, lettered))
    found = [
        (text, options[right], find(text, options, len(options) if lettered else 0)[0], right)
        for text, options, right in texts
    ]
    wrong = [(text, meant) for text, meant, place, right in found if place not in (None, right)]
    unread = [(text, meant) for text, meant, place, _ in found if place is None]
    assert wrong == []
    assert len(unread) <= 0.03 * len(texts), unread[:3]


def test_a_text_that_names_two_options_without_a_conclusion_is_ambiguous() -> None:
    options = ("A man", "A woman", "Both sing", "Dog barking")
    for text in (
        "A man, A woman",
        "A man\nA woman",
        "It is a man. It is a woman.",
        "First a man. Then a woman.",
    ):
        assert find(text, options, 0) == (None, "ambiguous"), text


CHINESE_SETS = (
    ("狗叫声", "猫叫声", "鸟鸣声", "汽车声"),
    ("男性", "女性"),
    ("是", "否"),
    ("Dog barking", "Cat meowing"),
)
CHINESE_REJECTIONS = (
    "{L}. {T}：不符合音频内容。",
    "选项{L}（{T}）不正确。",
    "{L}项可以排除。",
    "{L}不对。",
    "虽然{T}有可能，但不符合。",
)
CHINESE_CONCLUSIONS = (
    "因此，答案是{M}。",
    "答案是{U}。",
    "所以是{U}。",
    "因此，正确答案是“{U}”。",
    "综上所述，选{M}。",
)


@pytest.mark.parametrize("options", CHINESE_SETS, ids="|".join)
def test_the_conclusion_of_a_chinese_text_is_read(options: tuple[str, ...]) -> None:
    wrong = {}
    for rejection in CHINESE_REJECTIONS:
        for conclusion in CHINESE_CONCLUSIONS:
            for right in range(len(options)):
                names = {"M": chr(ord("A") + right), "U": options[right]}
                lines = [
                    rejection.format(L=chr(ord("A") + place), T=option)
                    for place, option in enumerate(options)
                    if place != right
                ]
                text = "\n".join([*lines, conclusion.format(**names)])
                if (read := find(text, options, len(options)))[0] != right:
                    wrong[text] = read
    assert wrong == {}
