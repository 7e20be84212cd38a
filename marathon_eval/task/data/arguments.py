"""Says which arguments of `datasets.load_dataset` are read where rows come from data files or from file names.

These rows are read here, without `datasets`: an argument that this reading does not follow is refused, since without it
the task would have other rows. Meanings are those of pandas.read_csv
(https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html).
"""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.task.data.csv_rows import CSV_DELIMITERS, CsvLayout
from marathon_eval.task.data.table import BUILDERS, FORMATS

#: Arguments that only say how `datasets` stores or checks what it downloads: the rows are the same without them.
_OF_STORAGE = ("keep_in_memory", "verification_mode", "trust_remote_code")
#: Arguments of tables of text. `sep` is another name of `delimiter`, `column_names` of `names`.
_OF_TABLES = (
    "delimiter",
    "sep",
    "encoding",
    "names",
    "column_names",
    "header",
    "skiprows",
    "quotechar",
    "quoting",
    "escapechar",
    "skipinitialspace",
)
#: Returns the place of an argument, with which an error about it begins.
Where = Callable[[str], str]
#: Which formats of data files each argument changes.
_FORMATS_OF: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(_OF_TABLES, tuple(CSV_DELIMITERS)),
    "field": ("json",),
}
_OF_TREES: tuple[str, ...] = ("file_tree", "revision")
_OF_FILES = ("data_files", "archives", "revision")
#: Ways to have what an argument that is refused stands for.
_OTHER_WAYS = {
    "data_dir": "write the folder into data_files, or give --data_dir",
    "usecols": "columns that the task does not name are left alone",
    "columns": "columns that the task does not name are left alone",
    "nrows": "give --limit",
    **dict.fromkeys(
        ("na_values", "keep_default_na", "decimal", "thousands"),
        "each cell is read as the text that stands there",
    ),
}
_QUOTING = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE)


def ignored_arguments(
    path: object, arguments: Mapping[str, Any], matched: Sequence[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield each key of dataset_kwargs that would change nothing, with the reason; none where `datasets` reads the rows.

    `path` is dataset_path, and `matched` are the files that one split was found to have: they tell the formats of a
    pattern such as `data/*`.
    """
    # `token: true` asks for the saved login, which is sent anyway
    given = [
        name
        for name, value in arguments.items()
        if value not in (None, []) and (name, value) != ("token", True)
    ]
    if "file_tree" in given:
        allowed, what = _OF_TREES, "file_tree makes the rows of file names"
    elif _reads_files(path, arguments):
        forms = {_format(name, path) for name in (*_names(arguments["data_files"]), *(matched or ()))}
        forms -= {None} if matched else set()
        shown = ", ".join(sorted(form for form in forms if form)) or "data"
        allowed, what = _allowed(forms), f"it changes nothing in how {shown} files are read"
    else:
        return
    for name in given:
        if name in allowed and not (name == "revision" and path in FORMATS) or name in _OF_STORAGE:
            continue
        if name == "revision":
            yield name, f"{name}: '{path}' is no repository on the hub, of which alone there are revisions"
            continue
        other = f" ({_OTHER_WAYS[name]})" if name in _OTHER_WAYS and "file_tree" not in given else ""
        yield name, f"{name}: {what}{other}. Allowed: {', '.join(allowed)}"


def wrong_layouts(path: object, arguments: Mapping[str, Any], where: Where) -> Iterator[str]:
    """Yield a message for each argument of tables whose value cannot be followed where data files are read here."""
    if _reads_files(path, arguments):
        for read in (delimiter_of, csv_layout):
            try:
                read(arguments, where)
            except MarathonError as error:
                yield str(error)


def _reads_files(path: object, arguments: Mapping[str, Any]) -> bool:
    return not arguments.get("file_tree") and bool(arguments.get("data_files")) and path not in BUILDERS


def _allowed(forms: AbstractSet[str | None]) -> tuple[str, ...]:
    """Return what may be given for files of these formats, of which None is one that is not known yet."""
    of_formats = [name for name, ones in _FORMATS_OF.items() if None in forms or not forms.isdisjoint(ones)]
    return (*_OF_FILES, *of_formats)


def _names(files: Any) -> Iterable[str]:
    """Return the names in data_files, of all splits."""
    of_splits = files.values() if isinstance(files, Mapping) else [files]
    return [str(name) for ones in of_splits for name in (ones if isinstance(ones, list) else [ones])]


def _format(name: str, path: object) -> str | None:
    """Return the format of a file or pattern, None where a pattern does not tell."""
    suffix = posixpath.splitext(name)[1].lstrip(".").lower()
    return next((str(form) for form in (suffix, path) if form in FORMATS), None)


def delimiter_of(arguments: Mapping[str, Any], where: Where) -> str | None:
    """Return the character between the cells of tables, None for that of the format. Raises MarathonError."""
    given = [
        _character(name, arguments[name], where)
        for name in ("delimiter", "sep")
        if arguments.get(name) is not None
    ]
    if len(set(given)) > 1:
        raise MarathonError(f"{where('sep')}: sep: delimiter is {given[0]!r}; give one")
    return given[0] if given else None


def csv_layout(arguments: Mapping[str, Any], where: Where) -> CsvLayout:
    """Return how the tables of a task are written. Raises MarathonError."""
    given = {name: arguments[name] for name in _OF_TABLES if arguments.get(name) is not None}
    chosen: dict[str, Any] = {}
    for name in ("quotechar", "escapechar"):
        if name in given:
            chosen[name] = _character(name, given[name], where)
    if "quoting" in given:
        if given["quoting"] not in _QUOTING or isinstance(given["quoting"], bool):
            raise _wrong("quoting", "0 (quotes where needed), 1 (around all cells) or 3 (none)", given, where)
        chosen["quoting"] = given["quoting"]
    if "skipinitialspace" in given:
        if not isinstance(given["skipinitialspace"], bool):
            raise _wrong("skipinitialspace", "true or false", given, where)
        chosen["skipinitialspace"] = given["skipinitialspace"]
    for name in ("skiprows", "header"):
        if name in given and (name, given[name]) != ("header", "infer"):
            if type(given[name]) is not int or given[name] < 0:
                raise _wrong(name, "a whole number of lines", given, where)
            chosen[name] = given[name]
    return CsvLayout(**chosen, names=_column_names(given, where))


def _column_names(given: Mapping[str, Any], where: Where) -> tuple[str, ...]:
    names = [name for name in ("names", "column_names") if name in given]
    if len(names) > 1 and given["names"] != given["column_names"]:
        raise MarathonError(f"{where('column_names')}: column_names: names is {given['names']!r}; give one")
    for name in names[:1]:
        columns = given[name]
        if not isinstance(columns, list) or not all(isinstance(one, str) and one for one in columns):
            raise _wrong(name, "a list of column names", given, where)
        if len(set(columns)) < len(columns) or not columns:
            raise _wrong(name, "column names that differ", given, where)
        return tuple(columns)
    return ()


def _character(name: str, value: Any, where: Where) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n":
        raise _wrong(name, "one character", {name: value}, where)
    return value


def _wrong(name: str, allowed: str, given: Mapping[str, Any], where: Where) -> MarathonError:
    return MarathonError(f"{where(name)}: {name}: must be {allowed} for data files, got {given[name]!r}")
