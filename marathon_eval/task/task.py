"""Task: documents to requests, responses to samples, samples to a result; and the way from a YAML to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.filter import FilterContext
from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.api.results import Sample, TaskResult
from marathon_eval.errors import MarathonError, unknown
from marathon_eval.scoring.aggregation import Aggregation
from marathon_eval.scoring.scorer import Scorer
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.documents import DocLoader
from marathon_eval.task.group import Group
from marathon_eval.task.prompt.choices import Choices, letters_of
from marathon_eval.task.prompt.prompt import PromptWriter
from marathon_eval.task.readings import build_readings
from marathon_eval.task.yaml.config import GroupConfig, TaskConfig, generation_settings
from marathon_eval.task.yaml.keys import is_group, parsed_config
from marathon_eval.task.yaml.loader import Document, load_document

__all__ = ["Doc", "DocSet", "Group", "Task", "load_task"]

#: lm-eval's max_gen_toks, for a YAML that names no length.
DEFAULT_NEW_TOKENS = 256


def load_task(path: Path, find: Callable[[str], Path]) -> Task | Group:
    """The task or group of a YAML; `find` turns a task's name into its file, for `include`.

    Raises MarathonError, one `file:line: ...` per mistake: everything that needs no data is checked here.
    """
    document = load_document(path, find)
    if is_group(document):
        values = {"group": path.stem, **document.values}
        return Group(path.stem, parsed_config(replace(document, values=values), GroupConfig))
    return Task(document)


class Task:
    """One task's YAML, ready to run. The file's name is the task's name."""

    def __init__(self, document: Document) -> None:
        self.path = document.path
        self.name = document.path.stem
        self.config = parsed_config(document, TaskConfig)
        self.document = document
        self.readings = build_readings(self.config, document)
        self.writer = PromptWriter(self.config, document)
        self.variants = {
            model: PromptWriter(self.config, document, variant)
            for model, variant in self.config.prompt_variants.items()
        }
        self.scorer = self.scorer_named(self.name)
        self.loader = DocLoader(self.config, document, self.writer.question, self._choices_for_filters())
        self.generation = self._generation()
        self._check()

    def scorer_named(self, name: str) -> Scorer:
        """Return the task's scorer, whose samples carry `name`."""
        config, keys = self.config, self.config.breakdown or []
        return Scorer(
            name,
            self.readings,
            breakdown=[keys] if isinstance(keys, str) else keys,
            cluster=config.cluster,
            headline=config.headline.model_dump() if config.headline else None,
            version=config.metadata.get("version"),
        )

    @property
    def alias(self) -> str:
        """The name that tables show."""
        return self.config.task_alias or self.name

    def docs(
        self,
        data_dir: str | None = None,
        subset: str | None = None,
        limit: float | None = None,
        samples: Sequence[int] | None = None,
    ) -> DocSet:
        """The documents to ask; bad rows carry their reason. `samples` are row numbers, in that order.

        Raises MarathonError where the dataset as a whole cannot be used.
        """
        reader = TableReader(
            self.config, data_dir, self.path.resolve().parent, self.document.where("dataset_path")
        )
        return self.loader.load(reader, subset, limit, samples)

    def target(self, doc: Doc) -> str | tuple[str, ...] | None:
        """The gold answer as scores compare it; None for a row without a usable one."""
        return doc.target

    def requests(self, doc: Doc, model_name: str | None = None, seed: int = 0) -> list[Request]:
        """One request per repeat; sampled ones are seeded with the task's seed, else `seed`, plus the repeat's number.

        Raises RowError where the row lacks what the prompt needs.
        """
        writer = self.variants.get(model_name or "", self.writer)
        prompt = writer.write(doc.fields, doc.examples)
        first = self.generation.seed if self.generation.seed is not None else seed
        return [
            Request(
                prompt.text,
                doc.audio,
                replace(self.generation, seed=first + repeat) if self._sampled else self.generation,
                prompt.system,
            )
            for repeat in range(self.config.repeats)
        ]

    def context(self, doc: Doc) -> FilterContext:
        """What filters may know of a document."""
        layout = self.writer.question.layout
        # options that are shown without letters have none: "C" is then the note, not the third option
        letters = () if layout == "plain" else letters_of(len(doc.choices), layout)
        return FilterContext(doc.choices, letters, doc.fields)

    def score(self, doc: Doc, responses: Sequence[Response], predict_only: bool = False) -> Sample:
        """The sample of a document; its readings are empty with `predict_only` and for a failed answer."""
        return self.scorer.score(doc, self.context(doc), responses, judge=not predict_only)

    def aggregation(self) -> Aggregation:
        """What takes in samples as they are made, and gives the task's result."""
        return Aggregation(self.scorer, self.context)

    def aggregate(self, samples: Iterable[Sample], docset: DocSet) -> TaskResult:
        """The task's result over these samples."""
        docs = {doc.doc_id: doc for doc in docset.docs}
        found = self.aggregation()
        for sample in samples:
            found.add(sample, docs[sample.doc_id])
        return found.result(docset)

    @property
    def _sampled(self) -> bool:
        return self.generation.temperature > 0

    def _at(self, key: str) -> str:
        return f"{self.document.where(key)}: {key}"

    def _choices_for_filters(self) -> Choices:
        """lm-eval's multi_choice_regex reads the row's column `choices`, also where the task names no options."""
        own = self.writer.question.choices
        needed = any(reading.pipeline.needs_choices for reading in self.readings.values())
        return own if own.given or not needed else Choices("choices", None, False, self._at("filter_list"))

    def _generation(self) -> Generation:
        settings = generation_settings(self.config.generation_kwargs, self._at("generation_kwargs"))
        return Generation(**{"max_new_tokens": DEFAULT_NEW_TOKENS, **settings})

    def _check(self) -> None:
        """What no single key can say alone."""
        config = self.config
        if config.repeats > 1 and not self._sampled:
            raise MarathonError(
                f"{self._at('repeats')}: {config.repeats} greedy answers are one answer; "
                "set generation_kwargs: temperature above 0, or repeats: 1"
            )
        if config.num_fewshot and config.doc_to_audio:
            raise MarathonError(
                f"{self._at('num_fewshot')}: solved examples with audio are not supported here"
            )
        if config.default_subset is not None and config.default_subset not in config.subsets:
            raise unknown(self._at("default_subset"), "subset", config.default_subset, config.subsets)
        expected = config.expected_sha256 or {}
        known = [expected] if isinstance(expected, str) else expected.values()
        if any(len(digits) != 64 for digits in known):
            raise MarathonError(f"{self._at('expected_sha256')}: must have 64 hexadecimal digits")
        functions = {step["function"] for spec in config.filter_list for step in spec["filter"]}
        if functions & {"choice", "choice_text"} and not self.writer.question.choices.given:
            raise MarathonError(
                f"{self._at('filter_list')}: choice reads options; give doc_to_choice or choice_columns"
            )
        self._check_headline()

    def _check_headline(self) -> None:
        headline = self.config.headline
        if headline is None:
            return
        if headline.reading not in self.readings:
            raise unknown(self._at("headline"), "reading", headline.reading, self.readings)
        metrics = [metric.name for metric in self.readings[headline.reading].metrics]
        if headline.metric not in metrics:
            raise unknown(self._at("headline"), f"metric of '{headline.reading}'", headline.metric, metrics)
