"""Builds the labelled corpus of what models say: options, a text, and the option that it means (None: no option).

Regular forms are generated here from tables, always in the same order; texts that follow no form stand in
tests/data/extraction.jsonl. All of them were written for this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.extraction_languages import DENYING, LETTER_FRAMES, TEXT_ROWS, YES_NO
from marathon_eval.scoring.filters.choice import find
from marathon_eval.scoring.thought_marks import MARKS, TAGS

FILE = Path(__file__).resolve().parents[1] / "data" / "extraction.jsonl"
EVENTS = ("Dog barking", "Cat meowing", "Bird singing", "Car passing")


class Said(NamedTuple):
    """One labelled text; `right` is the option's text, or None where no option is meant."""

    kind: str
    options: tuple[str, ...]
    lettered: bool
    text: str
    right: str | None


class Tally(NamedTuple):
    """Counts of one kind: answerable texts, those answered right and not at all, wrong answers, texts without an option."""

    answerable: int
    hit: int
    wrong: int
    unanswered: int
    silent: int


def read(said: Said) -> str | None:
    """Return the option that `choice` finds in a text."""
    place, _ = find(said.text, said.options, len(said.options) if said.lettered else 0)
    return None if place is None else said.options[place]


def tally(corpus: list[Said]) -> dict[str, Tally]:
    """Return the counts of each kind, in the order of the corpus."""
    counts: dict[str, Tally] = {}
    for said in corpus:
        before, found = counts.get(said.kind, Tally(0, 0, 0, 0, 0)), read(said)
        counts[said.kind] = Tally(
            before.answerable + (said.right is not None),
            before.hit + (said.right is not None and found == said.right),
            before.wrong + (found is not None and found != said.right),
            before.unanswered + (said.right is not None and found is None),
            before.silent + (said.right is None),
        )
    return counts


def corpus() -> list[Said]:
    """Return all labelled texts."""
    made = [said for part in (_english, _letters, _thoughts, _languages, _unlettered) for said in part()]
    written = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    return made + [
        Said(row["kind"], tuple(row["options"]), row["lettered"], row["text"], row["right"])
        for row in written
    ]


_TEXT_FRAMES = (
    "{}",
    "{}.",
    "**{}**",
    "The answer is {}",
    "The answer is {}.",
    "Answer: {}",
    "**Answer:** {}",
    "Final answer: {}.",
    "My answer is {}.",
    "The correct answer is {}.",
    "<answer>{}</answer>",
    "\\boxed{{{}}}",
    '{{"answer": "{}"}}',
    "I would say {}.",
    "So the answer is {}.",
    "<think>Hard, but clear.</think>{}",
)
_ROWS = {
    "yes and no": (("Yes", "No"), ("No", "Yes"), ("yes", "no", "maybe")),
    "filler words as options": (
        ("One", "Two", "Three", "None"),
        ("All", "Some", "None"),
        ("one", "all", "none"),
        ("Both", "Neither"),
    ),
    "texts that begin with a letter": (
        ("D major", "C major", "B minor", "A minor"),
        ("B flat", "E flat", "A major", "D major"),
        ("Grade C", "Grade A", "Grade D", "Grade B"),
        ("C# minor", "C minor", "C major", "Db major"),
        ("Vitamin D", "Vitamin C", "Plan B", "Type A"),
        ("F sharp", "F", "G flat", "G"),
        ("A cappella", "D minor", "C section", "B side"),
    ),
    "signs and digits": (
        ("-5 dB", "5 dB", "0 dB"),
        ("<10", ">10", "10"),
        ("1.5 s", "15 s", "0.15 s"),
        ("3/4", "4/4", "6/8"),
        ("50%", "5%", "15%"),
        ("+3 dB", "-3 dB", "30 dB"),
        ("1:05", "1:50", "10:5"),
        ("$5", "€5", "£5"),
        ("1,000 Hz", "100 Hz", "10,000 Hz"),
        ("18-30", "31-40", "71+"),
        ("less than 5", "more than 5", "exactly 5"),
    ),
    "an option twice": (("Rainforest", "Desert", "Rainforest"), ("jazz", "rock", "jazz", "pop")),
    "no letters or digits": (("😀", "😢"), ("♩", "♫", "♬"), ("→", "←")),
}


def _english() -> Iterator[Said]:
    for kind, rows in _ROWS.items():
        for options in rows:
            for option in dict.fromkeys(options):
                for frame in _TEXT_FRAMES:
                    for lettered in (False, True):
                        if lettered and len(option) == 1 and option.isascii() and option.isalpha():
                            continue  # "F" alone may be the letter of another option
                        yield Said(kind, options, lettered, frame.format(option), option)


_LETTER_FRAMES = (
    "{}", "({})", "{}.", "**{}**", "{})", "[{}]", "\\boxed {}", "\\boxed{{{}}}", "\\boxed{{\\text{{{}}}}}", "The answer is {}.",
    "Answer: {}", "answer = {}", "Answer -> {}", "Final answer: {}", "I'm confident it's {}", "I'm sure it's {}.",
    "Of the options, {} best describes the audio.", "Option {} best matches the recording.", "{} is the correct answer.",
    "{} is correct", "The correct option is {}", "I'd go with {}.", "I choose {}", "My choice is {}", "It's {}", "It is {}.",
    "So, {}.", "Therefore, {}", "Option {}", "Choice {}", "<answer>{}</answer>", "The best match is {}", "It must be {}.",
    "{} most closely matches what I hear.", "I am pretty sure it is {}.", "{} fits best.", "The correct letter is {}",
    "After careful listening, the answer is ({})", "{}\n\nThe recording is clear.", "{}: it is plain to hear.",
    "I'm going with {}.", "{} would be my answer.", "Answer:\n{}", "```\n{}\n```", "Answer is: {}", "\"{}\"",
)  # fmt: skip
_ENDS = (
    "\n\nQuestion: Which of these?\nA. x\nB. y\nAnswer: B",
    "<|endoftext|>Human: next question A. x B. y",
    "<|im_end|>\n<|im_start|>user\nAnd now? A or B",
    "\n\nQuestion 2: What follows?\nAnswer: A",
    "</s>The answer is A",
    "\n\nHuman: And this one?\nAssistant: A",
    "<|eot_id|>B",
    "<end_of_turn>\n<start_of_turn>user\nB?",
    "\n\nQ: And now?\nA: B",
)


def _letters() -> Iterator[Said]:
    for place, option in enumerate(EVENTS):
        letter = "ABCD"[place]
        for frame in _LETTER_FRAMES:
            yield Said("a letter in a frame", EVENTS, True, frame.format(letter), option)
        for end in _ENDS:
            for start in (letter, f"{letter}.", f"The answer is {letter}.", f"{letter}. {option}"):
                yield Said("text after the end", EVENTS, True, start + end, option)
        yield from _copied(letter, option)
    for frame in (
        "not {}",
        "It is not {}.",
        "The answer isn't {}.",
        "{} is wrong.",
        "Is it {}?",
        "I don't think it's {}",
    ):
        for letter in "BCD":
            yield Said("denied or asked", EVENTS, True, frame.format(letter), None)


def _copied(letter: str, option: str) -> Iterator[Said]:
    layouts = ("{}. {}", "{}) {}", "({}) {}", "{}: {}")
    for layout in layouts:
        listed = "\n".join(layout.format("ABCD"[at], text) for at, text in enumerate(EVENTS))
        bold = "\n".join(
            f"**{layout.format('ABCD'[at], text)}**" if text == option else layout.format("ABCD"[at], text)
            for at, text in enumerate(EVENTS)
        )
        ends = (
            f"**{letter}**",
            f"**{option}**",
            f"**{layout.format(letter, option)}**",
            f"Answer: {letter}",
            option,
            letter,
        )
        for end in ends:
            yield Said("options copied", EVENTS, True, f"{listed}\n\n{end}", option)
        yield Said("options copied", EVENTS, True, bold, option)
        yield Said("options copied", EVENTS, True, listed, None)
    plain = "\n".join(EVENTS)
    yield Said("options copied", EVENTS, False, f"{plain}\n\n**{option}**", option)
    yield Said("options copied", EVENTS, False, f"Options: {', '.join(EVENTS)}.\n\n**{option}**", option)


def _thoughts() -> Iterator[Said]:
    marks = [(f"<{tag}>", f"</{tag}>") for tag in TAGS]
    marks += [(mark.opening, closing) for mark in MARKS for closing in mark.closing]
    for opening, closing in marks:
        for thought in ("The answer is B, no wait, ", "Maybe A. Or B?\n"):
            for end, right in (("C", 2), ("The answer is D.", 3), ("Cat meowing", 1)):
                yield Said("thoughts", EVENTS, True, f"{opening}{thought}{closing}{end}", EVENTS[right])
        yield Said("thoughts", EVENTS, True, f"{opening}The answer is B, I am sure", None)


def _languages() -> Iterator[Said]:
    for language, frames in LETTER_FRAMES.items():
        for frame in frames:
            for place, option in enumerate(EVENTS):
                yield Said(f"answer words: {language}", EVENTS, True, frame.format("ABCD"[place]), option)
        for frame in DENYING[language]:
            for letter in "BCD":
                yield Said(f"answer words: {language}", EVENTS, True, frame.format(letter), None)
    for language, row in TEXT_ROWS.items():
        for lettered in (False, True):
            for option in row.options:
                for frame in ("{}", "{}.", "**{}**", *row.frames):
                    yield Said(
                        f"option texts: {language}", row.options, lettered, frame.format(option), option
                    )
                for frame in row.denying:
                    yield Said(f"option texts: {language}", row.options, lettered, frame.format(option), None)
            for frame in row.contrasts:
                for wrong, right in zip(row.options, row.options[1:], strict=False):
                    yield Said(
                        f"option texts: {language}", row.options, lettered, frame.format(wrong, right), right
                    )
    for language, (options, frames) in YES_NO.items():
        for option in options:
            for frame in ("{}", "{}.", *frames):
                yield Said(f"yes and no: {language}", options, False, frame.format(option), option)


def _unlettered() -> Iterator[Said]:
    many = tuple(f"sound {number}" for number in range(1, 31))
    for option in many:
        for frame in ("{}", "The answer is {}.", "I hear {} here"):
            yield Said("more than 26 options", many, False, frame.format(option), option)
    for layout in ("{}. {}", "({}) {}", "{}) {}", "{}: {}"):
        carried = tuple(layout.format("ABCD"[place], text) for place, text in enumerate(EVENTS))
        for place, option in enumerate(carried):
            letter, text = "ABCD"[place], EVENTS[place]
            for lettered in (False, True):
                for said in (
                    letter,
                    option,
                    text,
                    f"The answer is {letter}.",
                    f"({letter})",
                    f"I hear a {text.lower()}",
                    f"{letter}. {text}",
                ):
                    yield Said("options with letters of their own", carried, lettered, said, option)
    numbered = tuple(f"{place}. {text}" for place, text in enumerate(EVENTS, 1))
    for place, option in enumerate(numbered):
        for said in (
            option,
            EVENTS[place],
            f"{place + 1}",
            f"The answer is {place + 1}.",
            f"Option {place + 1}",
        ):
            yield Said("options with letters of their own", numbered, False, said, option)
