"""Reads a task's few-shot examples through the steps that its documents pass, and chooses each document's.

The settings are those of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness): num_fewshot,
fewshot_split and fewshot_config.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any, NamedTuple

from marathon_eval.api.audio import Audio
from marathon_eval.api.doc import Doc
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.data.row_steps import RowStep, steps_named
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.data.selection import Row, only
from marathon_eval.task.data.sources import Source
from marathon_eval.task.data.table import Table
from marathon_eval.task.prompt.prompt import FewshotWriter, Question
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.loader import Document

#: lm-eval's seed for few-shot examples. The row's number is added, so --limit and row order change no prompt.
FEWSHOT_SEED = 1234


class Example(NamedTuple):
    """Holds a row that can be an example. `number` is its row number in the evaluated split, None for other rows.

    `question` is the text that the task would ask for it, None if the row lacks a value that the text needs. `folder` is
    where its audio is looked for.
    """

    number: int | None
    fields: Mapping[str, Any]
    question: str | None
    folder: str = ""


#: Returns the clips of an example: its fields, its folder and the table that it stands in. Raises RowError.
FindClips = Callable[[Mapping[str, Any], str, Table], tuple[Audio, ...]]


class Examples:
    """Chooses the examples of documents. Each row passes only_rows, the row steps and the rule for gold answers."""

    def __init__(self, config: TaskConfig, document: Document, question: Question) -> None:
        self.config = config
        self.question = question
        self.writer = FewshotWriter(config, document, question)
        self.where = self.writer.where
        own_steps = config.fewshot_config.process_docs
        key = ("fewshot_config", "process_docs") if own_steps is not None else ("process_docs",)
        self.steps: list[RowStep] = steps_named(
            own_steps if own_steps is not None else config.process_docs,
            document.where(*key),
            lambda name: document.own_code("row_step", name, document.where(*key)),
        )

    def added(self, docs: Sequence[Doc], reader: TableReader, table: Table, clips_of: FindClips) -> list[Doc]:
        """Return the documents with their examples. `table` holds the evaluated split's rows after only_rows.

        Raises MarathonError for an example of the YAML that cannot be used, and if a document has too few.
        """
        pool, home = self._pool(reader, table)
        clips: dict[int, tuple[Audio, ...]] = {}

        def with_examples(doc: Doc) -> Doc:
            chosen = self._for(doc, pool)
            try:
                for one in chosen:
                    if id(one) not in clips:
                        clips[id(one)] = clips_of(one.fields, one.folder, home)
            except RowError as error:
                return Doc(doc.doc_id, doc.fields, error=f"row {doc.doc_id}: an example of it: {error}")
            heard = tuple(clip for one in chosen for clip in clips[id(one)])
            return replace(doc, examples=tuple(one.fields for one in chosen), example_audio=heard)

        return [doc if doc.error is not None else with_examples(doc) for doc in docs]

    def _pool(self, reader: TableReader, table: Table) -> tuple[list[Example], Table]:
        """Return every usable row, and the table they stand in. Rows with an error are left out, unless the YAML names them."""
        fewshot = self.config.fewshot_config
        evaluated, chosen = False, table
        if fewshot.samples is not None:
            rows: Sequence[Row] = [Row(number, "", values) for number, values in enumerate(fewshot.samples)]
        else:
            split = reader.fewshot_split()
            evaluated = split == reader.test_split()
            chosen = table if evaluated else reader.read(split)
            rows = only(chosen.rows, self.config.only_rows, self.where)
        named = fewshot.samples is not None or fewshot.fewshot_indices is not None
        pool = []
        for row in self._indexed(rows):
            try:
                pool.append(self._example(row, chosen.source, evaluated))
            except RowError as error:
                if named:
                    raise MarathonError(f"{self.where}: example {row.number}: {error}") from None
        return pool, chosen

    def _indexed(self, rows: Sequence[Row]) -> Sequence[Row]:
        indices = self.config.fewshot_config.fewshot_indices
        if indices is None:
            return rows
        wrong = [index for index in indices if not 0 <= index < len(rows)]
        if wrong:
            raise MarathonError(
                f"{self.where}: fewshot_indices: {wrong[0]} is not among the {len(rows)} rows"
            )
        return [rows[index] for index in indices]

    def _example(self, row: Row, source: Source | None, evaluated: bool) -> Example:
        """Run the row steps and write the example once, to see that it can be used. Raises RowError."""
        if not isinstance(row.values, Mapping):
            raise RowError(f"is {type(row.values).__name__}, not an object")
        fields: Mapping[str, Any] = row.values
        for step in self.steps:
            fields = step(fields, source)
        self.writer.write(fields)
        return Example(row.number if evaluated else None, fields, self._text(fields), row.folder)

    def _text(self, fields: Mapping[str, Any]) -> str | None:
        try:
            return self.question.text_for(fields)
        except RowError:
            return None

    def _for(self, doc: Doc, pool: Sequence[Example]) -> list[Example]:
        """Choose a document's examples, never its own row nor a row that asks the same question."""
        count, text = self.config.num_fewshot, self._text(doc.fields)

        def differs(one: Example) -> bool:
            same_text = text is not None and one.question == text
            return not (one.number == doc.doc_id or same_text or one.fields == doc.fields)

        if self.config.fewshot_config.sampler == "first_n":
            examples = list(islice(filter(differs, pool), count))
        else:
            random = Random(f"{FEWSHOT_SEED}:{doc.doc_id}")
            drawn = random.sample(pool, min(count + 1, len(pool)))
            examples = [one for one in drawn if differs(one)][:count]
            if len(examples) < count:
                others = [one for one in pool if differs(one)]
                examples = random.sample(others, min(count, len(others)))
        if len(examples) < count:
            raise MarathonError(
                f"{self.where}: num_fewshot: {count}, but there are only {len(examples)} other rows that can be "
                f"examples of row {doc.doc_id} and do not ask its own question"
            )
        return examples
