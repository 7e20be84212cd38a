"""Reads parquet and arrow tables by batches: heavy columns that the task does not name are left out, audio is stored.

A table is refused if it unpacks to more than its limit: compression makes a few bytes as large as one likes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from marathon_eval.errors import MarathonError
from marathon_eval.task.data.embedded import AudioFolder

#: Limits against decompression bombs: a table is refused if it unpacks to more than both these bytes and this
#: multiple of its file's size, or if it has more rows.
UNPACKED_BYTES, UNPACKED_TIMES, MAX_ROWS = 256 << 20, 100, 1_000_000
#: Rows that are read at a time; few, since a row may contain a whole clip.
BATCH_ROWS = 64


def parquet_rows(
    file: Path | BinaryIO, size: int, name: str, wanted: Callable[[str], bool], audio: AudioFolder | None
) -> list[Any]:
    """Return the rows of a parquet file of `size` bytes; `name` begins the messages. Raises MarathonError.

    `wanted` says whether the task names a column; a column of bytes, audio or arrays that it does not is not read.
    """
    import pyarrow  # type: ignore[import-untyped]  # ships no stubs
    import pyarrow.parquet  # type: ignore[import-untyped]  # ships no stubs

    most = max(UNPACKED_BYTES, UNPACKED_TIMES * size)
    rows: list[Any] = []
    unpacked = 0
    try:
        table = pyarrow.parquet.ParquetFile(file)
        columns = light_columns(table.schema_arrow, wanted)
        for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            unpacked += batch.nbytes
            if unpacked > most or len(rows) > MAX_ROWS:
                raise MarathonError(
                    f"{name}: unpacks to more than the limit of {most} bytes or {MAX_ROWS} rows"
                )
            rows += with_files(batch, audio)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # all three mean damaged bytes
        raise MarathonError(f"{name}: not readable as parquet ({error})") from None
    return rows


def light_columns(schema: Any, wanted: Callable[[str], bool]) -> list[str]:
    """Return the names of the columns to read: those that are light, and the heavy ones that the task names."""
    return [field.name for field in schema if wanted(field.name) or not _heavy(field.type)]


def with_files(batch: Any, audio: AudioFolder | None) -> list[Any]:
    """Return the rows of an arrow table, with their audio in files."""
    rows: list[Any] = batch.to_pylist()
    if audio is None:
        return rows
    kinds = {field.name: _sample_type(field.type) for field in batch.schema}
    return [
        {name: audio.replaced(value, kinds[name]) for name, value in row.items()}
        if isinstance(row, dict)
        else row
        for row in rows
    ]


def _sample_type(kind: Any) -> str | None:
    """Return the type of the samples in a column of `{array, sampling_rate}` or lists of these, such as int16.

    None for any other column, and for samples that are floats: their values are kept.
    """
    from pyarrow import types

    while _lists(kind):
        kind = kind.value_type
    if not types.is_struct(kind) or kind.get_field_index("array") < 0:
        return None
    samples = kind.field("array").type
    while _lists(samples):
        samples = samples.value_type
    return str(samples) if types.is_integer(samples) else None


def _lists(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _heavy(kind: Any) -> bool:
    """Return whether a column's type holds bytes or arrays of numbers."""
    from pyarrow import types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    if _lists(kind):
        return types.is_floating(kind.value_type) or _heavy(kind.value_type)
    return types.is_struct(kind) and any(_heavy(kind.field(place).type) for place in range(kind.num_fields))
