"""Defines the keys of a task's YAML that say where its rows are, how they are changed, and which of them are used."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from marathon_eval.errors import did_you_mean

Scalar = str | int | float | bool
#: Arguments of `datasets.load_dataset` and of the builders' configs that a task file may set; none is a path or a key.
DATASETS_ARGUMENTS = frozenset(
    [
        "data_dir",
        "keep_in_memory",
        "verification_mode",
        "sep",
        "delimiter",
        "names",
        "column_names",
        "header",
        "usecols",
        "quotechar",
        "quoting",
        "escapechar",
        "encoding_errors",
        "skiprows",
        "nrows",
        "na_values",
        "keep_default_na",
        "decimal",
        "thousands",
        "comment",
        "skipinitialspace",
        "on_bad_lines",
        "sample_by",
        "keep_linebreaks",
        "columns",
        "batch_size",
        "drop_labels",
        "drop_metadata",
    ]
)
#: Arguments that are the user's to set, each with the way to do so.
_OF_THE_USER = {
    "cache_dir": "set HF_DATASETS_CACHE",
    "token": "log in with `hf auth login`",
    "storage_options": "download the data and give --data_dir",
}


class Keys(BaseModel):
    """Reads a mapping of a YAML; unknown keys are refused. The base of all such classes."""

    # a nested block is part of its parent's validator; most never need one of their own
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class DatasetKwargs(BaseModel):
    """Says where rows are read from. Of the keys not listed here, those that only parse data go to `datasets`."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    data_files: str | list[str] | dict[str, str | list[str]] | None = Field(
        None,
        description="json, jsonl, csv, tsv or parquet below --data_dir, the hub repository or this YAML's folder, or "
        "patterns (`data/test-*.parquet`); an absolute path must lie below --data_dir, this YAML's folder or the "
        "current one",
    )
    field: str | None = Field(
        None, description="the key that holds the list of rows, if the JSON file is an object"
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="the character between the cells of a csv; a comma, or a tab in a tsv, if absent",
    )
    revision: str | None = Field(
        None,
        description="commit, branch or tag on the hub; with data_files, 7 characters of a commit are enough",
    )
    file_tree: list[str] | None = Field(
        None,
        description="patterns that make rows from file names: 'HAD/{label:real|fake}/{name}.wav' gives the columns "
        "path, label and name; the first pattern that matches any file is used",
    )
    encoding: str | None = Field(
        None,
        description="of csv and tsv files, by Python's names (latin-1, cp1252); without it they are UTF-8",
    )
    archives: list[str] = Field(
        [],
        description="tar, tar.gz or zip files of the dataset that hold its audio; they are unpacked once",
    )
    trust_remote_code: bool | None = Field(
        None, description="accepted as in lm-eval and ignored: code of a dataset is never run"
    )


def refused_argument(name: str) -> str | None:
    """Return why a key of dataset_kwargs that is none of `DatasetKwargs`' own is refused; None if `datasets` gets it."""
    if name in _OF_THE_USER:
        return f"{name}: not a task's to set: {_OF_THE_USER[name]}"
    if name in DATASETS_ARGUMENTS:
        return None
    allowed = [*DatasetKwargs.model_fields, *sorted(DATASETS_ARGUMENTS)]
    return f"unknown key '{name}'.{did_you_mean(name, allowed)} Known: {', '.join(allowed)}"


class StripPrefix(Keys):
    """Removes a prefix from the texts of columns, and from every text of a list; other texts stay as they are."""

    columns: str | list[str] = Field(description="columns whose texts lose the prefix")
    prefix: str = Field(
        min_length=1, description="`{letter}` stands for one letter from A to Z: '({letter}) '"
    )


class Join(Keys):
    """Adds the columns of the row in a second file that has the same key. A row without one is an error row."""

    file: str = Field(description="json, jsonl, csv, tsv or parquet, below the root of the dataset")
    column: str = Field(description="the column whose value both rows share")
    file_column: str | None = Field(None, description="that column's name in the second file, if another")


class RowStepConfig(Keys):
    """Configures one row step; exactly one key is set."""

    json_fields: str | list[str] | None = Field(
        None, description="columns with the text of a JSON object, whose keys become columns"
    )
    strip_prefix: StripPrefix | None = Field(None, description="removes a prefix from texts")
    join: Join | None = Field(None, description="adds the columns of a second file")


class AudioColumns(Keys):
    """Says in which columns (or templates) the parts of an audio reference stand; times in seconds."""

    path: str = Field(description="column or template with the audio's path")
    start: str | None = Field(
        None, description="column or template with the first second that is heard; the file's start if absent"
    )
    stop: str | None = Field(
        None, description="column or template with the second at which it ends; the file's end if absent"
    )


class RowFilter(Keys):
    """Matches rows in which every named field has one of the listed values. Values are compared as text."""

    fields: dict[str, Scalar | list[Scalar]] = Field(description="the values to match, by column")
    ignore_case: bool = Field(True, description="whether upper and lower case are the same")


class Balance(Keys):
    """Down-samples every class to the smallest, by `random.Random(seed).sample` of its rows sorted by audio path."""

    by: str = Field(description="column with the class; rows without a class are asked after all others")
    seed: int = Field(42, description="seed of the drawing")


class Subset(Keys):
    """Selects rows under a name that `--subset` can choose."""

    drop: list[RowFilter] = Field([], description="rows that match any of these are left out")
    balance: Balance | None = Field(None, description="equal numbers of rows from every class")
