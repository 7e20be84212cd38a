"""Defines and loads recipes: YAML files that describe how one source corpus becomes long audio with questions.

The stages are those of AudioMarathon's pipeline (https://github.com/DabDans/AudioMarathon): select sources, cut,
group, join to minutes, pair with a question and options, number, write. Each stage is one section of the YAML; a
stage without a section is skipped. In templates, a name in braces, `{scene}`, is replaced by the field of this name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.task.yaml.data_config import Keys
from marathon_eval.task.yaml.keys import parsed_config
from marathon_eval.task.yaml.loader import load_document

Text = str | int | float | bool
#: A file is rendered in memory, at about 10 bytes a frame.
LONGEST_NEEDLE_SECONDS = 4 * 3600
Parsed = Literal["text", "int", "float", "entities"]


class RecipeTable(Keys):
    """Adds fields from a table beside the audio: a clip gets those of the row whose `key` equals its `match`."""

    file: str
    key: str = Field(
        description="a template over the table's columns; spaces in their names become underscores"
    )
    match: str = Field(
        description="a template over the clip's fields: path, stem, and the groups of `pattern`"
    )
    fields: dict[str, str] = Field(description="maps the name of a new field to a column")
    types: dict[str, Parsed] = Field({})
    optional: bool = Field(False, description="the file may be absent")
    unmatched: Literal["error", "drop", "keep"] = "error"


class Events(Keys):
    """Adds `events`, `event_set` and `event_seconds` to clips, from tables with one line per labelled event."""

    files: list[str]
    filename: str = "filename"
    onset: str = "onset"
    offset: str = "offset"
    label: str = "event_label"


class Segments(Keys):
    """Cuts every clip at its labels, from a label file in HAD's format, `name 0-1.2-T/1.2-1.6-F 0`."""

    file: str
    pool: Literal["clip", "segment"] = Field(
        "clip",
        description="clip: every segment of a clip with any fake part counts as fake, as in the release",
    )
    tolerance_seconds: float = Field(
        0.05, ge=0, description="how many seconds a label may pass the file's end"
    )


class RecipeTexts(Keys):
    """Reads passages in RACE's format (JSON with article, questions, options, answers); `--tts` reads them aloud."""

    files: list[str]


class RecipeSource(Keys):
    """Chooses the files that are clips, and the fields of each."""

    audio: list[str] = Field([], description="globs below --source")
    pattern: str = Field("", description="a regular expression on the path; its named groups become fields")
    tables: list[RecipeTable] = Field([])
    events: Events | None = None
    segments: Segments | None = None
    transcripts: str | None = Field(None, description="a glob of files with lines `<stem> <text>`")
    texts: RecipeTexts | None = None
    known_bad: list[str] = Field([], description="files to leave out because they are damaged in the corpus")


class Select(Keys):
    """Selects the clips that are used."""

    where: dict[str, list[Text]] = Field({}, description="a field must have one of these values")
    drop: list[dict[str, list[Text]]] = Field([], description="clips that match one of these are left out")
    min_seconds: float = Field(0, ge=0)
    max_seconds: float | None = None


class Bins(Keys):
    """Sorts a number into classes: `ranges` maps each class to its first and last whole number."""

    field: str
    ranges: dict[str, tuple[int, int]]


class RecipeGroup(Keys):
    """Groups the clips that may share a file: sorts them by `order`, or shuffles them with the recipe's seed."""

    by: list[str] = Field([])
    order: list[str] = Field(["path", "start"])
    shuffle: bool = False


class Concatenate(Keys):
    """Joins a group's clips to files, unchanged unless a key here changes them; durations are in seconds."""

    min_seconds: float = Field(gt=0)
    max_seconds: float = Field(gt=0)
    count: int | None = Field(None, ge=1, description="the exact number of clips per file")
    when_full: Literal["close", "truncate"] = "close"
    rest: Literal["discard", "loop", "keep"] = "discard"
    gap_seconds: float = Field(0, ge=0)
    crossfade_seconds: float = Field(0, ge=0)
    level_db: float | None = Field(None, lt=0, description="scale every clip to this active level, in dBFS")
    at_most: dict[str, int] = Field(
        {}, description="the largest number of files per value of a field; the first files are kept"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} is greater than max_seconds {self.max_seconds}")
        if self.gap_seconds and self.crossfade_seconds:
            raise ValueError("gap_seconds and crossfade_seconds cannot be combined")
        return self


class Collect(Keys):
    """Makes a field of a file from a field of its clips."""

    source: str
    how: Literal["first", "min", "number", "sum", "count", "union", "join", "longest"]


class Needle(Keys):
    """Makes position probes: a labelled event laid over long audio at chosen positions, with others that distract.

    `positions` are fractions of the file's length minus the event's length: 0 is the start, 1 the end.
    """

    bed: str = Field(description="the value of `role` that marks the long audio")
    event: str = Field(description="the value of `role` that marks the events")
    label: str = Field(description="the field that names an event")
    lengths_seconds: list[float] = Field(min_length=1)
    positions: dict[str, float] = Field(min_length=1)
    distractor: str | None = Field(
        None, description="the value of `role` that marks distractors, which may be that of the events"
    )
    distractors: int = Field(0, ge=0, description="the number of distractors in every file")
    repeat_bed: bool = Field(False, description="the bed's clips are repeated where they are too short")
    bed_level_db: float = Field(-35, lt=0)
    event_over_bed_db: float = Field(10, description="the level of events and distractors above the bed")
    fade_seconds: float = Field(0.02, ge=0)

    @model_validator(mode="after")
    def _lengths_and_positions(self) -> Self:
        if not all(0 < seconds <= LONGEST_NEEDLE_SECONDS for seconds in self.lengths_seconds):
            raise ValueError(
                f"lengths_seconds must be above 0 and at most {LONGEST_NEEDLE_SECONDS}, got {self.lengths_seconds}"
            )
        if not all(0 <= place <= 1 for place in self.positions.values()):
            raise ValueError(f"positions must be from 0 to 1, got {self.positions}")
        if self.distractors and self.distractor is None:
            raise ValueError("distractors needs `distractor`, the role of their clips")
        return self


class RecipeBalance(Keys):
    """Draws equally many files of every class, as many as the smallest class has, with the recipe's seed."""

    by: str


class RecipeNumbers(Keys):
    """Makes options that are numbers: the right one and others near it, drawn without replacement."""

    template: str = "{number}"
    spread: float = Field(
        0.5,
        gt=0,
        description="the largest distance of an option from the answer, as a fraction of the answer",
    )


class RecipeQuestion(Keys):
    """Makes the question and its options; distractors are drawn without replacement."""

    text: str
    answer: str = Field(description="the field that holds the right class or number")
    choices: dict[str, str] = Field({}, description="maps a class to its option text")
    numbers: RecipeNumbers | None = None
    shown: int | None = Field(
        None, ge=2, le=26, description="the number of options per question; all if absent"
    )
    shuffle: bool = True
    not_in: str | None = Field(None, description="a field with a list of classes that cannot be distractors")
    offer: str | None = Field(
        None, description="a field with a list of classes that are among the options first of all"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.choices) == (self.numbers is not None):
            raise ValueError("give either choices or numbers")
        if self.choices and self.shown and self.shown > len(self.choices):
            raise ValueError(f"shown {self.shown} is more than the {len(self.choices)} choices")
        return self


class RecipeLayout(Keys):
    """Describes where files go and what the metadata contains: the release's layout of one task."""

    root: str = Field(description="the folder below --output_path")
    audio: str = Field(description="a template of an audio file's path below root")
    audio_folder: str = Field("", description="the folder below root that paths in the metadata leave out")
    metadata: str | None = Field(None, description="a JSON file below root")
    rows_key: str | None = Field(None, description="the key of the rows, if the JSON is an object")
    head: dict[str, Any] = Field({}, description="the object's other keys")
    row: dict[str, Any] = Field({}, description="maps each key of a row to a template or a value")
    transcripts: str | None = Field(None, description="a text file per folder with lines `<stem> <text>`")


class Recipe(Keys):
    """Describes how one source corpus becomes the data of one task."""

    recipe: str
    version: int = Field(ge=1)
    description: str = ""
    seed: int = 42
    source: RecipeSource
    select: Select = Select()
    bins: dict[str, Bins] = Field({})
    group: RecipeGroup = RecipeGroup()
    concatenate: Concatenate | None = None
    needle: Needle | None = None
    collect: dict[str, Collect] = Field({})
    balance: RecipeBalance | None = None
    question: RecipeQuestion | None = None
    keep: list[str] = Field([], description="clip fields that the manifest records for every stretch")
    rate: int | None = Field(
        None, ge=1000, le=192000, description="the output rate in Hz; the clips' rate if absent"
    )
    layout: RecipeLayout


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe's YAML, for editors; shipped as recipe_schema.json."""
    schema = Recipe.model_json_schema()
    # no key is required in one file, because an included file may have it
    schema.pop("required")
    include = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    schema["properties"] = {"include": include, **schema["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "marathon_eval recipe",
    }


def shipped_recipes() -> Path:
    """Return the folder of the recipes that the package ships."""
    return Path(__file__).resolve().parent / "recipes"


def recipe_path(name: str, include_path: list[str]) -> Path:
    """Return the path of a recipe given by name or path; --include_path is searched first. Raises MarathonError."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise MarathonError(f"build: {name}: no such recipe file")
        return Path(name)
    folders = [Path(folder) / "recipes" for folder in include_path] + [shipped_recipes()]
    paths = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    if name not in paths:
        raise unknown("build", "recipe", name, paths)
    return paths[name]


def load_recipe(name: str, include_path: list[str] | None = None) -> Recipe:
    """Load the recipe of a name or path. Raises MarathonError with file and line of every mistake."""
    include_path = include_path or []
    path = recipe_path(name, include_path)
    document = load_document(path, lambda other: recipe_path(other, include_path))
    recipe = parsed_config(document, Recipe)
    if (recipe.concatenate is None) == (recipe.needle is None):
        raise MarathonError(f"{document.where('concatenate')}: give either concatenate or needle")
    if bool(recipe.source.audio) == (recipe.source.texts is not None):
        raise MarathonError(f"{document.where('source')}: source needs either audio or texts")
    _check_pattern(recipe.source.pattern, document.where("source", "pattern"))
    return recipe


def _check_pattern(pattern: str, where: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise MarathonError(f"{where}: pattern: not a regular expression ({error})") from None
