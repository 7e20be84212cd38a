"""Defines the keys below `judge:` in a task's YAML: what a judge is asked about each answer, by kind of judging."""

from __future__ import annotations

import math
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _Keys(BaseModel):
    """Base class of the mappings below `judge:`. Unknown keys are refused."""

    # a nested block is part of its parent's validator; most never need one of their own
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class JudgeGate(_Keys):
    """Says which rows a judge is asked about: those in which a metric of a plain reading is high enough."""

    reading: str = Field(description="name of the plain reading")
    metric: str = Field(description="its metric")
    at_least: float = Field(
        1.0, allow_inf_nan=False, description="the lowest value with which a row is judged"
    )


class JudgePrompt(_Keys):
    """Defines one kind of judging. Templates see columns, `options`, `response`: see evaluator/judge_prompts.py."""

    readings: str | list[str] = Field(description="names of the readings that use the judge's verdicts")
    prompt: str = Field(description="template of what the judge reads")
    system: str | None = Field(None, description="template of the judge's system prompt")
    optional: bool = Field(False, description="true: a run without --judge_model omits these readings")
    max_new_tokens: int = Field(32, ge=1, description="most tokens of the judge's reply")
    raters: int = Field(
        1, ge=1, le=99, description="only for rubric and grade: independent judge calls per answer"
    )
    seed: int = Field(0, ge=0, description="seed of the judge's sampling; rater i uses seed + i")
    gate: JudgeGate | None = Field(
        None,
        description="rows below it get the lowest grade, and the judge is not asked; without a gate it is asked about all",
    )


class GradePrompt(JudgePrompt):
    """Defines the general judge: grades on a scale or in labels, by criteria, of one answer or of two."""

    prompt: str = Field("", description="absent: a prompt with question, reference, answer and criteria")
    max_new_tokens: int = Field(512, ge=1, description="most tokens of the judge's reply")
    scale: list[int | float] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="the worst and the best grade; two whole numbers allow whole grades only",
    )
    labels: dict[str, float] | None = Field(
        None, min_length=2, description="grades in words, and what each counts"
    )
    criteria: list[str | dict[str, str]] = Field(
        [], description="what is graded: names, or {name: what it means}; absent: one grade"
    )
    reference: str = Field(
        "required",
        pattern="^(required|optional|none)$",
        description="required: the prompt has the right answer; optional: where the row has one; none: never",
    )
    combine: str = Field(
        "mean",
        pattern="^(mean|vote|median)$",
        description="how the grades of several judges or raters make the row's: their mean, the most frequent one (of equally "
        "frequent ones the lowest), or their median",
    )
    against: str | None = Field(
        None,
        description="column or template of another answer: both are graded in one reply, in both orders; "
        "`reference` is the right answer",
    )

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: dict[str, float] | None) -> dict[str, float] | None:
        written = [label.strip().casefold() for label in labels or {}]
        if len(set(written)) < len(written) or "" in written:
            raise ValueError("labels must differ in more than case, and none may be empty")
        if not all(math.isfinite(number) for number in (labels or {}).values()):
            raise ValueError("what a label counts must be a finite number")
        return labels

    @model_validator(mode="after")
    def _one_kind_of_grade(self) -> Self:
        if (self.scale is None) == (self.labels is None):
            raise ValueError("grades need either scale: [worst, best] or labels: {label: number}")
        if self.scale is not None and not (
            all(math.isfinite(end) and abs(end) < 1e9 for end in self.scale) and self.scale[0] < self.scale[1]
        ):
            raise ValueError(f"scale must be [worst, best] with worst below best, got {self.scale}")
        names = list(self.criteria_texts())
        if len(names) < sum(1 if isinstance(item, str) else len(item) for item in self.criteria):
            raise ValueError("two criteria have the same name")
        if reserved := {"reason", "first", "second"} & set(names):
            raise ValueError(f"a criterion cannot be named {min(reserved)}")
        return self

    def criteria_texts(self) -> dict[str, str]:
        """Return the criteria's names with what each means; without an explanation the name again."""
        texts: dict[str, str] = {}
        for item in self.criteria:
            texts |= {item: item} if isinstance(item, str) else item
        return texts

    def bounds(self) -> tuple[float, float]:
        """Return the worst and the best grade of the scale, or the lowest and the highest number of the labels."""
        numbers: list[Any] = self.scale or sorted((self.labels or {}).values())
        return float(numbers[0]), float(numbers[-1])

    def whole(self) -> bool:
        """Return whether only whole numbers are grades."""
        return self.scale is not None and all(isinstance(end, int) for end in self.scale)


class Judging(_Keys):
    """Holds the judge prompts by kind of judging."""

    align: JudgePrompt | None = Field(None, description="the judge says which option the answer means")
    pair: JudgePrompt | None = Field(
        None, description="the judge rates answer and reference from 1 to 10 each, in both orders"
    )
    rubric: JudgePrompt | None = Field(
        None, description="the judge scores the reasoning by the row's criteria, those of the column `rubric`"
    )
    grade: GradePrompt | None = Field(
        None, description="the judge, or several, grade the answer on the task's own scale: docs/judges.md"
    )
