"""Tells which rows of several runs are one document of a task, and in what a run asked a document otherwise.

Runs that record the same hash of their data share documents by number. The number says nothing about other runs: their
row is the same document only if the clip, and prompt or gold, are the same too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple


class AskedDocument(NamedTuple):
    """Holds how one run asked a document: gold, breakdown fields, clips as the samples list them, prompt_sha256, options.

    `options` has a line per option, behind its letter if it has one; None without options. `last_turn` is the hash of a
    dialogue's last turn with everything before it; None for other documents. `golds` are the right answers where there
    are several, of which `target` is the text.
    """

    target: str | None
    fields: Mapping[str, Any]
    audio: Sequence[Mapping[str, Any]]
    prompt: str | None
    options: str | None = None
    last_turn: str | None = None
    golds: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """The length of all clips together; None if no length is known."""
        lengths = [clip["seconds"] for clip in self.audio if clip.get("seconds") is not None]
        return round(sum(lengths), 2) if lengths else None


class RunData(NamedTuple):
    """Holds the hash of the rows that a run asked (None if unknown), and whether it replaced their clips."""

    sha256: str | None = None
    replaced: bool = False


class TaskDocuments:
    """Numbers a task's documents by place, in the order in which the runs name them.

    By place: `doc_ids`, `first` (how the first run with the document asked it), `cells` (the number of that run),
    `data` (the hash of its data) and `clusters` (as that run recorded them). `texts` holds one copy of each text.
    """

    def __init__(self, texts: dict[str, str]) -> None:
        self.doc_ids: list[int] = []
        self.first: list[AskedDocument] = []
        self.cells: list[int] = []
        self.data: list[str | None] = []
        self.clusters: list[str | None] = []
        self.texts = texts
        self._replaced: list[bool] = []
        self._by_id: dict[int, list[int]] = {}
        self._by_data: dict[str, dict[int, int]] = {}

    def of_run(self, cell: int, data: RunData) -> RunDocuments:
        """Return what finds the documents of one run; `cell` is the run's number."""
        known = {} if data.sha256 is None else self._by_data.setdefault(data.sha256, {})
        return RunDocuments(self, cell, data, known)

    @property
    def ambiguous(self) -> dict[int, str]:
        """The data's short hash, by place, of documents whose number stands for others too."""
        return {
            place: (self.data[place] or "unknown")[:8]
            for places in self._by_id.values()
            if len(places) > 1
            for place in places
        }

    def place(
        self, doc_id: int, asked: AskedDocument, cell: int, data: RunData, cluster: str | None = None
    ) -> int:
        """Return the place of a run's document, a new one if no other run asked the same document."""
        places = self._by_id.setdefault(doc_id, [])
        for place in places:
            if _same(self.first[place], asked, self._replaced[place] or data.replaced):
                return place
        places.append(len(self.first))
        self.doc_ids.append(doc_id)
        self.first.append(asked)
        self.cells.append(cell)
        self.data.append(data.sha256)
        self.clusters.append(cluster)
        self._replaced.append(data.replaced)
        return places[-1]


class RunDocuments:
    """Finds the documents of one run's rows; `known` has the places of its data by document number."""

    def __init__(self, documents: TaskDocuments, cell: int, data: RunData, known: dict[int, int]) -> None:
        self._documents = documents
        self._cell = cell
        self._data = data
        self._known = known

    def place_of(self, row: Mapping[str, Any]) -> tuple[int, AskedDocument | None]:
        """Return the place of a row's document, and how this run asked it, None if as the first run did."""
        texts = self._documents.texts
        target = joined_text(row["target"], " | ")
        if target is not None:
            target = texts.setdefault(target, target)
        several = isinstance(row["target"], list) and not row.get("turns_sha256")
        asked = AskedDocument(
            target,
            row["fields"],
            row["audio"],
            row["prompt_sha256"],
            _options(row, texts),
            (row.get("turns_sha256") or [None])[-1],
            tuple(map(str, row["target"])) if several else (),
        )
        place = self._known.get(row["doc_id"])
        if place is None:
            place = self._documents.place(row["doc_id"], asked, self._cell, self._data, row.get("cluster"))
            self._known[row["doc_id"]] = place
        first = self._documents.first[place]
        # the clip of another folder is the same clip if its hash is
        if asked == first or (
            asked[:2] == first[:2] and asked[3:] == first[3:] and same_clips(asked.audio, first.audio)
        ):
            return place, None
        return place, asked


def _options(row: Mapping[str, Any], texts: dict[str, str]) -> str | None:
    choices: Sequence[str] = row.get("choices") or ()
    if not choices:
        return None
    letters: Sequence[str] = row.get("letters") or ()
    lettered = len(letters) == len(choices) and list(letters) != list(choices)
    lines = [f"{a}. {b}" for a, b in zip(letters, choices, strict=True)] if lettered else map(str, choices)
    text = "\n".join(lines)
    return texts.setdefault(text, text)


def same_clips(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether two lists of clips are the same stretches of the same sounds, wherever their files are."""
    return len(one) == len(other) and all(
        a.get("sha256") is not None and _heard(a) == _heard(b) for a, b in zip(one, other, strict=True)
    )


def _heard(clip: Mapping[str, Any]) -> list[Any]:
    return [clip.get("sha256"), clip.get("start") or 0.0, clip.get("stop"), clip.get("transform") or ""]


def _same(one: AskedDocument, other: AskedDocument, replaced: bool) -> bool:
    """Return whether rows of one number, on data of different hashes, are the same document."""
    if (
        replaced
    ):  # of the clip only its length may be left, as in silence; without it, nothing tells clips apart
        alike = one[:2] == other[:2] and one.prompt == other.prompt
        return alike and one.seconds is not None and one.seconds == other.seconds
    if not same_clips(one.audio, other.audio) and _names(one) != _names(other):
        return False
    return one.prompt == other.prompt or one.target == other.target


def _names(asked: AskedDocument) -> list[tuple[str, Any, Any]]:
    return [
        (PurePath(str(clip["path"])).name, clip.get("start") or 0.0, clip.get("stop")) for clip in asked.audio
    ]


def joined_text(value: Any, between: str) -> str | None:
    """Return a target or response as one text; a list of repeats or right answers is joined by `between`."""
    if isinstance(value, list):
        return between.join("" if part is None else str(part) for part in value)
    return None if value is None else str(value)
