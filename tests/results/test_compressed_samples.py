"""Tests that compressed samples return what was stored, give the file's exact bytes, and take little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.api.compressed_lines import BLOCK
from marathon_eval.api.results import ReadingScore, Sample
from marathon_eval.files import json_line
from marathon_eval.results.compressed_samples import CompressedSamples, rows_of, samples_text

ROWS = 1500


def sample(number: int, **other: Any) -> Sample:
    """A row as large as most: about 0.7 KB as a line."""
    values: dict[str, Any] = {
        "task": "mine",
        "doc_id": number,
        "target": "A",
        "response": f"the answer to {number} is A",
        "status": "ok",
        "error": None,
        "readings": {
            name: ReadingScore("A", "letter", {"accuracy": 1.0, "macro_f1": number / 7})
            for name in ("strict", "paper")
        },
        "usage": {"prefill_s": number / 11, "details": {"batch": 2}, "finish_reason": "stop"},
        "cached": False,
        "prompt_sha256": f"{number * 7919**16:064x}"[:64],
        "audio": [{"path": f"/data/{number}.wav", "start": 0.0, "stop": None, "sha256": "0" * 64}],
        "fields": {"kind": "x"},
        "choices": ["one", "two"],
        "letters": ["A", "B"],
        "cluster": f"('{number}.wav',)",
    }
    return Sample(**{**values, **other})


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Enough for several blocks and a rest."""
    return [sample(number) for number in range(ROWS)]


def test_what_goes_in_comes_out(samples: list[Sample]) -> None:
    packed = CompressedSamples(samples)
    assert sum(len(json_line(one.line())) for one in samples) > 5 * BLOCK
    assert len(packed) == ROWS
    assert list(packed) == samples
    assert packed == samples
    assert packed != samples[1:]
    assert packed == CompressedSamples(samples)
    assert packed != "samples"


def test_the_text_is_that_of_the_file(samples: list[Sample]) -> None:
    assert "".join(samples_text(CompressedSamples(samples))) == "".join(samples_text(samples))
    assert list(rows_of(CompressedSamples(samples))) == [one.line() for one in samples]


@pytest.mark.parametrize("index", [0, 1, 200, ROWS // 2, ROWS - 1, -1, -ROWS])
def test_any_one_of_them(samples: list[Sample], index: int) -> None:
    assert CompressedSamples(samples)[index] == samples[index]


def test_slices_and_what_is_not_there(samples: list[Sample]) -> None:
    packed = CompressedSamples(samples)
    assert packed[-2:] == samples[-2:]
    assert packed[400:380:-7] == samples[400:380:-7]
    for index in (ROWS, -ROWS - 1):
        with pytest.raises(IndexError, match=f"sample {index} of {ROWS}"):
            packed[index]


def test_none_at_all() -> None:
    packed = CompressedSamples()
    assert (len(packed), list(packed), packed == [], list(packed.texts())) == (0, [], True, [])


def test_it_may_be_read_while_it_grows(samples: list[Sample]) -> None:
    packed = CompressedSamples()
    for number, one in enumerate(samples):
        packed.append(one)
        if number % 250 == 0:
            assert packed[number] == one
            assert list(islice(packed, 3)) == samples[: min(3, number + 1)]
    assert packed == samples


@pytest.mark.parametrize(
    "other",
    [
        {"response": "half of \ud83d, and a whole \u2028 line"},
        {"response": "a\nb\r\nc\x85d", "error": "größer"},
        {"target": ["A", "B"], "response": ["A", "C"]},
        {"target": None, "response": None, "readings": {}, "audio": [], "cluster": None},
        {"readings": {"strict": ReadingScore(None, "none", {"accuracy": None, "rate": 0.1 + 0.2})}},
        {"judge": {"pair": [["8 7"], ["9 6"]]}, "fields": {"n": 1, "x": 1.0, "flag": True, "none": None}},
    ],
)
def test_odd_rows(tmp_path: Path, other: dict[str, Any]) -> None:
    one = sample(0, **other)
    packed = CompressedSamples([one, sample(1)])
    assert packed[0] == one
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(packed.texts()), encoding="utf-8")
    assert file.read_bytes() == (json_line(one.line()) + json_line(sample(1).line())).encode()


def test_tuples_and_dates_are_what_the_file_makes_of_them() -> None:
    (one,) = CompressedSamples([sample(0, fields={"pair": (1, 2), "day": date(2026, 11, 21)})])
    assert one.fields == {"pair": [1, 2], "day": "2026-11-21"}


def test_one_task_alone(samples: list[Sample]) -> None:
    packed = CompressedSamples(samples[:1])
    with pytest.raises(ValueError, match="a sample of other among those of mine"):
        packed.append(sample(1, task="other"))
    assert packed == samples[:1]


def test_they_take_a_fraction_of_the_room() -> None:
    def made() -> Iterator[Sample]:
        return map(sample, range(ROWS))

    held, kept = room(list, made()), room(CompressedSamples, made())
    # but for the block that is still open
    assert kept - 2 * BLOCK < 200 * ROWS
    assert kept < held / 5


def room(keep: type[list[Sample] | CompressedSamples], made: Iterator[Sample]) -> int:
    """Bytes that the samples hold when all are taken in."""
    tracemalloc.start()
    try:
        kept = keep(made)
        assert len(kept) == ROWS
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
