"""Reads only the columns of a hub's parquet file that a task needs, one row group at a time, by requests for ranges of bytes.

A data set on the hub may hold pictures, videos or features beside its audio. Where the columns that a task needs are less
than half of a file, they are stored as a parquet file of their own below the cache folder, and the next run asks nothing.
Sources: https://huggingface.co/docs/huggingface_hub/guides/hf_file_system, https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.errors import MarathonError
from marathon_eval.files import default_folder, replaced_atomically, sha256_of, write_atomically
from marathon_eval.task.data.parquet import light_columns

if TYPE_CHECKING:
    from marathon_eval.task.data.hub import HubRepo

#: A file is downloaded whole if the columns that the task needs are at least this share of its bytes.
WHOLE_SHARE = 0.5


class NeededColumns(NamedTuple):
    """Holds a parquet file with the needed columns, and the sha256 of the whole file (or its blob's name in git)."""

    path: Path
    sha256: str


class _Layout(NamedTuple):
    """Holds the columns of a file with their compressed bytes, the light ones among them, and the file's hash."""

    sizes: dict[str, int]
    light: list[str]
    sha256: str


def needed_columns(repo: HubRepo, name: str, wanted: Callable[[str], bool]) -> NeededColumns | None:
    """Return a file that holds the columns of a hub's parquet file that are `wanted` or light.

    None if the whole file is better: it is in the hub's cache already, or the columns are most of it. Raises
    MarathonError if the hub cannot be reached.
    """
    if repo.is_cached(name):
        return None
    folder = default_folder() / "hub_columns" / repo.repo.replace("/", "--") / repo.commit
    layout = _layout(repo, name, folder / f"{name}.json")
    columns = [column for column in layout.sizes if wanted(column) or column in layout.light]
    needed, total = sum(layout.sizes[column] for column in columns), sum(layout.sizes.values())
    if needed >= WHOLE_SHARE * total:
        return None
    path = folder / f"{name}.{sha256_of(columns)[:16]}.parquet"
    if not path.is_file():
        print(
            f"{repo.label}: reading {len(columns)} of {len(layout.sizes)} columns of {name}, "
            f"{needed / 1e6:.1f} of {total / 1e6:.1f} MB",
            file=sys.stderr,
        )
        _copy(repo, name, columns, path)
    return NeededColumns(path, layout.sha256)


def _layout(repo: HubRepo, name: str, kept: Path) -> _Layout:
    """Return the layout of a file, from the cache folder if an earlier run has asked for it."""
    try:
        return _Layout(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        layout = _asked(repo, name)
    _make(kept.parent)
    write_atomically(kept, [json.dumps(layout._asdict())])
    return layout


def _asked(repo: HubRepo, name: str) -> _Layout:
    """Ask the hub for a file's footer, which lists its columns and the bytes of each."""
    import pyarrow.parquet  # type: ignore[import-untyped]  # ships no stubs

    with repo.opened(name) as remote:
        table = pyarrow.parquet.ParquetFile(remote.file)
        schema, footer = table.schema_arrow, table.metadata
        sizes = dict.fromkeys(schema.names, 0)
        for group in range(footer.num_row_groups):
            for place in range(footer.num_columns):
                chunk = footer.row_group(group).column(place)
                sizes[_column_of(chunk.path_in_schema, sizes)] += max(0, chunk.total_compressed_size)
        return _Layout(sizes, light_columns(schema, lambda column: False), remote.sha256)


def _column_of(path: str, names: dict[str, int]) -> str:
    """Return the column that a leaf of the schema belongs to: `context.bytes` is a part of `context`."""
    return next(name for name in names if path == name or path.startswith(f"{name}."))


def _copy(repo: HubRepo, name: str, columns: list[str], path: Path) -> None:
    """Write the columns of a hub's file, of which one row group at a time is in memory."""
    import pyarrow.parquet

    _make(path.parent)
    with replaced_atomically(path) as temporary, repo.opened(name) as remote:
        table = pyarrow.parquet.ParquetFile(remote.file)
        writer: Any = None
        for group in range(table.metadata.num_row_groups):
            part = table.read_row_group(group, columns=columns)
            writer = writer or pyarrow.parquet.ParquetWriter(temporary, part.schema)
            writer.write_table(part)
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(temporary, table.schema_arrow)
        writer.close()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MarathonError(f"{folder}: cannot make the folder ({error.strerror})") from None
