"""Applies control conditions, which show how much of a score comes from listening to the audio.

    --no_audio silence   replaces every clip by silence of the same length; `none` sends no audio at all
    --swap_audio         replaces every clip by another clip of the task
    --permute_choices k  asks in k cyclic orders of the options (task, task~1, ... task~(k-1)), and reports accuracy by
                         the position of the gold option

A control changes the request, so its responses have their own cache entries.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.audio import Audio
from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.files import replaced_atomically
from marathon_eval.task.prompt.choices import letters_of, option_keys
from marathon_eval.task.task import Task

if TYPE_CHECKING:
    from marathon_eval.api.results import Sample

#: Sampling rate of silent clips, in Hz.
SILENT_RATE = 16_000
#: Separates a task's name from the number of positions by which its options are moved: `race~2`.
_MARK = "~"


def checked(no_audio: str | None, swap_audio: bool, permute_choices: int | None) -> None:
    """Check the values of the control flags. Raises MarathonError for an invalid value or combination."""
    if no_audio is not None and swap_audio:
        raise MarathonError("--no_audio and --swap_audio both replace the audio: give one")
    if permute_choices is not None and permute_choices < 2:
        raise MarathonError(f"--permute_choices: must be at least 2 orders, got {permute_choices}")


def with_permutations(tasks: Mapping[str, Task], permute_choices: int | None) -> dict[str, Task]:
    """Return the tasks, each followed by its copies with permuted options (`race~1`, `race~2`, ...).

    Raises MarathonError for a task whose prompt does not show its options, and if no task has options.
    """
    permuted: dict[str, Task] = {}
    for name, task in tasks.items():
        permuted[name] = task
        if permute_choices is not None and task.writer.question.choices.given:
            _check_shown(task)
            for shift in range(1, permute_choices):
                permuted[f"{name}{_MARK}{shift}"] = _renamed_copy(task, f"{name}{_MARK}{shift}")
    if permute_choices is not None and len(permuted) == len(tasks):
        raise MarathonError(f"--permute_choices: {', '.join(tasks)}: no task here has options")
    return permuted


def base_of(name: str) -> str:
    """Return the task's name without the mark of its order: `race` for `race~2`."""
    return name.partition(_MARK)[0]


def controlled(docs: DocSet, task: Task, no_audio: str | None, swap_audio: bool, silence: Path) -> DocSet:
    """Apply the controls to the documents; `silence` is the folder of silent clips. Raises MarathonError."""
    shift = int(task.name.partition(_MARK)[2] or 0)
    if shift:
        permuted = [
            turn(task, doc, shift) for doc in docs.docs if doc.error is None and len(doc.choices) > shift
        ]
        left_out = len(docs.docs) - len(permuted)
        docs = replace(docs, docs=permuted, n_filtered=docs.n_filtered + left_out)
    if no_audio is not None:
        docs = replace(docs, docs=[_without_audio(doc, no_audio, silence) for doc in docs.docs])
    return replace(docs, docs=swapped(docs.docs, task.name)) if swap_audio else docs


def turn(task: Task, doc: Doc, shift: int) -> Doc:
    """Return the document with its options moved `shift` positions up, cyclically, and the target moved with them."""
    count = len(doc.choices)
    order = [(place + shift) % count for place in range(count)]
    letters = letters_of(count, task.writer.question.layout)
    new_letters = {letters[old]: letters[new] for new, old in enumerate(order)}
    targets = (doc.target,) if isinstance(doc.target, str) else doc.target or ()
    context = task.context(doc)
    # a target that is an option's text stays valid; a target letter must be replaced, also where it is a text too
    texts = [text for text in doc.choices if context.free_gold or text not in context.letters]
    gold = tuple(text if text in texts else new_letters.get(text, text) for text in targets)
    return replace(
        doc,
        fields=_permuted_fields(task, doc, order),
        choices=tuple(doc.choices[old] for old in order),
        target=gold[0] if isinstance(doc.target, str) else gold,
    )


def _permuted_fields(task: Task, doc: Doc, order: Sequence[int]) -> dict[str, Any]:
    """Return the row's columns with the options in a new order. Raises MarathonError if no column has them."""
    choices, fields = task.writer.question.choices, dict(doc.fields)
    if choices.columns:
        names = choices.columns[: len(order)]
        return {**fields, **{names[new]: doc.fields[names[old]] for new, old in enumerate(order)}}
    name = task.config.doc_to_choice
    value = fields.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and isinstance(value, list):
        return {**fields, name: [value[old] for old in order]}
    if isinstance(name, str) and isinstance(value, Mapping):
        keys = option_keys(value)
        return {**fields, name: {keys[new]: value[keys[old]] for new, old in enumerate(order)}}
    raise MarathonError(
        f"--permute_choices: {base_of(task.name)}: its options are not in a column, so their order cannot be changed"
    )


def _check_shown(task: Task) -> None:
    """Raise MarathonError unless the prompt shows the options of the row; else a new order would not change it."""
    question = task.writer.question
    if not question.text.names & ({"options", "choices"} | question.choices.names):
        raise MarathonError(
            f"--permute_choices: {task.name}: its prompt does not read the options from the row"
        )
    if question.choices.fixed:
        raise MarathonError(
            f"--permute_choices: {task.name}: its options are written in the YAML in one order"
        )


def _renamed_copy(task: Task, name: str) -> Task:
    """Return the same task under another name."""
    renamed = copy.copy(task)
    renamed.name = name
    renamed.scorer = task.scorer_named(name)
    return renamed


def _without_audio(doc: Doc, how: str, folder: Path) -> Doc:
    if how == "none":
        return replace(doc, audio=(), example_audio=())
    try:
        return replace(
            doc,
            audio=tuple(silent(audio.seconds, folder) for audio in doc.audio),
            example_audio=tuple(silent(audio.seconds, folder) for audio in doc.example_audio),
        )
    except AudioError:
        # the clip's length is unknown; the document becomes an error row later
        return doc


def silent(seconds: float, folder: Path) -> Audio:
    """Return a clip of silence of this length, writing its FLAC file if needed. Raises MarathonError if it cannot."""
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
    """Replace every clip by the clip half a list further on, in the order of the clips' names.

    All rows on one clip get the same other clip. `name` is the task's. Raises MarathonError if there are fewer than
    two clips.
    """
    clips = {doc.audio: doc.audio_names for doc in docs if doc.error is None and doc.audio}
    ordered = sorted(clips, key=lambda audio: (clips[audio], str(audio)))
    if len(ordered) < 2:
        raise MarathonError(f"--swap_audio: {name}: needs rows on at least two clips, and has {len(ordered)}")
    half = len(ordered) // 2
    replacement = {audio: ordered[(place + half) % len(ordered)] for place, audio in enumerate(ordered)}
    return [replace(doc, audio=replacement.get(doc.audio, doc.audio)) for doc in docs]


def by_place(
    tasks: Mapping[str, Task], docs: Mapping[str, DocSet], samples: Mapping[str, Sequence[Sample]]
) -> dict[str, dict[str, Any]]:
    """Compute, per task asked in several orders, the accuracy by the gold option's position and by order.

    Uses the headline's reading. `steady` is the share of rows with the same result in every order.
    """
    summaries: dict[str, dict[str, Any]] = {}
    for base in dict.fromkeys(map(base_of, tasks)):
        names = [name for name in tasks if base_of(name) == base]
        headline = tasks[base].config.headline
        if len(names) > 1 and headline is not None:
            marks = {name: _marks(tasks[name], docs[name], samples[name], headline.reading) for name in names}
            summaries[base] = _summary(marks)
    return summaries


def _marks(task: Task, docs: DocSet, samples: Sequence[Sample], reading: str) -> dict[int, tuple[str, float]]:
    """Return the gold letter and the accuracy of every row that has both, by doc_id."""
    places: dict[int, str] = {}
    for doc in docs.docs:
        gold = doc.target if isinstance(doc.target, str) else (doc.target or ("",))[0]
        context = task.context(doc)
        for place, letter in enumerate(letters_of(len(doc.choices))):
            if context.means(gold, place):
                places.setdefault(doc.doc_id, letter)
    marks: dict[int, tuple[str, float]] = {}
    for sample in samples:
        score = sample.readings[reading].scores.get("accuracy") if reading in sample.readings else None
        if score is not None and sample.doc_id in places:
            marks[sample.doc_id] = places[sample.doc_id], score
    return marks


def _summary(marks: Mapping[str, Mapping[int, tuple[str, float]]]) -> dict[str, Any]:
    all_marks = [mark for rows in marks.values() for mark in rows.values()]
    places = {
        letter: [score for place, score in all_marks if place == letter]
        for letter in sorted({place for place, _ in all_marks})
    }
    in_all_orders = set.intersection(*(set(rows) for rows in marks.values())) if marks else set()
    steady = [len({rows[number][1] for rows in marks.values()}) == 1 for number in in_all_orders]
    return {
        "by_place": {letter: {"n": len(s), "accuracy": sum(s) / len(s)} for letter, s in places.items()},
        "by_order": {
            name: sum(score for _, score in rows.values()) / len(rows) if rows else None
            for name, rows in marks.items()
        },
        "n_in_all_orders": len(in_all_orders),
        "steady": sum(steady) / len(steady) if steady else None,
    }


def order_lines(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line of text for every task that was asked in several orders."""
    lines = []
    for name, manifest in manifests.items():
        summary = manifest.get("permute_choices")
        if summary:
            cells = [
                f"{letter} {cell['accuracy']:.1%} ({cell['n']})"
                for letter, cell in summary["by_place"].items()
            ]
            steady = (
                ""
                if summary["steady"] is None
                else f"; {summary['steady']:.1%} of rows the same in every order"
            )
            lines.append(f"{name}: accuracy by gold's place: {', '.join(cells)}{steady}")
    return lines
