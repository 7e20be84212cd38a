"""The keys of a task's YAML: lm-eval's names wherever it has one, and a few of ours for long audio.

The vocabulary is that of lm-evaluation-harness 0.4 (https://github.com/EleutherAI/lm-evaluation-harness,
docs/task_guide.md). What cannot work here is refused by name in task_keys.py.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from marathon_eval.task.yaml.generation import generation_settings

__all__ = ["GroupConfig", "TaskConfig", "generation_settings", "task_schema"]

Layout = Literal["A.", "A)", "A:", "(A)", "a.", "a)", "a:", "(a)", "plain"]
Scalar = str | int | float | bool


class Keys(BaseModel):
    """A mapping in a YAML: every key declared, unknown ones refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetKwargs(BaseModel):
    """Where rows are read from; keys not named here go to `datasets.load_dataset` as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    data_files: str | list[str] | dict[str, str | list[str]] | None = Field(
        None, description="json, jsonl, csv or parquet below --data_dir, the hub repo or this YAML's folder"
    )
    field: str | None = Field(None, description="the key that holds the rows, where the JSON is an object")
    revision: str | None = Field(None, description="the hub's commit; the first characters are enough")
    file_tree: list[str] | None = Field(
        None,
        description="rows from file names: 'HAD/{label:real|fake}/{name}.wav' gives path, label and name; "
        "the first pattern that matches any file is used",
    )
    trust_remote_code: bool | None = Field(
        None, description="known from lm-eval; no dataset's code is ever run"
    )


class RowFilter(Keys):
    """Rows in which every named field has one of the values (compared as text)."""

    fields: dict[str, Scalar | list[Scalar]]
    ignore_case: bool = True


class Balance(Keys):
    """Down-sample every class to the smallest: rows of a class sorted by audio path, `random.Random(seed).sample`."""

    by: str
    seed: int = 42


class Subset(Keys):
    """A named selection of rows, chosen by `--subset`."""

    drop: list[RowFilter] = []
    balance: Balance | None = None


class FewshotConfig(Keys):
    """How solved examples are chosen and written; what is absent is taken from the task."""

    sampler: Literal["default", "first_n"] = Field(
        "default", description="default: drawn with a seed made from 1234 and the row's number"
    )
    split: str | None = None
    samples: list[dict[str, Any]] | None = Field(None, description="the examples themselves")
    fewshot_indices: list[int] | None = None
    process_docs: str | list[str] | None = None
    doc_to_text: str | None = None
    doc_to_choice: str | list[Any] | dict[str, Any] | None = None
    doc_to_target: str | int | list[Any] | None = None
    gen_prefix: str | None = None
    target_delimiter: str | None = None
    fewshot_delimiter: str | None = None


class PromptVariant(Keys):
    """What one model is asked instead, by the model's name; what is absent stays."""

    doc_to_text: str | None = None
    system: str | None = None
    description: str | None = None
    gen_prefix: str | None = None
    choice_layout: Layout | None = None


class Headline(Keys):
    """The one number of the task's column: `scale * value`."""

    reading: str
    metric: str
    scale: float = Field(1.0, allow_inf_nan=False)


class JudgePrompt(Keys):
    """One kind of judging. Templates see the row's columns, `options` and `response`; see judge_kinds.py for the rest."""

    readings: str | list[str] = Field(description="the readings that its verdicts are for")
    prompt: str
    system: str | None = None
    optional: bool = Field(False, description="true: without --judge_model these readings are left out")
    max_new_tokens: int = Field(32, ge=1)
    raters: int = Field(1, ge=1, description="rubric: independent calls per answer")
    seed: int = Field(0, ge=0)


class Judging(Keys):
    """Kinds of judging by name."""

    align: JudgePrompt | None = Field(None, description="which option an answer means")
    pair: JudgePrompt | None = Field(None, description="answer and reference, 1 to 10 each, in both orders")
    rubric: JudgePrompt | None = Field(
        None, description="the reasoning of a right answer by the row's criteria"
    )


class TaskConfig(Keys):
    """One task. Keys and defaults as in lm-eval, except that no stop string is ever implied."""

    task: str | None = Field(None, description="may repeat the name; the file's name is the task's name")
    task_alias: str | None = None
    tag: str | list[str] | None = None
    metadata: dict[str, Any] = Field({}, description="free; `version` is kept with the results")

    dataset_path: str = Field(description="a hub dataset, or json, jsonl, csv, parquet with data_files")
    dataset_name: str | None = None
    dataset_kwargs: DatasetKwargs = DatasetKwargs()
    training_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = Field(None, description="what is evaluated; validation_split where absent")
    process_docs: str | list[str] | None = Field(
        None, description="names of built-in row steps (row_steps.py)"
    )
    expected_sha256: str | dict[str, str] | None = Field(
        None,
        description="of the metadata file; another one is refused. Several under their versions' names: results say "
        "which one it is, and others are allowed",
    )
    only_rows: RowFilter | None = Field(
        None, description="this task's rows, where one file holds those of many; others are not counted"
    )
    subsets: dict[str, Subset] = Field({}, description="selections of rows for --subset")
    default_subset: str | None = None

    doc_to_text: str = Field(description="a column, or a template over the row, choices, letters, options")
    doc_to_target: str | int | list[Any] = Field(
        description="a column or template; with choices a letter, text or index"
    )
    gold_is: Literal["option", "text"] = Field(
        "option",
        description="option: a letter, index or text of one of the options, anything else is an error row; "
        "text: the text as it stands, also where it is no option",
    )
    doc_to_choice: str | list[Any] | dict[str, Any] | None = Field(
        None, description="the options: a list, a column, a template that gives a list"
    )
    choice_columns: list[str] | None = Field(None, description="the columns that hold one option each")
    choice_layout: Layout | None = Field(
        None, description="how `options` is written; with it, choices, letters and options hide such columns"
    )
    missing_choice: Literal["error", "drop"] = Field(
        "error", description="drop: trailing options may be absent"
    )
    doc_to_audio: str | list[str] | None = Field(
        None, description="column(s) or a template giving the audio's path"
    )
    on_missing_audio: Literal["error_row", "drop"] = "error_row"
    known_missing: list[str] = Field(
        [], description="audio that the release lacks, as shell patterns: dropped and counted when absent"
    )

    system: str | None = Field(None, description="the system text, a template; the model's own where absent")
    description: str = ""
    gen_prefix: str | None = None
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    num_fewshot: int = Field(0, ge=0)
    fewshot_split: str | None = None
    fewshot_config: FewshotConfig = FewshotConfig()
    prompt_variants: dict[str, PromptVariant] = Field(
        {}, description="other prompts for models, by model name"
    )

    output_type: Literal["generate_until"] = "generate_until"
    generation_kwargs: dict[str, Any] = Field(
        {}, description="until, max_gen_toks, temperature, top_p, seed, ..."
    )
    repeats: int = Field(1, ge=1, le=10_000, description="answers per row; repeat i is decoded with seed + i")
    filter_list: list[dict[str, Any]] = Field(
        [{"name": "none", "filter": [{"function": "take_first"}]}],
        min_length=1,
        description="the readings: name and filter, a list of {function, ...}",
    )
    metric_list: list[dict[str, Any]] = Field(
        [{"metric": "exact_match"}],
        min_length=1,
        description="{metric, aggregation, higher_is_better, filter_list: the readings it is for, ...}",
    )
    headline: Headline | None = None
    judge: Judging | None = Field(None, description="what --judge_model is asked about each answer")
    breakdown: str | list[str] | None = Field(None, description="columns by which the results are also given")
    cluster: str | None = Field(
        None, description="column naming what intervals resample; the audio's path by default"
    )

    should_decontaminate: Literal[False] = False
    unsafe_code: Literal[False] = False


class AggregateMetric(Keys):
    """How a group sums its tasks up; `metric: headline` is each task's own headline."""

    metric: str = "headline"
    aggregation: Literal["mean"] = "mean"
    weight_by_size: bool = True
    over: Literal["tasks", "members"] = Field(
        "tasks", description="members: a group inside counts once, with its own score"
    )
    filter_list: str | list[str] | None = None


class GroupConfig(Keys):
    """Several tasks under one name; a member is a task's name or a group inside."""

    group: str
    group_alias: str | None = None
    task: list[str | GroupConfig]
    aggregate_metric_list: list[AggregateMetric] | None = None
    tag: str | list[str] | None = None
    metadata: dict[str, Any] = {}


def task_schema() -> dict[str, Any]:
    """The JSON Schema of a task's or group's YAML, for editors; shipped as schema.json."""
    task, group = TaskConfig.model_json_schema(), GroupConfig.model_json_schema()
    definitions = {**task.pop("$defs"), **group.pop("$defs")}
    # a base or an include may hold the rest of the keys, so that none is needed in one file
    task.pop("required")
    include = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    task["properties"] = {"include": include, **task["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "marathon_eval task",
        "if": {"required": ["group"]},
        "then": {"$ref": "#/$defs/GroupConfig"},
        "else": task,
        "$defs": definitions,
    }
