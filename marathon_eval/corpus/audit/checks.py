"""Checks the rows and decoded audio files of a data set; each check is a pure function that yields faults."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from marathon_eval.corpus.audit.decode import DecodedFile
from marathon_eval.corpus.audit.expected import Expected
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.survey import SurveyRow

SILENT_PEAK = 1e-3
QUIET_SECONDS = 10.0
CLIPPED_SHARE = 1e-3
OFF_CENTRE = 0.05
#: Share of the channels' energy that their average keeps, below which they cancel each other.
ANTI_PHASE = 0.05
TOLERANCE_SECONDS = 0.5
#: Significance level of the chi-square tests; strict, because every data set goes through many of them.
P_VALUE = 1e-3
IMBALANCE = 2.0
FEW_ROWS = 20
#: Mean number of rows per pair of class and letter below which the chi-square test is skipped as unreliable.
PER_CELL = 2.5


def audio_faults(file: DecodedFile, task: str, where: str, expected: Expected) -> Iterator[Fault]:
    """Yield the faults of one audio file, judged by what its task expects."""

    def fault(kind: str, seen: str) -> Fault:
        return Fault(kind, task, where, seen)

    if file.error is not None:
        yield fault("unreadable" if file.size else "empty", file.error)
        return
    if file.decoded is None and file.cut_short is not None:
        yield fault("truncated", file.cut_short)
    if not file.frames:
        if file.cut_short is None:
            yield fault("empty", "holds no samples")
        elif file.decoded is not None:
            yield fault("truncated", file.cut_short)
        return
    if expected.rate is not None and file.rate != expected.rate:
        yield fault("wrong_rate", f"{file.rate} Hz, the task has {expected.rate} Hz")
    if file.channels > 1 and expected.mono:
        yield fault("multi_channel", f"{file.channels} channels")
    if file.note is not None:
        yield fault("several_tracks", file.note)
    if not file.suffix_fits:
        yield fault("wrong_container", f"holds {file.container}")
    yield from length_faults(file, task, where, expected)
    if file.decoded is not None:
        yield from sound_faults(file, task, where)


def length_faults(file: DecodedFile, task: str, where: str, expected: Expected) -> Iterator[Fault]:
    """Yield faults of the duration: outside the task's own range, or below the data set's promised minimum."""
    if expected.seconds is not None:
        least, most = expected.seconds
        if file.seconds < least - TOLERANCE_SECONDS:
            yield Fault(
                "too_short", task, where, f"{file.seconds:.1f} s, the task's clips have {least:g} or more"
            )
            return
        if file.seconds > most + TOLERANCE_SECONDS:
            yield Fault(
                "too_long", task, where, f"{file.seconds:.1f} s, the task's clips have at most {most:g}"
            )
    if task and file.seconds < expected.promised_seconds - TOLERANCE_SECONDS:
        yield Fault("short_of_promise", task, where, f"{file.seconds:.1f} s")


def sound_faults(file: DecodedFile, task: str, where: str) -> Iterator[Fault]:
    """Yield the faults that only decoding reveals: truncation, bad samples, silence, clipping, DC offset."""
    if file.cut_short is not None:
        yield Fault("truncated", task, where, file.cut_short)
    if not file.finite:
        yield Fault("non_finite", task, where, "contains samples that are not finite numbers")
    elif file.decoded and file.peak < SILENT_PEAK:
        yield Fault("silent", task, where, f"peak {file.peak:.1e} of full scale")
        return
    if file.silence_seconds >= QUIET_SECONDS or file.silence_seconds > file.seconds / 2:
        yield Fault("partly_silent", task, where, f"{file.silence_seconds:.1f} s without any sound")
    if file.clipped > CLIPPED_SHARE:
        yield Fault("clipped", task, where, f"{file.clipped:.2%} of the samples at full scale")
    elif file.resampled_clipped > CLIPPED_SHARE:
        yield Fault(
            "clips_resampled",
            task,
            where,
            f"{file.resampled_clipped:.2%} of the samples above full scale at 16 kHz",
        )
    if abs(file.mean) > OFF_CENTRE:
        yield Fault("dc_offset", task, where, f"mean {file.mean:+.3f}")
    if file.mono_share < ANTI_PHASE:
        yield Fault(
            "anti_phase", task, where, f"the channels' average has {file.mono_share:.1%} of their energy"
        )


def row_faults(row: SurveyRow) -> Iterator[Fault]:
    """Yield the faults of one row: its audio path, question, options, answer and reference text."""

    def fault(kind: str, seen: str) -> Fault:
        return Fault(kind, row.task, row.where, seen)

    if row.audio is not None and not row.audio.exists():
        yield fault("missing", row.written)
    if row.reference is not None and not row.reference.strip():
        yield fault("empty_reference", row.written)
    if row.question is not None and not row.question.strip():
        yield fault("empty_question", row.written)
    if row.gold is not None and row.options and row.answer is None:
        yield fault("gold_not_an_option", f"{row.gold!r} of {list(row.options)}")
    texts = [option.strip().casefold() for option in row.options]
    if "" in texts:
        yield fault("empty_option", f"{list(row.options)}")
    repeated = [text for text, count in Counter(texts).items() if text and count > 1]
    if repeated:
        yield fault("duplicate_option", f"{repeated[0]!r} occurs {texts.count(repeated[0])} times")
    wrong = {plain_label(text) for place, text in enumerate(row.options) if row.answer not in (place, None)}
    for text in sorted(wrong & {plain_label(text) for text in row.also_true}):
        yield fault("true_distractor", f"wrong option {text!r} is true as well: {', '.join(row.also_true)}")


def plain_label(text: str) -> str:
    """Return a text in the form that options and class names are compared in: `Running_water` as `running water`."""
    return text.replace("_", " ").strip().casefold()


def task_faults(task: str, rows: Sequence[SurveyRow], expected: Expected, place: str) -> Iterator[Fault]:
    """Yield the faults of a task's rows taken together: row count, option counts, duplicates, imbalance."""
    if expected.rows is not None and len(rows) != expected.rows:
        yield Fault("row_count", task, place, f"{len(rows)} rows, the release has {expected.rows}")
    usual_count = Counter(len(row.options) for row in rows).most_common(1)[0][0]
    for row in rows:
        if expected.same_options and len(row.options) != usual_count:
            yield Fault(
                "option_count", task, row.where, f"{len(row.options)} options, the others have {usual_count}"
            )
    yield from repeated_rows(task, rows)
    classes = Counter(row.label for row in rows if row.label is not None)
    if unbalanced(list(classes.values()), len(rows)):
        counts = ", ".join(f"{name} {count}" for name, count in classes.most_common())
        yield Fault("label_imbalance", task, place, counts)
    yield from letter_faults(task, rows, expected, place)


def unbalanced(counts: Sequence[int], rows: int) -> bool:
    """Return whether class sizes differ by more than a factor of two and by more than chance explains."""
    if rows < FEW_ROWS or not 1 < len(counts) <= rows / 5:  # so many classes are rather values of a number
        return False
    return max(counts) > IMBALANCE * min(counts) and uneven_p(counts) < P_VALUE


def repeated_rows(task: str, rows: Sequence[SurveyRow]) -> Iterator[Fault]:
    """Yield duplicate ids, and rows that repeat a question with its options on the same audio."""
    ids: dict[str, str] = {}
    questions: dict[tuple[str, str | None, tuple[str, ...]], str] = {}
    for row in rows:
        if row.uid is not None:
            first = ids.setdefault(row.uid, row.where)
            if first != row.where:
                yield Fault("duplicate_id", task, row.where, f"id {row.uid} is also the id of {first}")
        before = questions.setdefault((row.written, row.question, tuple(sorted(row.options))), row.where)
        if before != row.where:
            yield Fault(
                "duplicate_row", task, row.where, f"asks the same question on the same audio as {before}"
            )


def letter_faults(task: str, rows: Sequence[SurveyRow], expected: Expected, place: str) -> Iterator[Fault]:
    """Yield unevenly spread answer letters, and letters from which the class can be guessed."""
    answered = [row for row in rows if row.answer is not None and row.question is not None]
    if len(answered) < FEW_ROWS:
        return
    letters = Counter(row.answer for row in answered)
    slots = max(len(row.options) for row in answered)
    counts = [letters[slot] for slot in range(slots)]
    if uneven_p(counts) < P_VALUE:
        spread = ", ".join(f"{chr(65 + slot)} {count}" for slot, count in enumerate(counts))
        yield Fault("letter_imbalance", task, place, spread)
    classes = {row.label for row in answered}
    if not expected.fixed_order and len(classes) > 1 and len(answered) >= PER_CELL * len(classes) * slots:
        p = independence_p(Counter((row.label, row.answer) for row in answered))
        if p < P_VALUE:
            yield Fault(
                "option_order_bias",
                task,
                place,
                f"class and answer letter depend on each other (p = {p:.1e})",
            )


def duplicate_faults(
    heard: Mapping[Path, DecodedFile], places: Mapping[Path, tuple[str, str]]
) -> Iterator[Fault]:
    """Yield files with equal decoded audio, if both belong to one task or if no row uses one of them.

    `places` maps each file to its task and its path. Two tasks may share audio: age and gender of a speaker.
    """
    files_by_hash: dict[str, list[tuple[str, str]]] = {}
    for path, file in heard.items():
        if file.sha256 is None:
            continue
        task, where = places[path]
        earlier = files_by_hash.setdefault(file.sha256, [])
        same = [place for of, place in earlier if of == task or "" in (of, task)]
        if same:
            yield Fault("duplicate_audio", task, where, f"the same sound as {same[0]}")
        earlier.append((task, where))


def orphan_faults(
    files: Iterable[Path], rows: Sequence[SurveyRow], root: Path, mentioned: Collection[str] = ()
) -> Iterator[Fault]:
    """Yield audio files that no row uses, in folders whose other files are used; `mentioned` names are used."""
    used = {row.audio for row in rows if row.audio is not None}
    used |= {Path(clip.path) for row in rows for clip in row.clips}
    folders = {path.parent: row.task for row in rows if (path := row.audio) is not None}
    for path in files:
        if path not in used and path.parent in folders and path.name not in mentioned:
            where = path.relative_to(root).as_posix()
            yield Fault("orphan_audio", folders[path.parent], where, "no row uses it")


def uneven_p(counts: Sequence[int]) -> float:
    """Return the p-value of such counts if all classes are equally likely (Pearson's chi-square)."""
    mean = sum(counts) / len(counts)
    return chi_square_p(sum((count - mean) ** 2 for count in counts) / mean, len(counts) - 1)


def independence_p(table: Mapping[tuple[str | None, int | None], int]) -> float:
    """Return the p-value that two attributes are independent, from counts of their pairs (Pearson's chi-square)."""
    rows: Counter[str | None] = Counter()
    columns: Counter[int | None] = Counter()
    for (row, column), count in table.items():
        rows[row] += count
        columns[column] += count
    total = sum(rows.values())
    statistic = 0.0
    for row, in_row in rows.items():
        for column, in_column in columns.items():
            expected = in_row * in_column / total
            statistic += (table.get((row, column), 0) - expected) ** 2 / expected
    return chi_square_p(statistic, (len(rows) - 1) * (len(columns) - 1))


def chi_square_p(statistic: float, freedom: int) -> float:
    """Return the upper tail probability of the chi-square distribution, accurate to a few percent.

    Uses the cube-root normal approximation of Wilson and Hilferty (1931); `freedom` is the degrees of freedom.
    """
    if freedom < 1 or statistic <= 0:
        return 1.0
    spread = 2 / (9 * freedom)
    return 0.5 * math.erfc(((statistic / freedom) ** (1 / 3) - 1 + spread) / math.sqrt(2 * spread))
