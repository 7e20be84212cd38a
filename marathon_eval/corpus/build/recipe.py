"""A recipe: the YAML that says how one source corpus becomes long audio with questions.

The stages are those of AudioMarathon's pipeline (https://github.com/DabDans/AudioMarathon): select sources, cut,
group, join to minutes, pair with a question and options, number, write. Each is one section; what a section does
not say is off. Names in braces, `{scene}`, stand for a clip's fields; nothing else is read inside them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.task.yaml.config import Keys
from marathon_eval.task.yaml.keys import parsed_config
from marathon_eval.task.yaml.loader import load_document

Text = str | int | float | bool
Parsed = Literal["text", "int", "float", "entities"]


class RecipeTable(Keys):
    """A table beside the audio; its row whose `key` equals the clip's `match` gives the clip more fields."""

    file: str
    key: str = Field(description="a template over the table's columns, spaces in names as underscores")
    match: str = Field(description="a template over the clip's fields: path, stem, and those of `pattern`")
    fields: dict[str, str] = Field(description="a new field's name to a column")
    types: dict[str, Parsed] = Field({})
    optional: bool = Field(False, description="the file may be absent")
    unmatched: Literal["error", "drop", "keep"] = "error"


class Events(Keys):
    """Tables with one line per labelled event: gives `events`, `event_set`, `event_seconds` of a clip."""

    files: list[str]
    filename: str = "filename"
    onset: str = "onset"
    offset: str = "offset"
    label: str = "event_label"


class Segments(Keys):
    """A label file in HAD's form, `name 0-1.2-T/1.2-1.6-F 0`: every clip is cut at its labels."""

    file: str
    pool: Literal["clip", "segment"] = Field(
        "clip",
        description="clip: every segment of a clip with any fake part counts as fake, as in the release",
    )
    tolerance_seconds: float = Field(0.05, ge=0, description="how far a label may pass the file's end")


class RecipeTexts(Keys):
    """Passages in RACE's form (JSON with article, questions, options, answers), read aloud by `--tts`."""

    files: list[str]


class RecipeSource(Keys):
    """Which files are clips, and what is known of each."""

    audio: list[str] = Field([], description="globs below --source")
    pattern: str = Field("", description="a regular expression on the path; its named groups are fields")
    tables: list[RecipeTable] = Field([])
    events: Events | None = None
    segments: Segments | None = None
    transcripts: str | None = Field(None, description="glob of files with lines `<stem> <text>`")
    texts: RecipeTexts | None = None
    known_bad: list[str] = Field([], description="files that are damaged in the corpus itself: left out")


class Select(Keys):
    """Which clips are used."""

    where: dict[str, list[Text]] = Field({}, description="a field must have one of these values")
    drop: list[dict[str, list[Text]]] = Field([], description="clips that match one of these leave")
    min_seconds: float = Field(0, ge=0)
    max_seconds: float | None = None


class Bins(Keys):
    """A number's class: `ranges` name the first and the last whole number of each."""

    field: str
    ranges: dict[str, tuple[int, int]]


class RecipeGroup(Keys):
    """Clips that may stand in one file; sorted by `order`, or shuffled with the recipe's seed."""

    by: list[str] = Field([])
    order: list[str] = Field(["path", "start"])
    shuffle: bool = False


class Concatenate(Keys):
    """How a group's clips are joined, in seconds. Nothing is added or changed unless it is said here."""

    min_seconds: float = Field(gt=0)
    max_seconds: float = Field(gt=0)
    count: int | None = Field(None, ge=1, description="exactly so many clips per file")
    when_full: Literal["close", "truncate"] = "close"
    rest: Literal["discard", "loop", "keep"] = "discard"
    gap_seconds: float = Field(0, ge=0)
    crossfade_seconds: float = Field(0, ge=0)
    level_db: float | None = Field(None, lt=0, description="bring every clip to this active level, dBFS")
    at_most: dict[str, int] = Field({}, description="files per value of a field, the first ones are kept")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} is over max_seconds {self.max_seconds}")
        if self.gap_seconds and self.crossfade_seconds:
            raise ValueError("a gap and a cross-fade exclude each other")
        return self


class Collect(Keys):
    """A file's field made from its clips' fields."""

    source: str
    how: Literal["first", "min", "number", "sum", "count", "union", "join", "longest"]


class Needle(Keys):
    """Position probes: a labelled event laid over long audio at chosen places.

    `positions` are fractions of what is left when the event's own length is taken off: 0 start, 1 end.
    """

    bed: str = Field(description="the value of `role` that marks the long audio")
    event: str = Field(description="the value of `role` that marks the events")
    label: str = Field(description="the field that names an event")
    lengths_seconds: list[float] = Field(min_length=1)
    positions: dict[str, float] = Field(min_length=1)
    bed_level_db: float = Field(-35, lt=0)
    event_over_bed_db: float = 10
    fade_seconds: float = Field(0.02, ge=0)


class RecipeBalance(Keys):
    """Files of the larger classes are drawn out, with the recipe's seed, until all have as many as the smallest."""

    by: str


class RecipeNumbers(Keys):
    """Options that are counts: the right one and others near it, drawn without replacement."""

    template: str = "{number}"
    spread: float = Field(0.5, gt=0, description="how far options lie from the answer, as a fraction of it")


class RecipeQuestion(Keys):
    """The question and its options; distractors are drawn without replacement."""

    text: str
    answer: str = Field(description="the field that holds the right class or number")
    choices: dict[str, str] = Field({}, description="class to option text")
    numbers: RecipeNumbers | None = None
    shown: int | None = Field(None, ge=2, le=26, description="options per question; all where absent")
    shuffle: bool = True
    not_in: str | None = Field(None, description="a list field: what is in it can't be a distractor")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.choices) == (self.numbers is not None):
            raise ValueError("give either choices or numbers")
        if self.choices and self.shown and self.shown > len(self.choices):
            raise ValueError(f"shown {self.shown} is more than the {len(self.choices)} choices")
        return self


class RecipeLayout(Keys):
    """Where files go and what the metadata says: the released form of one task."""

    root: str = Field(description="folder below --output_path")
    audio: str = Field(description="an audio file's path below root, a template")
    audio_folder: str = Field("", description="folder below root that metadata paths do not repeat")
    metadata: str | None = Field(None, description="a JSON file below root")
    rows_key: str | None = Field(None, description="the rows' key where the JSON is an object")
    head: dict[str, Any] = Field({}, description="the object's other keys")
    row: dict[str, Any] = Field({}, description="a row: key to template or value")
    transcripts: str | None = Field(None, description="a text file per folder with lines `<stem> <text>`")


class Recipe(Keys):
    """One source corpus to one task."""

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
    keep: list[str] = Field([], description="clip fields that the manifest repeats for every stretch")
    rate: int | None = Field(None, ge=1000, le=192000, description="Hz; the clips' own where absent")
    layout: RecipeLayout


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe's YAML, for editors; shipped as recipe_schema.json."""
    schema = Recipe.model_json_schema()
    # an include may hold the rest of the keys, so that none is needed in one file
    schema.pop("required")
    include = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    schema["properties"] = {"include": include, **schema["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "marathon_eval recipe",
    }


def shipped_recipes() -> Path:
    """The folder of the recipes that came with the package."""
    return Path(__file__).resolve().parent / "recipes"


def recipe_path(name: str, include_path: list[str]) -> Path:
    """A name or a path to a recipe's YAML; folders of --include_path come first. Raises MarathonError."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise MarathonError(f"build: {name}: no such recipe file")
        return Path(name)
    folders = [Path(folder) / "recipes" for folder in include_path] + [shipped_recipes()]
    known = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    if name not in known:
        raise unknown("build", "recipe", name, known)
    return known[name]


def load_recipe(name: str, include_path: list[str] | None = None) -> Recipe:
    """The recipe of that name or path. Raises MarathonError with file and line of every mistake."""
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
        raise MarathonError(f"{where}: pattern: no regular expression ({error})") from None
