"""Measures the durations of a data set's audio from file headers, without decoding.

Replaces AudioMarathon's eleven analysis scripts and uses their bins and percentiles
(https://github.com/DabDans/AudioMarathon, analyse_audio_duration/), with more bins above ten minutes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.corpus.audit.decode import read_header
from marathon_eval.corpus.audit.expected import Dataset
from marathon_eval.corpus.audit.survey import survey

DURATIONS_VERSION = 1
BIN_EDGES = (
    0,
    2,
    5,
    10,
    15,
    20,
    25,
    30,
    35,
    45,
    60,
    90,
    120,
    180,
    300,
    600,
    1800,
    3600,
    7200,
    14400,
    float("inf"),
)
PERCENTILES = (25, 75, 90, 95, 99)
#: The range of durations that the benchmark calls long audio, in seconds.
LONG_AUDIO_S = (90.0, 300.0)


class TimedFile(NamedTuple):
    """Holds one audio file of a task with its duration in seconds, and its class and speaker where known."""

    task: str
    path: str
    seconds: float
    label: str | None = None
    speaker: str | None = None


class Lengths(NamedTuple):
    """Holds the files whose duration is known, and an error line for each other file."""

    files: list[TimedFile]
    unknown: list[str]


def of_folder(root: Path, dataset: Dataset) -> Lengths:
    """Measure every audio file below a folder, once per task that uses it.

    A file that no row uses gets the data set's name as its task and its folder as its class. Raises MarathonError
    when the folder holds neither audio nor metadata.
    """
    surveyed = survey(root, dataset)
    files: dict[tuple[str, Path], tuple[str | None, str | None]] = {}
    for row in surveyed.rows:
        if row.audio is not None:
            files.setdefault((row.task, row.audio), (row.label, row.speaker))
    used = {path for _, path in files}
    for path in surveyed.files:
        if path not in used:
            files[surveyed.root.name, path] = (path.parent.relative_to(surveyed.root).as_posix(), None)
    named = [(task, path, label, speaker) for (task, path), (label, speaker) in files.items()]
    return measured(named, surveyed.root)


def of_docs(task: str, docs: Iterable[Any], cluster: str | None) -> Lengths:
    """Measure the audio of a task's documents; the class is the target, the speaker the task's `cluster` column."""
    named: dict[Path, tuple[str | None, str | None]] = {}
    unknown = []
    for doc in docs:
        if doc.error is not None:
            unknown.append(f"{task} {doc.doc_id}: {doc.error}")
        label = doc.target if isinstance(doc.target, str) else None
        speaker = doc.fields.get(cluster) if cluster is not None else None
        for audio in doc.audio:
            named.setdefault(Path(audio.path), (label, None if speaker is None else str(speaker)))
    lengths = measured([(task, path, *label_and_speaker) for path, label_and_speaker in named.items()], None)
    return Lengths(lengths.files, [*unknown, *lengths.unknown])


def measured(named: Iterable[tuple[str, Path, str | None, str | None]], root: Path | None) -> Lengths:
    """Measure files given as (task, path, class, speaker); a file that two tasks share is opened once."""
    result = Lengths([], [])
    headers: dict[Path, float | str] = {}
    for task, path, label, speaker in named:
        if path not in headers:
            header = read_header(path)
            headers[path] = header.error or header.seconds
        seconds = headers[path]
        name = path.relative_to(root).as_posix() if root is not None else str(path)
        if isinstance(seconds, str):
            result.unknown.append(f"{task} {name}: {seconds}")
        else:
            result.files.append(TimedFile(task, name, seconds, label, speaker))
    return result


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Return count, total, mean, median, population standard deviation, extremes, percentiles and histogram.

    All durations are in seconds.
    """
    import numpy as np

    values = np.asarray(seconds, dtype=np.float64)
    if not len(values):
        return {"count": 0, "total": 0.0}
    counts, _ = np.histogram(values, bins=np.asarray(BIN_EDGES))
    figures = {
        "total": values.sum(),
        "mean": values.mean(),
        "median": np.median(values),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        **{f"p{point}": np.percentile(values, point) for point in PERCENTILES},
    }
    long = float(((values >= LONG_AUDIO_S[0]) & (values <= LONG_AUDIO_S[1])).mean())
    return {
        "count": len(values),
        **{name: round(float(value), 6) for name, value in figures.items()},
        "share_90_to_300": round(long, 6),
        "histogram": {bin_name(place): int(count) for place, count in enumerate(counts) if count},
    }


def bin_name(place: int) -> str:
    """Return a bin's name in seconds, `90-120` or `600+`; a bin includes its lower edge."""
    low, high = BIN_EDGES[place], BIN_EDGES[place + 1]
    return f"{low:g}+" if high == float("inf") else f"{low:g}-{high:g}"


def outliers(files: Sequence[TimedFile]) -> list[TimedFile]:
    """Return the files that lie more than 1.5 interquartile ranges outside the quartiles (Tukey)."""
    import numpy as np

    if len(files) < 4:
        return []
    low, high = np.percentile([file.seconds for file in files], [25, 75])
    reach = 1.5 * (high - low)
    return [file for file in files if not low - reach <= file.seconds <= high + reach]


def analysed(lengths: Lengths) -> dict[str, Any]:
    """Return all figures: over all files, per task, and within a task per class and per speaker."""
    tasks: dict[str, list[TimedFile]] = {}
    for file in lengths.files:
        tasks.setdefault(file.task, []).append(file)
    return {
        "schema_version": DURATIONS_VERSION,
        "all": summary([file.seconds for file in lengths.files]),
        "tasks": {task: _of_task(files) for task, files in sorted(tasks.items())},
        "unknown": lengths.unknown,
    }


def _of_task(files: Sequence[TimedFile]) -> dict[str, Any]:
    far_files = outliers(files)
    return {
        **summary([file.seconds for file in files]),
        "per_class": per(files, "label"),
        "per_speaker": per(files, "speaker"),
        "outliers": [{"path": file.path, "seconds": round(file.seconds, 6)} for file in far_files],
    }


def per(files: Sequence[TimedFile], attribute: str) -> dict[str, Any]:
    """Return the figures of each class or speaker (`attribute`: label or speaker), sorted by name."""
    groups: dict[str, list[float]] = {}
    for file in files:
        value = getattr(file, attribute)
        if value is not None:
            groups.setdefault(value, []).append(file.seconds)
    return {name: summary(seconds) for name, seconds in sorted(groups.items())}


def as_csv(lengths: Lengths) -> str:
    """Return a CSV table with a header and one line per file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("task", "path", "seconds", "class", "speaker"))
    for file in lengths.files:
        writer.writerow((file.task, file.path, f"{file.seconds:.6f}", file.label or "", file.speaker or ""))
    return out.getvalue()


def as_svg(figures: Mapping[str, Any]) -> bytes:
    """Draw the histogram of each task, one panel below the other; equal figures give equal bytes."""
    import matplotlib

    with matplotlib.rc_context(
        {"svg.hashsalt": "durations", "font.family": "sans-serif", "svg.fonttype": "none"}
    ):
        from matplotlib.figure import Figure

        names = [bin_name(place) for place in range(len(BIN_EDGES) - 1)]
        shown = {"all": figures["all"], **figures["tasks"]} if len(figures["tasks"]) > 1 else figures["tasks"]
        figure = Figure(figsize=(8, 0.6 + 1.5 * len(shown)), layout="constrained")
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (task, entry) in zip(panels, shown.items(), strict=True):
            panel.bar(names, [entry.get("histogram", {}).get(name, 0) for name in names], color="#4477aa")
            panel.set_title(
                f"{task}: {entry['count']} files, {entry['total'] / 3600:.2f} h", loc="left", fontsize=9
            )
            panel.spines[["top", "right"]].set_visible(False)
        panels[-1].tick_params(axis="x", rotation=60)
        panels[-1].set_xlabel("seconds")
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()
