"""Defines the keys of a task's YAML that say how few-shot examples are chosen and formatted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marathon_eval.task.yaml.data_config import Keys, RowStepConfig


class FewshotConfig(Keys):
    """Says how few-shot examples are chosen and formatted. Keys that are absent take the task's value."""

    sampler: Literal["default", "first_n"] = Field(
        "default",
        description="default: drawn at random, seeded with 1234 and the row's number; first_n: the first rows",
    )
    split: str | None = Field(
        None, description="the split that examples come from, if not the task's fewshot_split"
    )
    samples: list[dict[str, Any]] | None = Field(
        None, description="rows to use as examples, instead of rows of a split"
    )
    fewshot_indices: list[int] | None = Field(
        None, description="positions, from 0, in `samples` or among the split's rows that only_rows keeps"
    )
    process_docs: str | list[str | RowStepConfig] | None = Field(
        None, description="row steps for the examples, instead of the task's process_docs"
    )
    doc_to_text: str | None = Field(
        None, description="template of an example's question, if it differs from the task's"
    )
    doc_to_choice: str | list[Any] | dict[str, Any] | None = Field(
        None, description="options of an example, if they differ from the task's"
    )
    doc_to_target: str | int | list[Any] | None = Field(
        None, description="an example's answer, if it differs from the task's"
    )
    gen_prefix: str | None = Field(None, description="text after an example's question and before its answer")
    target_delimiter: str | None = Field(
        None, description="text between an example's question and its answer"
    )
    fewshot_delimiter: str | None = Field(None, description="text between two examples")
