"""Defines the keys of a task's YAML: lm-eval's names where lm-eval has the key, and additional keys for long audio.

The vocabulary is that of lm-evaluation-harness 0.4 (https://github.com/EleutherAI/lm-evaluation-harness,
docs/task_guide.md). keys.py lists the lm-eval keys that this harness does not support.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from marathon_eval.task.yaml.data_config import (
    AudioColumns,
    DatasetKwargs,
    Keys,
    RowFilter,
    RowStepConfig,
    Subset,
)
from marathon_eval.task.yaml.dialogue_keys import Message
from marathon_eval.task.yaml.fewshot_keys import FewshotConfig
from marathon_eval.task.yaml.generation import generation_settings
from marathon_eval.task.yaml.judge_keys import Judging
from marathon_eval.task.yaml.long_audio import LongAudioRule

__all__ = ["GroupConfig", "TaskConfig", "generation_settings", "task_schema"]

Layout = Literal["A.", "A)", "A:", "(A)", "a.", "a)", "a:", "(a)", "plain"]
GoldForm = Literal["option", "text", "any_text", "absent"]


class PromptVariant(Keys):
    """Overrides parts of the prompt for one model. Keys that are absent keep the task's value."""

    doc_to_text: str | None = Field(None, description="template of the question for this model")
    system: str | None = Field(
        None, description="template of the system prompt for this model; null: the model's default"
    )
    description: str | None = Field(None, description="text before the question for this model")
    gen_prefix: str | None = Field(None, description="beginning of the answer for this model")
    choice_layout: Layout | None = Field(None, description="format of the option lines for this model")


class Headline(Keys):
    """Names the metric that is the task's main score, reported as `scale * value`."""

    reading: str = Field(description="name of the reading, one of filter_list")
    metric: str = Field(description="name of the metric, one of metric_list")
    scale: float = Field(
        1.0, allow_inf_nan=False, description="factor of the reported number: 100 for per cent"
    )


class TaskConfig(Keys):
    """Defines one task. Keys and defaults are those of lm-eval, except that there is no default stop string."""

    task: str | None = Field(None, description="ignored: the task is named after its file")
    task_alias: str | None = Field(None, description="name of the task in printed tables")
    tag: str | list[str] | None = Field(
        None, description="names under which --tasks chooses this task together with others"
    )
    metadata: dict[str, Any] = Field({}, description="any keys; `version` is recorded in the results")

    dataset_path: str = Field(
        description="a dataset on the hub; or json, jsonl, csv, tsv or parquet, together with data_files"
    )
    dataset_name: str | None = Field(None, description="configuration of the dataset on the hub")
    dataset_kwargs: DatasetKwargs = Field(
        DatasetKwargs(), description="where rows are read from, and arguments of the reader"
    )
    training_split: str | None = Field(
        None, description="the split that few-shot examples come from, if fewshot_split is absent"
    )
    validation_split: str | None = Field(
        None, description="the split that is evaluated if there is no test_split"
    )
    test_split: str | None = Field(
        None, description="the split that is evaluated; validation_split if absent"
    )
    process_docs: str | list[str | RowStepConfig] | None = Field(
        None,
        description="built-in row steps in order, see task/data/row_steps.py: librispeech_transcript, race_difficulty, "
        "{json_fields: COLUMN}, {strip_prefix: {columns, prefix}}, {join: {file, column}}; or a user's own, row_steps/NAME.py",
    )
    expected_sha256: str | dict[str, str] | None = Field(
        None,
        description="sha256 of the metadata file; a file with another hash is refused. Alternatively a mapping "
        "of release names to hashes: results record the matching name, and files with other hashes are allowed",
    )
    only_rows: RowFilter | None = Field(
        None,
        description="selects this task's rows from a file shared by several tasks; other rows are not counted",
    )
    subsets: dict[str, Subset] = Field({}, description="selections of rows by name, for --subset")
    default_subset: str | None = Field(
        None, description="name of the selection that is used without --subset"
    )

    doc_to_text: str = Field(
        description="a column, or a template that sees the row's columns, choices, letters and options"
    )
    doc_to_messages: str | list[str | Message] | None = Field(
        None,
        description="turns of a dialogue, in place of doc_to_text: a list, or a column or template of one",
    )
    doc_to_target: str | int | list[Any] = Field(
        description="a column or template; for multiple choice it gives a letter, an option's text or an index"
    )
    gold_is: GoldForm = Field(
        "option",
        description="option: the target must be an option's letter, index or text, otherwise the row is an error; "
        "text: the same, but a number is an option's text and never an index; "
        "any_text: the target is used unchanged, even if it is not an option, as some released scripts do; "
        "absent: the split has no gold answers: doc_to_target is not read, rows are asked and nothing is scored",
    )
    doc_to_choice: str | list[Any] | dict[str, Any] | None = Field(
        None, description="the options: a list, a column, or a template that gives a list"
    )
    choice_columns: list[str] | None = Field(None, description="columns that hold one option each")
    choice_layout: Layout | None = Field(
        None,
        description="format of the lines in `options`; if set, the names choices, letters and options in templates "
        "take precedence over columns of the same name",
    )
    missing_choice: Literal["error", "drop"] = Field(
        "error",
        description="error: a row without an option is an error row; drop: trailing options may be absent",
    )
    doc_to_audio: str | AudioColumns | list[str | AudioColumns] | None = Field(
        None,
        description="column(s) or template(s) that give the audio's path, or {path, start, stop} of columns or templates",
    )
    audio_optional: bool = Field(
        False,
        description="true: a row may have no audio (an empty list or text, or null) and is asked without it; "
        "false: such a row is an error row",
    )
    on_missing_audio: Literal["error_row", "drop"] = Field(
        "error_row",
        description="error_row: a row whose audio file is missing is an error row; drop: it is left out and counted",
    )
    known_missing: list[str] = Field(
        [],
        description="shell patterns of audio that the release lacks: rows without it are dropped and counted",
    )

    min_seconds: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="rows with fewer seconds of audio, all clips of the row together, are left out and counted",
    )
    max_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="the same for rows with more seconds of audio"
    )
    long_audio: LongAudioRule = Field(
        "refuse",
        description="refuse: a clip that does not fit the model is an error row; {window: {seconds, overlap, combine, ask}}: "
        "longer clips are cut into windows that are asked one by one",
    )

    system: str | None = Field(
        None, description="template of the system prompt; the model's default if absent, none if empty"
    )
    description: str = Field("", description="text before the question, and before few-shot examples")
    gen_prefix: str | None = Field(None, description="beginning of the answer, given to the model")
    target_delimiter: str = Field(
        " ", description="text between the question and the answer of a few-shot example"
    )
    fewshot_delimiter: str = Field(
        "\n\n", description="text between few-shot examples, and between the last one and the question"
    )
    num_fewshot: int = Field(0, ge=0, description="number of examples before the question")
    fewshot_split: str | None = Field(None, description="the split that few-shot examples come from")
    fewshot_config: FewshotConfig = Field(
        FewshotConfig(), description="how few-shot examples are chosen and formatted"
    )
    prompt_variants: dict[str, PromptVariant] = Field(
        {}, description="overrides of the prompt, by model name"
    )

    output_type: Literal["generate_until"] = Field(
        "generate_until", description="the only type: the model writes text, likelihoods are not read"
    )
    generation_kwargs: dict[str, Any] = Field(
        {}, description="until, max_gen_toks, temperature, top_p, seed, ..."
    )
    repeats: int = Field(
        1, ge=1, le=10_000, description="responses per row; repeat i (from 0) is sampled with seed + i"
    )
    filter_list: list[dict[str, Any]] = Field(
        [{"name": "none", "filter": [{"function": "take_first"}]}],
        min_length=1,
        description="the readings, each with a name and a filter: a list of {function, ...}",
    )
    metric_list: list[dict[str, Any]] = Field(
        [{"metric": "exact_match"}],
        min_length=1,
        description="list of {metric, aggregation, higher_is_better, filter_list, ...}; filter_list names the "
        "readings that use the metric, default all",
    )
    process_results: str | None = Field(
        None, description="`!function` that returns a row's values by metric, with --trust_task_code"
    )
    language: str | None = Field(
        None,
        description="of the targets, as code or English name: error rates and numbers are read accordingly",
    )
    normalizer: str | None = Field(
        None, description="normaliser of the error rates; by default the language's, see `ls metrics`"
    )
    headline: Headline | None = Field(
        None, description="the task's main score, which groups and leaderboards use"
    )
    judge: Judging | None = Field(None, description="prompts that --judge_model gets about each answer")
    breakdown: str | list[str] | None = Field(
        None, description="columns by whose values the results are also reported"
    )
    sample_fields: str | list[str] | None = Field(
        None,
        description="columns that samples keep beside those of `breakdown`; NAME_start and NAME_stop, in seconds of the "
        "clip, are drawn along it on the report's page",
    )
    cluster: str | None = Field(
        None,
        description="column with each row's cluster, which intervals resample; the audio's path by default",
    )

    doc_to_visual: str | list[str] | None = Field(
        None, description="lmms-eval's name of doc_to_audio; task/yaml/lmms_eval.py translates it"
    )
    lmms_eval_specific_kwargs: dict[str, Any] | None = Field(
        None,
        description="second argument of the functions of an lmms-eval task: by model name, or `default`",
    )
    model_specific_generation_kwargs: dict[str, Any] | None = Field(
        None, description="lmms-eval's: `default` overrides generation_kwargs"
    )
    should_decontaminate: bool = Field(
        False,
        description="accepted as in lm-eval, without effect: there are no training sets to compare with",
    )
    doc_to_decontamination_query: str | None = Field(
        None, description="accepted as in lm-eval, without effect"
    )
    unsafe_code: Literal[False] = Field(False, description="accepted from lm-eval's files; false only")
    full_docs: Literal[False] = Field(False, description="accepted from lmms-eval's files; false only")
    process_results_use_image: Literal[False] = Field(
        False, description="accepted from lmms-eval's files; false only"
    )
    auto_strip_thinking: Literal[False] = Field(
        False, description="accepted from lmms-eval's files; false only"
    )


class AggregateMetric(Keys):
    """Says how a group averages its tasks. `metric: headline` takes each task's own headline."""

    metric: str = Field("headline", description="the metric that is averaged")
    aggregation: Literal["mean"] = Field("mean", description="how scores are combined")
    weight_by_size: bool = Field(
        True, description="true: every row counts the same; false: every task counts the same"
    )
    over: Literal["tasks", "members"] = Field(
        "tasks",
        description="tasks: all tasks, also of sub-groups; members: a sub-group counts once, with its own score",
    )
    filter_list: str | list[str] | None = Field(
        None, description="the reading whose metric is averaged, or several"
    )


class GroupConfig(Keys):
    """Lists several tasks under one name. A member is the name of a task or of a group, or an inline sub-group."""

    group: str = Field(description="name of the group, for --tasks")
    group_alias: str | None = Field(None, description="name of the group in printed tables")
    task: list[str | GroupConfig] = Field(description="names of tasks or groups, or sub-groups written here")
    aggregate_metric_list: list[AggregateMetric] | None = Field(
        None,
        description="the averages that the group reports; absent: the mean of the headlines, each task counting the same",
    )
    tag: str | list[str] | None = Field(
        None, description="names under which --tasks chooses this group together with others"
    )
    metadata: dict[str, Any] = Field({}, description="any keys; `version` is recorded in the results")


def _examples() -> dict[str, dict[str, Any]]:
    """Return an example of every key, by the name of its class."""
    import yaml

    text = Path(__file__).with_name("examples.yaml").read_text(encoding="utf-8")
    examples: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return examples


def task_schema() -> dict[str, Any]:
    """Return the JSON Schema of a task's or group's YAML. Editors use it; it ships as schema.json."""
    task, group = TaskConfig.model_json_schema(), GroupConfig.model_json_schema()
    definitions = {**task.pop("$defs"), **group.pop("$defs")}
    for name, values in _examples().items():
        properties = task["properties"] if name == "TaskConfig" else definitions[name]["properties"]
        for key, value in values.items():
            properties[key]["examples"] = [value]
    # an included file may provide the other keys, so a single file need not have any of them
    task.pop("required")
    include = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "YAML files whose keys this file takes over and may override, beside it or shipped",
        "examples": ["gtzan.yaml"],
    }
    task["properties"] = {"include": include, **task["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "marathon_eval task",
        "if": {"required": ["group"]},
        "then": {"$ref": "#/$defs/GroupConfig"},
        "else": task,
        "$defs": definitions,
    }
