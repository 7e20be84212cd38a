"""Renders the tasks' prompts with the options in every order, and finds where in them the options end."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from demo.heard import SCENE_NAMES
from demo.people import EMOTIONS
from marathon_eval.api.doc import Doc
from marathon_eval.api.model import Request
from marathon_eval.api.registry import Registry
from marathon_eval.task.task import Task, load_task
from nano.pieces import GENRES, MOODS, PLACES, SOUNDS

Random = np.random.Generator

#: What a clip of each kind is asked.
TASKS = {"genre": "gtzan", "place": "tau", "event": "desed", "acted": "vesus", "spoken": "vox_gender"}
LABELS = {"genre": GENRES, "place": PLACES, "event": SOUNDS, "acted": MOODS, "spoken": ("Male", "Female")}
#: Rows bring their own question where the task asks it; the first is the one of the small data and of the test.
ASKS = {
    "genre": (
        "Which genre is this music?",
        "What is the genre of this music?",
        "Which style of music is played?",
    ),
    "place": ("Where was this recorded?",),
    "event": (
        "Which of these sounds can be heard in the recording?",
        "Which sound event is present in the recording?",
        "What can be heard?",
    ),
    "acted": (
        "Which emotion does the speaker express?",
        "What is the emotion of the speaker?",
        "Which emotion is in this voice?",
    ),
    "spoken": ("Is the speaker male or female?",),
}


class Asked(NamedTuple):
    """Holds a rendered question, its answer's letter, its options' labels, and the right one's number."""

    request: Request
    letter: str
    options: tuple[str, ...]
    right: int


def option(kind: str, label: str) -> str:
    """Return the option's text, as the datasets write it."""
    if kind == "genre":
        return f"{label.capitalize()} - {label}"
    if kind == "place":
        return f"{SCENE_NAMES[label]} - {label}"
    if kind == "acted":
        return f"{label} - {EMOTIONS[label][0]}"
    return label


def row(random: Random, kind: str, label: str, question: str | None = None) -> dict[str, Any]:
    """Return a metadata row of the task for a clip of this class, with drawn and shuffled options."""
    question = question or str(random.choice(ASKS[kind]))
    if kind == "spoken":
        return {"question": question, "choice_a": "Male", "choice_b": "Female", "answer_gt": label}
    wrong = [other for other in LABELS[kind] if other != label]
    options = [label, *(wrong[i] for i in random.permutation(len(wrong))[:3])]
    order = [options[i] for i in random.permutation(4)]
    texts = [option(kind, each) for each in order]
    letter = "ABCD"[order.index(label)]
    named: dict[str, Any] = {"choices": dict(zip("ABCD", texts, strict=True))}
    if kind != "event":
        named = {f"choice_{place}": text for place, text in zip("abcd", texts, strict=True)}
    return {"question": question, **named, "answer_gt": letter}


class Asker:
    """Renders questions with the tasks' YAMLs."""

    def __init__(self) -> None:
        registry = Registry()
        self.tasks = {
            kind: cast("Task", load_task(registry.task_path(name), registry.task_path))
            for kind, name in TASKS.items()
        }

    def ask(self, random: Random, kind: str, label: str) -> Asked:
        """Return a question about a clip of this class."""
        fields = row(random, kind, label)
        task = self.tasks[kind]
        request = task.requests(Doc(0, fields))[0]
        if kind == "spoken":
            return Asked(request, "ab"[LABELS[kind].index(label)], LABELS[kind], LABELS[kind].index(label))
        texts = _texts(fields)
        known = {option(kind, each): each for each in LABELS[kind]}
        options = tuple(known[text] for text in texts)
        return Asked(request, fields["answer_gt"], options, "ABCD".index(fields["answer_gt"]))


def _texts(fields: dict[str, Any]) -> list[str]:
    if "choices" in fields:
        return list(fields["choices"].values())
    return [fields[f"choice_{place}"] for place in "abcd"]
