"""How much of a score is listening: the same questions without the sound, with another row's sound, with options moved.

    --no_audio silence   silence of the same length; `none`: no audio at all
    --swap_audio         every clip is exchanged for another one of the task
    --permute_choices k  k cyclic orders of the options: task, task~1, ... task~(k-1), and the accuracy by gold's place

Every control is another request, so that answers are cached beside the plain ones.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.audio import Audio
from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.files import replaced_atomically
from marathon_eval.task.prompt.choices import letters_of
from marathon_eval.task.task import Task

if TYPE_CHECKING:
    from marathon_eval.api.results import Sample

NoAudio = Literal["silence", "none"]
SILENT_RATE = 16_000
_MARK = "~"


def checked(no_audio: str | None, swap_audio: bool, permute_choices: int | None) -> None:
    """Raises MarathonError for flags that make no sense, or none together."""
    if no_audio is not None and swap_audio:
        raise MarathonError("--no_audio and --swap_audio both replace the audio: give one")
    if permute_choices is not None and permute_choices < 2:
        raise MarathonError(f"--permute_choices: must be at least 2 orders, got {permute_choices}")


def with_permutations(tasks: Mapping[str, Task], permute_choices: int | None) -> dict[str, Task]:
    """Every task, followed by itself with its options moved on. Raises MarathonError for tasks that show no options."""
    found: dict[str, Task] = {}
    for name, task in tasks.items():
        found[name] = task
        if permute_choices is not None and task.writer.question.choices.given:
            _check_shown(task)
            for shift in range(1, permute_choices):
                found[f"{name}{_MARK}{shift}"] = _named(task, f"{name}{_MARK}{shift}")
    if permute_choices is not None and len(found) == len(tasks):
        raise MarathonError(f"--permute_choices: {', '.join(tasks)}: no task here has options")
    return found


def base_of(name: str) -> str:
    """`race` for `race~2`."""
    return name.partition(_MARK)[0]


def controlled(docs: DocSet, task: Task, no_audio: str | None, swap_audio: bool, silence: Path) -> DocSet:
    """The documents as they are asked; `silence` is where silent files are kept. Raises MarathonError."""
    shift = int(task.name.partition(_MARK)[2] or 0)
    if shift:
        turned = [
            turn(task, doc, shift) for doc in docs.docs if doc.error is None and len(doc.choices) > shift
        ]
        left_out = len(docs.docs) - len(turned)
        docs = replace(docs, docs=turned, n_filtered=docs.n_filtered + left_out)
    if no_audio is not None:
        docs = replace(docs, docs=[_unheard(doc, no_audio, silence) for doc in docs.docs])
    return replace(docs, docs=swapped(docs.docs, task.name)) if swap_audio else docs


def turn(task: Task, doc: Doc, shift: int) -> Doc:
    """The document with its options moved `shift` places up, the first ones to the end, and gold with them."""
    count = len(doc.choices)
    order = [(place + shift) % count for place in range(count)]
    letters = letters_of(count, task.writer.question.layout)
    moved = {letters[old]: letters[new] for new, old in enumerate(order)}
    targets = (doc.target,) if isinstance(doc.target, str) else doc.target or ()
    # a gold text moves with its option; a gold letter must be looked up
    gold = tuple(text if text in doc.choices else moved.get(text, text) for text in targets)
    return replace(
        doc,
        fields=_moved_fields(task, doc, order),
        choices=tuple(doc.choices[old] for old in order),
        target=gold[0] if isinstance(doc.target, str) else gold,
    )


def _moved_fields(task: Task, doc: Doc, order: Sequence[int]) -> dict[str, Any]:
    """The row's columns with the options in their new order, wherever the prompt reads them from."""
    choices, fields = task.writer.question.choices, dict(doc.fields)
    if choices.columns:
        names = choices.columns[: len(order)]
        return {**fields, **{names[new]: doc.fields[names[old]] for new, old in enumerate(order)}}
    name = task.config.doc_to_choice
    value = fields.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and isinstance(value, list):
        return {**fields, name: [value[old] for old in order]}
    if isinstance(name, str) and isinstance(value, Mapping):
        keys = sorted(value, key=str)
        return {**fields, name: {keys[new]: value[keys[old]] for new, old in enumerate(order)}}
    raise MarathonError(
        f"--permute_choices: {base_of(task.name)}: its options are no columns of the rows, and cannot be moved"
    )


def _check_shown(task: Task) -> None:
    """A prompt with its options written in would not change with their order."""
    question = task.writer.question
    if not question.text.names & ({"options", "choices"} | question.choices.names):
        raise MarathonError(
            f"--permute_choices: {task.name}: its prompt does not read the options from the row"
        )
    if question.choices.fixed:
        raise MarathonError(
            f"--permute_choices: {task.name}: its options are written in the YAML in one order"
        )


def _named(task: Task, name: str) -> Task:
    """The same task under another name."""
    other = copy.copy(task)
    other.name = name
    other.scorer = task.scorer_named(name)
    return other


def _unheard(doc: Doc, how: str, folder: Path) -> Doc:
    if how == "none":
        return replace(doc, audio=())
    try:
        return replace(doc, audio=tuple(silent(audio.seconds, folder) for audio in doc.audio))
    except AudioError:
        # its own error row says why it could not be measured
        return doc


def silent(seconds: float, folder: Path) -> Audio:
    """Silence of this length, a file of a few hundred bytes. Raises MarathonError when it cannot be written."""
    import numpy as np
    import soundfile

    frames = max(1, round(seconds * SILENT_RATE))
    path = folder / f"silence_{frames}.flac"
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with replaced_atomically(path) as temporary:
                soundfile.write(temporary, np.zeros(frames, np.float32), SILENT_RATE, format="FLAC")
        except (OSError, soundfile.LibsndfileError) as error:
            raise MarathonError(f"--no_audio: {path}: cannot write ({error})") from None
    return Audio(str(path))


def swapped(docs: Sequence[Doc], name: str) -> list[Doc]:
    """Every clip exchanged for the one half the task's clips away, in the order of their names.

    Rows on one clip get one other clip. Raises MarathonError where all rows are on the same clip.
    """
    clips = {doc.audio: doc.audio_names for doc in docs if doc.error is None and doc.audio}
    ordered = sorted(clips, key=lambda audio: (clips[audio], str(audio)))
    if len(ordered) < 2:
        raise MarathonError(f"--swap_audio: {name}: needs rows on at least two clips, and has {len(ordered)}")
    half = len(ordered) // 2
    other = {audio: ordered[(place + half) % len(ordered)] for place, audio in enumerate(ordered)}
    return [replace(doc, audio=other.get(doc.audio, doc.audio)) for doc in docs]


def by_place(
    tasks: Mapping[str, Task], docs: Mapping[str, DocSet], samples: Mapping[str, Sequence[Sample]]
) -> dict[str, dict[str, Any]]:
    """For every task that was asked in several orders: accuracy by gold's place and by order, and who never wavers.

    Of the headline's reading; `steady` is the share of rows that are right in all orders or in none.
    """
    found: dict[str, dict[str, Any]] = {}
    for base in dict.fromkeys(map(base_of, tasks)):
        names = [name for name in tasks if base_of(name) == base]
        headline = tasks[base].config.headline
        if len(names) > 1 and headline is not None:
            marks = {name: _marks(docs[name], samples[name], headline.reading) for name in names}
            found[base] = _summed(marks)
    return found


def _marks(docs: DocSet, samples: Sequence[Sample], reading: str) -> dict[int, tuple[str, float]]:
    """Gold's letter and the accuracy of every row that has both."""
    places: dict[int, str] = {}
    for doc in docs.docs:
        gold = doc.target if isinstance(doc.target, str) else (doc.target or ("",))[0]
        letters = letters_of(len(doc.choices))
        lettered = {letter: letter for letter in letters} | dict(zip(doc.choices, letters, strict=True))
        if gold in lettered or gold.upper() in lettered:
            places[doc.doc_id] = lettered.get(gold) or lettered[gold.upper()]
    marks: dict[int, tuple[str, float]] = {}
    for sample in samples:
        score = sample.readings[reading].scores.get("accuracy") if reading in sample.readings else None
        if score is not None and sample.doc_id in places:
            marks[sample.doc_id] = places[sample.doc_id], score
    return marks


def _summed(marks: Mapping[str, Mapping[int, tuple[str, float]]]) -> dict[str, Any]:
    every = [mark for rows in marks.values() for mark in rows.values()]
    places = {
        letter: [score for place, score in every if place == letter]
        for letter in sorted({p for p, _ in every})
    }
    whole = set.intersection(*(set(rows) for rows in marks.values())) if marks else set()
    steady = [len({rows[number][1] for rows in marks.values()}) == 1 for number in whole]
    return {
        "by_place": {letter: {"n": len(s), "accuracy": sum(s) / len(s)} for letter, s in places.items()},
        "by_order": {
            name: sum(score for _, score in rows.values()) / len(rows) if rows else None
            for name, rows in marks.items()
        },
        "n_in_all_orders": len(whole),
        "steady": sum(steady) / len(steady) if steady else None,
    }


def order_lines(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for every task that was asked in several orders."""
    lines = []
    for name, manifest in manifests.items():
        found = manifest.get("permute_choices")
        if found:
            cells = [
                f"{letter} {cell['accuracy']:.1%} ({cell['n']})" for letter, cell in found["by_place"].items()
            ]
            steady = (
                "" if found["steady"] is None else f"; {found['steady']:.1%} of rows the same in every order"
            )
            lines.append(f"{name}: accuracy by gold's place: {', '.join(cells)}{steady}")
    return lines
