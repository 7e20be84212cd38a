"""Checks `choice` on every combination of option sets and sentence frames: what a frame says must be read, never another option.

All texts were written for this project. Models answer in these forms whatever the options are, also where an option's own
words deny something ("No", "Not present") or look like a letter ("A man", "C major").
"""

from __future__ import annotations

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
