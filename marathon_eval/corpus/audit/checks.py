"""Checks of a data set, each a pure function from what was read and heard to faults."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from marathon_eval.corpus.audit.decode import DecodedFile
from marathon_eval.corpus.audit.expected import Expected
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.survey import SurveyRow

SILENT_PEAK = 1e-3
QUIET_SECONDS = 10.0
CLIPPED_SHARE = 1e-3
OFF_CENTRE = 0.05
TOLERANCE_SECONDS = 0.5
#: Chance must be this unlikely, so that a sound data set is not blamed by one check of many.
P_VALUE = 1e-3
IMBALANCE = 2.0
FEW_ROWS = 20
#: Rows per class and letter on average, under which chi-square is no longer to be trusted.
PER_CELL = 2.5


def audio_faults(heard: DecodedFile, task: str, where: str, expected: Expected) -> Iterator[Fault]:
    """What is wrong with one file, for the task that uses it."""

    def fault(kind: str, seen: str) -> Fault:
        return Fault(kind, task, where, seen)

    if heard.error is not None:
        yield fault("unreadable" if heard.size else "empty", heard.error)
        return
    if not heard.frames:
        yield fault("empty", "holds no samples")
        return
    if expected.rate is not None and heard.rate != expected.rate:
        yield fault("wrong_rate", f"{heard.rate} Hz, the task has {expected.rate} Hz")
    if heard.channels > 1:
        yield fault("multi_channel", f"{heard.channels} channels")
    if not heard.suffix_fits:
        yield fault("wrong_container", f"holds {heard.container}")
    yield from length_faults(heard, task, where, expected)
    if heard.decoded is not None:
        yield from sound_faults(heard, task, where)


def length_faults(heard: DecodedFile, task: str, where: str, expected: Expected) -> Iterator[Fault]:
    """Against the task's own lengths, and against what the data set promises of all of them."""
    if expected.seconds is not None:
        least, most = expected.seconds
        if heard.seconds < least - TOLERANCE_SECONDS:
            yield Fault(
                "too_short", task, where, f"{heard.seconds:.1f} s, the task's clips have {least:g} or more"
            )
            return
        if heard.seconds > most + TOLERANCE_SECONDS:
            yield Fault(
                "too_long", task, where, f"{heard.seconds:.1f} s, the task's clips have at most {most:g}"
            )
    if task and heard.seconds < expected.promised_seconds - TOLERANCE_SECONDS:
        yield Fault("short_of_promise", task, where, f"{heard.seconds:.1f} s")


def sound_faults(heard: DecodedFile, task: str, where: str) -> Iterator[Fault]:
    """What decoding showed."""
    if heard.cut_short is not None:
        yield Fault("truncated", task, where, heard.cut_short)
    if not heard.finite:
        yield Fault("non_finite", task, where, "samples that are no numbers")
    elif heard.decoded and heard.peak < SILENT_PEAK:
        yield Fault("silent", task, where, f"peak {heard.peak:.1e} of full scale")
        return
    if heard.silence_seconds >= QUIET_SECONDS or heard.silence_seconds > heard.seconds / 2:
        yield Fault("partly_silent", task, where, f"{heard.silence_seconds:.1f} s without any sound")
    if heard.clipped > CLIPPED_SHARE:
        yield Fault("clipped", task, where, f"{heard.clipped:.2%} of the samples at full scale")
    if abs(heard.mean) > OFF_CENTRE:
        yield Fault("dc_offset", task, where, f"mean {heard.mean:+.3f}")


def row_faults(row: SurveyRow) -> Iterator[Fault]:
    """What is wrong with one row, its audio apart."""

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
        yield fault("duplicate_option", f"{repeated[0]!r} stands {texts.count(repeated[0])} times")
    wrong = {plain_label(text) for place, text in enumerate(row.options) if row.answer not in (place, None)}
    for text in sorted(wrong & {plain_label(text) for text in row.also_true}):
        yield fault("true_distractor", f"{text!r} is true too: {', '.join(row.also_true)}")


def plain_label(text: str) -> str:
    """For comparing option texts with class names: `Running_water` is `Running water`."""
    return text.replace("_", " ").strip().casefold()


def task_faults(task: str, rows: Sequence[SurveyRow], expected: Expected, place: str) -> Iterator[Fault]:
    """What is wrong with a task's rows taken together."""
    if expected.rows is not None and len(rows) != expected.rows:
        yield Fault("row_count", task, place, f"{len(rows)} rows, the release has {expected.rows}")
    usual = Counter(len(row.options) for row in rows).most_common(1)[0][0]
    for row in rows:
        if len(row.options) != usual:
            yield Fault(
                "option_count", task, row.where, f"{len(row.options)} options, the others have {usual}"
            )
    yield from repeated_rows(task, rows)
    classes = Counter(row.label for row in rows if row.label is not None)
    if unbalanced(list(classes.values()), len(rows)):
        told = ", ".join(f"{name} {count}" for name, count in classes.most_common())
        yield Fault("label_imbalance", task, place, told)
    yield from letter_faults(task, rows, expected, place)


def unbalanced(counts: Sequence[int], rows: int) -> bool:
    """Whether classes differ in size by more than a factor of two and more than by chance."""
    if rows < FEW_ROWS or not 1 < len(counts) <= rows / 5:  # with so many classes they are rather values
        return False
    return max(counts) > IMBALANCE * min(counts) and uneven_p(counts) < P_VALUE


def repeated_rows(task: str, rows: Sequence[SurveyRow]) -> Iterator[Fault]:
    """Ids, and questions on one audio, that come twice."""
    ids: dict[str, str] = {}
    asked: dict[tuple[str, str | None, tuple[str, ...]], str] = {}
    for row in rows:
        if row.uid is not None:
            first = ids.setdefault(row.uid, row.where)
            if first != row.where:
                yield Fault("duplicate_id", task, row.where, f"id {row.uid} is that of {first}")
        before = asked.setdefault((row.written, row.question, tuple(sorted(row.options))), row.where)
        if before != row.where:
            yield Fault("duplicate_row", task, row.where, f"asks what {before} asks")


def letter_faults(task: str, rows: Sequence[SurveyRow], expected: Expected, place: str) -> Iterator[Fault]:
    """Answer letters that are not evenly spread, and classes that can be told from the letter alone."""
    answered = [row for row in rows if row.answer is not None and row.question is not None]
    if len(answered) < FEW_ROWS:
        return
    letters = Counter(row.answer for row in answered)
    slots = max(len(row.options) for row in answered)
    counts = [letters[slot] for slot in range(slots)]
    if uneven_p(counts) < P_VALUE:
        told = ", ".join(f"{chr(65 + slot)} {count}" for slot, count in enumerate(counts))
        yield Fault("letter_imbalance", task, place, told)
    classes = {row.label for row in answered}
    if not expected.fixed_order and len(classes) > 1 and len(answered) >= PER_CELL * len(classes) * slots:
        p = independence_p(Counter((row.label, row.answer) for row in answered))
        if p < P_VALUE:
            yield Fault("option_order_bias", task, place, f"class and letter hang together (p = {p:.1e})")


def duplicate_faults(
    heard: Mapping[Path, DecodedFile], places: Mapping[Path, tuple[str, str]]
) -> Iterator[Fault]:
    """Files with the same decoded sound, within a task or in no row; `places` gives each file's task and path.

    Two tasks may well ask about one sound: age and gender of a speaker.
    """
    known: dict[str, list[tuple[str, str]]] = {}
    for path, report in heard.items():
        if report.sha256 is None:
            continue
        task, where = places[path]
        before = known.setdefault(report.sha256, [])
        same = [place for of, place in before if of == task or "" in (of, task)]
        if same:
            yield Fault("duplicate_audio", task, where, f"the same sound as {same[0]}")
        before.append((task, where))


def orphan_faults(files: Iterable[Path], rows: Sequence[SurveyRow], root: Path) -> Iterator[Fault]:
    """Audio that no row uses, in folders where rows use some."""
    used = {row.audio for row in rows if row.audio is not None}
    folders = {path.parent: row.task for row in rows if (path := row.audio) is not None}
    for path in files:
        if path not in used and path.parent in folders:
            where = path.relative_to(root).as_posix()
            yield Fault("orphan_audio", folders[path.parent], where, "no row names it")


def uneven_p(counts: Sequence[int]) -> float:
    """The p-value that equally likely classes give counts this uneven (Pearson's chi-square)."""
    mean = sum(counts) / len(counts)
    return chi_square_p(sum((count - mean) ** 2 for count in counts) / mean, len(counts) - 1)


def independence_p(table: Mapping[tuple[str | None, int | None], int]) -> float:
    """The p-value that two attributes are independent, from the counts of their pairs (Pearson's chi-square)."""
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
    """The upper tail, by the cube-root normal approximation of Wilson and Hilferty (1931): good to a few percent."""
    if freedom < 1 or statistic <= 0:
        return 1.0
    spread = 2 / (9 * freedom)
    return 0.5 * math.erfc(((statistic / freedom) ** (1 / 3) - 1 + spread) / math.sqrt(2 * spread))
