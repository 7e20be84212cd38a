"""Checks `choice` on every combination of option sets and sentence frames: what a frame says must be read, never another option.

All texts were written for this project. Models answer in these forms whatever the options are, also where an option's own
words deny something ("No", "Not present") or look like a letter ("A man", "C major").
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import permutations

import pytest

from marathon_eval.scoring.filters.choice import find

OPTION_SETS = (
    ("Yes", "No"),
    ("No", "Yes"),
    ("Sí", "No"),
    ("oui", "non"),
    ("ja", "nein"),
    ("Real", "Fake"),
    ("True", "False"),
    ("Present", "Not present"),
    ("No speech", "Speech"),
    ("None", "One", "Two", "Three"),
    ("Never", "Sometimes", "Always"),
    ("Neither", "Both", "Only the first"),
    ("Without vocals", "With vocals"),
    ("The speaker is not angry", "The speaker is angry"),
    ("He cannot swim", "He can swim"),
    ("Out of tune", "In tune"),
    ("Unlikely", "Likely"),
    ("A man", "A woman", "A child"),
    ("Dog barking", "Cat meowing", "Bird singing", "Car passing"),
    ("1", "2", "3", "4"),
    ("2", "3", "4", "1"),
    ("-5 dB", "0 dB", "5 dB"),
    ("C major", "A minor", "G major"),
    ("Plan B", "Plan A"),
    ("A, B and C", "Only A", "B and C"),
    ("U.S.", "U.K."),
    ("because it rained", "because it snowed"),
    ("18-25", "26-35", "36-50", "50+"),
)
#: What states the option with letter {L} and text {T}.
STATES = (
    "({L}) {T}",
    "{L}) {T}",
    "{L}. {T}",
    "{L}: {T}",
    "{L} {T}",
    "[{L}] {T}",
    "{L} - {T}",
    "**({L}) {T}**",
    "**{L}** {T}",
    "{L}\n\n{T}",
    "Option {L}: {T}",
    "Answer: {L}. {T}",
    "The answer is ({L}) {T}.",
    "The answer is {T} ({L}).",
    "The correct answer is {L}: {T}.",
    "The answer is {T}.",
    "I think it's {L}. {T}",
    "{T}, option {L}",
    "{L}. {T}\n\nThe recording shows this clearly.",
    "<answer>{L}) {T}</answer>",
    "[/INST] {L}",
)
#: What states {M} and {U}, and denies {L} and {T}.
STATES_ANOTHER = (
    "It's not ({L}) {T}, it's ({M}) {U}.",
    "({M}) {U}, not ({L}) {T}.",
    "{M}. {U}\n\nExplanation: {L}. {T} is incorrect.",
    "{M}. {U}\n\n{L}. {T} would be wrong.",
    "{L}. {T} is incorrect. {M}. {U} is correct.",
    "{L}) {T}: incorrect\n{M}) {U}: correct",
    "{L}. {T} \u274c\n{M}. {U} \u2705",
    "Is it {L}. {T}? No, it is {M}. {U}.",
    "So the answer is {T}? No. The answer is {U}.",
)
#: What states no option, and denies {L} and {T}.
DENIES = (
    "The answer is not ({L}) {T}.",
    "I don't think it is {L}. {T}.",
    "({L}) {T} is wrong.",
    "Definitely not {L}) {T}.",
    "({L}) {T} can be ruled out.",
    "Is it ({L}) {T}?",
)
#: "U.S." ends a sentence inside of its question, as it would for a reader.
UNCLEAR = {("Is it ({L}) {T}?", "U.S."), ("Is it ({L}) {T}?", "U.K.")}


def letter(place: int) -> str:
    return chr(ord("A") + place)


@pytest.mark.parametrize("options", OPTION_SETS, ids="|".join)
def test_an_option_named_by_letter_and_text_is_read(options: tuple[str, ...]) -> None:
    wrong = {
        text: read
        for place, option in enumerate(options)
        for frame in STATES
        if (read := find(text := frame.format(L=letter(place), T=option), options, len(options)))[0] != place
    }
    assert wrong == {}


@pytest.mark.parametrize("options", OPTION_SETS, ids="|".join)
def test_a_denied_option_is_never_read(options: tuple[str, ...]) -> None:
    wrong = {}
    for place, other in permutations(range(len(options)), 2):
        names = {"L": letter(place), "T": options[place], "M": letter(other), "U": options[other]}
        for frame in STATES_ANOTHER:
            text = frame.format(**names)
            if (read := find(text, options, len(options)))[0] not in (None, other):
                wrong[text] = read
        for frame in DENIES:
            text = frame.format(**names)
            read = find(text, options, len(options))
            if read[0] is not None and (frame, options[place]) not in UNCLEAR:
                wrong[text] = read
    assert wrong == {}


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
        names = {"M": letter(right), "U": options[right]}
        lines = ["I listened to the audio carefully."]
        for place, option in enumerate(options):
            line = draw.choice(fits if place == right else rejections)
            lines.append(line.format(L=letter(place), T=option, **names))
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
                names = {"M": letter(right), "U": options[right]}
                lines = [
                    rejection.format(L=letter(place), T=option)
                    for place, option in enumerate(options)
                    if place != right
                ]
                text = "\n".join([*lines, conclusion.format(**names)])
                if (read := find(text, options, len(options)))[0] != right:
                    wrong[text] = read
    assert wrong == {}


@pytest.mark.parametrize(
    "text",
    [
        "No audio was provided.",
        "No audio file was attached to your message.",
        "No, the recording has not been uploaded.",
        "Please provide the audio clip, no file came with the question.",
    ],
)
def test_a_text_that_says_that_no_audio_came_does_not_say_no(text: str) -> None:
    assert find(text, ("Yes", "No"), 2)[0] is None
    assert find(text, ("Yes", "No"), 0)[0] is None


@pytest.mark.parametrize(
    ("text", "options", "meant"),
    [
        ("No sound is present.", ("Yes", "No"), "No"),
        ("The recording was given by a man.", ("A man", "A woman"), "A man"),
        ("The clip is provided by a male speaker.", ("male", "female"), "male"),
    ],
)
def test_words_of_a_description_make_no_refusal(text: str, options: tuple[str, ...], meant: str) -> None:
    assert find(text, options, 0)[0] == options.index(meant)


@pytest.mark.parametrize(
    "key", ["final_answer", "selected_option", "correct_choice", "predicted_label", "selected"]
)
@pytest.mark.parametrize("value", ["B", "Cat meowing", "B. Cat meowing"])
def test_a_key_of_several_words_names_the_answer(key: str, value: str) -> None:
    text = f'{{"reason": "It is not dog barking.", "{key}": "{value}"}}'
    assert find(text, ("Dog barking", "Cat meowing", "Bird singing"), 3)[0] == 1


@pytest.mark.parametrize(
    ("options", "text", "meant"),
    [
        (("valid", "invalid"), "The argument is not valid.", "invalid"),
        (("valid", "invalid"), "It isn't valid.", "invalid"),
        (("valid", "invalid"), "The argument is valid, not invalid.", "valid"),
        (("valid", "invalid"), "It's not invalid.", None),
        (("valid", "invalid"), "I cannot say whether it is valid or invalid.", None),
        (("stable", "unstable"), "The voice is not stable.", "unstable"),
    ],
)
def test_the_denial_of_an_option_names_its_opposite(
    options: tuple[str, ...], text: str, meant: str | None
) -> None:
    for letters in (0, 2):
        place = find(text, options, letters)[0]
        assert (None if place is None else options[place]) == meant


@pytest.mark.parametrize(
    "options",
    [
        ("C Sharp", "D Flat", "E", "F"),
        ("A-Flat Major", "D Major"),
        ("C# minor", "Db major"),
        ("B FLAT", "E FLAT"),
    ],
)
def test_notes_and_keys_are_read_in_any_case(options: tuple[str, ...]) -> None:
    for place, option in enumerate(options):
        for said in {option, option.title(), option.lower(), option.upper()}:
            for frame in ("{}", "Answer: {}", "The answer is {}."):
                text = frame.format(said)
                assert find(text, options, len(options))[0] == place, text
                assert find(text, options, 0)[0] == place, text
