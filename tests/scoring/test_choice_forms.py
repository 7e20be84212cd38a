"""Checks single forms of answers that `choice` reads: refusals without audio, keys of JSON, opposites, notes and keys."""

from __future__ import annotations

import pytest

from marathon_eval.scoring.filters.choice import find


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
