"""Loads tasks from YAML files. A Task makes requests from documents, samples from responses, and a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.filter import FilterContext
from marathon_eval.api.model import CLIP_MARK, Generation, Request, Response
from marathon_eval.api.results import Sample, TaskResult
from marathon_eval.api.task_functions import functions_in, task_function
from marathon_eval.errors import MarathonError, RowError, unknown
from marathon_eval.scoring.aggregation import Aggregation
from marathon_eval.scoring.scorer import Scored, Scorer
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.data.selection import ANY_LENGTH, RowLengths
from marathon_eval.task.dialogue_checks import check_dialogue
from marathon_eval.task.dialogue_requests import check_script, turn_request
from marathon_eval.task.documents import DocLoader
from marathon_eval.task.group import Group
from marathon_eval.task.judged_readings import check_judged_readings
from marathon_eval.task.prompt.choices import Choices, letters_of
from marathon_eval.task.prompt.prompt import PromptWriter
from marathon_eval.task.readings import build_readings
from marathon_eval.task.yaml.config import GroupConfig, TaskConfig, generation_settings
from marathon_eval.task.yaml.keys import is_group, parsed_config
from marathon_eval.task.yaml.lmms_eval import translated
from marathon_eval.task.yaml.loader import Document, load_document
from marathon_eval.task.yaml.replaced import unknown_in

if TYPE_CHECKING:
    from marathon_eval.api.registry import PluginKind, Registry

__all__ = ["Doc", "DocSet", "Group", "Task", "load_task"]

#: Default max_new_tokens, equal to lm-eval's max_gen_toks.
DEFAULT_NEW_TOKENS = 256


def load_task(path: Path, find: Callable[[str], Path], registry: Registry | None = None) -> Task | Group:
    """Load the task or group of a YAML; `find` returns the file of a task by its name, for `include`.

    `registry` finds metrics, filters and row steps of the user's own; without it a task can name none.

    Checks everything that needs no data. Raises MarathonError with one `file:line: ...` per mistake.
    """
    trusted = registry is not None and registry.trust_task_code
    document = replace(translated(load_document(path, find, trusted)), registry=registry)
    if is_group(document):
        values = {"group": path.stem, **document.values}
        config = parsed_config(replace(document, values=values), GroupConfig)
        where = document.where("aggregate_metric_list")
        return Group(path.stem, config, f"{where}: aggregate_metric_list")
    return Task(document)


def with_num_fewshot(task: Task, number: int | None) -> Task:
    """Return the task with another number of few-shot examples, or as it is. Raises MarathonError."""
    if number is None or number == task.config.num_fewshot:
        return task
    return Task(replace(task.document, values={**task.document.values, "num_fewshot": number}))


class Task:
    """Holds one task, ready to run. The task is named after its YAML file."""

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
        config = self.config
        return Scorer(
            name,
            self.readings,
            breakdown=_names(config.breakdown),
            sample_fields=_names(config.sample_fields),
            cluster=config.cluster,
            headline=config.headline.model_dump() if config.headline else None,
            version=config.metadata.get("version"),
        )

    @property
    def own_code(self) -> dict[str, str]:
        """Return the SHA-256 of the user's files that make rows and scores of this task, by relative path."""
        filters = [step["function"] for spec in self.config.filter_list for step in spec["filter"]]
        steps = self.config.process_docs or []
        named: list[tuple[PluginKind, object]] = [
            *(("filter", name) for name in filters),
            *(("metric", spec.get("metric")) for spec in self.config.metric_list),
            *(("row_step", name) for name in ([steps] if isinstance(steps, str) else steps)),
        ]
        found = (self.document.own_code(kind, name, str(self.path)) for kind, name in named)
        hashes = {name: sha256 for code in found if code for name, sha256 in code.hashes.items()}
        return dict(sorted({**hashes, **functions_in(self.document.values)}.items()))

    @property
    def metric_names(self) -> dict[str, list[str]]:
        """Return the names of each reading's metrics."""
        return {name: [metric.name for metric in reading.metrics] for name, reading in self.readings.items()}

    @property
    def metric_entries(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the entry of metric_list of each reading's metrics, as results record them."""
        return {
            name: {metric.name: dict(metric.spec) for metric in reading.metrics}
            for name, reading in self.readings.items()
        }

    @property
    def alias(self) -> str:
        """Return the name that tables show."""
        return self.config.task_alias or self.name

    def docs(
        self,
        data_dir: str | None = None,
        subset: str | None = None,
        limit: float | None = None,
        samples: Sequence[int] | None = None,
        lengths: RowLengths = ANY_LENGTH,
        sounds_needed: bool = True,
    ) -> DocSet:
        """Load the documents; a bad row becomes one with an error. `samples` selects rows by number, in that order.

        `lengths` leaves out rows with fewer or more seconds of audio. Without `sounds_needed`, missing files are no errors.

        Raises MarathonError if the dataset as a whole cannot be used.
        """
        return self.loader.load(self.reader(data_dir), subset, limit, samples, lengths, sounds_needed)

    def reader(self, data_dir: str | None = None) -> TableReader:
        """Return what reads the task's rows. Raises MarathonError if `data_dir` is no folder."""
        where = self.document.where("dataset_path")
        return TableReader(self.config, data_dir, self.path.resolve().parent, where)

    def target(self, doc: Doc) -> str | tuple[str, ...] | None:
        """Return the gold answer in the form that metrics compare, or None for a row without a valid one."""
        return doc.target

    def requests(self, doc: Doc, model_name: str | None = None, seed: int = 0) -> list[Request]:
        """Build one request per repeat; of a dialogue, that of the first turn.

        The seed for sampling is the task's, else `seed`, plus the repeat's number.

        Raises RowError if the row lacks a value that the prompt needs.
        """
        if self.has_turns:
            first = self.next_turn(doc, (), model_name, seed)
            return [] if first is None else [first]
        writer = self.variants.get(model_name or "", self.writer)
        prompt = writer.write(doc.fields, doc.examples)
        audios, marks = (*doc.example_audio, *doc.audio), prompt.text.count(CLIP_MARK)
        # the text of a !function is known only after it ran
        placed = self.places_clips or (marks > 0 and task_function(self.config.doc_to_text) is not None)
        # the document of an archive has no clips
        if placed and audios and marks != len(audios):
            raise RowError(
                f"row {doc.doc_id}: the prompt must contain {CLIP_MARK} once per clip, and no column may contain it "
                f"(found {marks} for {len(audios)} clip{'s' * (len(audios) > 1)})"
            )
        return [
            Request(
                prompt.text,
                audios,
                self._seeded(seed, repeat),
                prompt.system,
                placed=placed,
            )
            for repeat in range(self.config.repeats)
        ]

    @property
    def has_turns(self) -> bool:
        """Return whether the task's rows are dialogues of several turns."""
        return self.config.doc_to_messages is not None

    def next_turn(
        self, doc: Doc, answers: Sequence[str], model_name: str | None = None, seed: int = 0
    ) -> Request | None:
        """Build the request of a dialogue's turn after these answers; None after the last. Raises RowError."""
        writer = self.variants.get(model_name or "", self.writer)
        if (dialogue := writer.question.dialogue) is None:
            return None
        values = writer.question.values(doc.fields)
        if not answers:
            check_script(doc, dialogue.script(values))
        turns = dialogue.turns(values, answers)
        return None if turns is None else turn_request(doc, turns, self._seeded(seed), writer.system(values))

    def whole_dialogue(self, doc: Doc, model_name: str | None = None, seed: int = 0) -> Request:
        """Return the request of the last turn, with `{{ answers[0] }}` and so on as answers. Raises RowError."""
        writer = self.variants.get(model_name or "", self.writer)
        if (dialogue := writer.question.dialogue) is None:
            raise RowError(f"{self.name}: has no doc_to_messages")
        values = writer.question.values(doc.fields)
        return turn_request(doc, dialogue.script(values).turns, self._seeded(seed), writer.system(values))

    @property
    def places_clips(self) -> bool:
        """Return whether the question says by CLIP_MARK where its clips stand."""
        return bool(self.config.doc_to_audio) and CLIP_MARK in self.config.doc_to_text

    def context(self, doc: Doc) -> FilterContext:
        """Return the data of a document that filters may read."""
        layout = self.writer.question.layout
        # options shown without letters have none: "C" is then e.g. a musical note, not the third option
        letters = () if layout == "plain" else letters_of(len(doc.choices), layout)
        free_gold = self.config.gold_is == "any_text"
        return FilterContext(doc.choices, letters, doc.fields, free_gold)

    @property
    def has_gold(self) -> bool:
        """Return whether the split has gold answers; rows of a split without gold answers are sent but not scored."""
        return self.config.gold_is != "absent"

    def score(self, doc: Doc, responses: Sequence[Response], predict_only: bool = False) -> Sample:
        """Score a document's responses. The readings are empty for failed responses, and where nothing is scored."""
        return self.scored(doc, responses, predict_only).sample

    def scored(self, doc: Doc, responses: Sequence[Response], predict_only: bool = False) -> Scored:
        """Score a document's responses as `score` does, and return its scored rows too."""
        with_readings = self.has_gold and not predict_only
        return self.scorer.scored(doc, self.context(doc), responses, with_readings=with_readings)

    def aggregation(self) -> Aggregation:
        """Return an accumulator that takes samples one by one and computes the task's result."""
        return Aggregation(self.scorer, self.context)

    def aggregate(self, samples: Iterable[Sample], docset: DocSet) -> TaskResult:
        """Return the task's result over these samples."""
        docs = {doc.doc_id: doc for doc in docset.docs}
        aggregation = self.aggregation()
        for sample in samples:
            aggregation.add(sample, docs[sample.doc_id])
        return aggregation.result(docset)

    def _seeded(self, seed: int, repeat: int = 0) -> Generation:
        if not self._sampled:
            return self.generation
        first = self.generation.seed if self.generation.seed is not None else seed
        return replace(self.generation, seed=first + repeat)

    @property
    def _sampled(self) -> bool:
        return self.generation.temperature > 0

    def _at(self, key: str) -> str:
        return f"{self.document.where(key)}: {key}"

    def _choices_for_filters(self) -> Choices:
        """Return the options that filters read: the question's, else the column `choices` if a filter needs options.

        lm-eval's multi_choice_regex reads that column even in a task without options.
        """
        choices = self.writer.question.choices
        needed = any(reading.pipeline.needs_choices for reading in self.readings.values())
        if choices.given or not needed:
            return choices
        return Choices("choices", None, False, self._at("filter_list"))

    def _generation(self) -> Generation:
        settings = generation_settings(self.config.generation_kwargs, self._at("generation_kwargs"))
        return Generation(**{"max_new_tokens": DEFAULT_NEW_TOKENS, **settings})

    def _check(self) -> None:
        """Check rules that involve several keys."""
        config = self.config
        if config.repeats > 1 and not self._sampled:
            raise MarathonError(
                f"{self._at('repeats')}: {config.repeats} greedy responses to one request are all the same; "
                "set generation_kwargs: temperature above 0, or repeats: 1"
            )
        check_dialogue(config, self.document)
        self._check_places()
        if config.default_subset is not None and config.default_subset not in config.subsets:
            raise unknown(self._at("default_subset"), "subset", config.default_subset, config.subsets)
        expected = config.expected_sha256 or {}
        hashes = [expected] if isinstance(expected, str) else expected.values()
        if any(len(digits) != 64 for digits in hashes):
            raise MarathonError(f"{self._at('expected_sha256')}: must have 64 hexadecimal digits")
        functions = {step["function"] for spec in config.filter_list for step in spec["filter"]}
        if functions & {"choice", "choice_text"} and not self.writer.question.choices.given:
            raise MarathonError(
                f"{self._at('filter_list')}: the filter 'choice' needs options; add doc_to_choice or choice_columns"
            )
        check_judged_readings(config, self.document, self.readings)
        self._check_headline()
        least, most = config.min_seconds, config.max_seconds
        if least is not None and most is not None and least > most:
            raise MarathonError(f"{self._at('min_seconds')}: {least:g} is above max_seconds: {most:g}")

    def _check_places(self) -> None:
        """Check that either all question templates (including few-shot and per-model ones) contain <audio>, or none."""
        config = self.config
        texts = [("doc_to_text", config.doc_to_text)]
        texts += [
            ("prompt_variants", variant.doc_to_text)
            for variant in config.prompt_variants.values()
            if variant.doc_to_text is not None
        ]
        if config.num_fewshot and config.fewshot_config.doc_to_text is not None:
            texts.append(("fewshot_config", config.fewshot_config.doc_to_text))
        placed = {CLIP_MARK in text for _, text in texts}
        if len(placed) > 1 and config.doc_to_audio:
            key = next(key for key, text in texts if (CLIP_MARK in text) != (CLIP_MARK in config.doc_to_text))
            raise MarathonError(
                f"{self._at(key)}: {CLIP_MARK} must stand in all forms of the question, or in none"
            )
        if config.num_fewshot and config.doc_to_audio and placed == {False}:
            raise MarathonError(
                f"{self._at('num_fewshot')}: examples with audio need {CLIP_MARK} in doc_to_text, where each clip stands"
            )

    def _check_headline(self) -> None:
        headline = self.config.headline
        if headline is None:
            return
        if headline.reading not in self.readings:
            raise self._unknown_in_headline("reading", headline.reading, self.readings, "filter_list")
        metrics = [metric.name for metric in self.readings[headline.reading].metrics]
        if headline.metric not in metrics:
            kind = f"metric of '{headline.reading}'"
            raise self._unknown_in_headline(kind, headline.metric, metrics, "metric_list")

    def _unknown_in_headline(
        self, kind: str, name: str, known: Iterable[str], defined_by: str
    ) -> MarathonError:
        return unknown_in(self.document, ("headline",), self._at("headline"), kind, name, known, defined_by)


def _names(columns: str | list[str] | None) -> list[str]:
    return [columns] if isinstance(columns, str) else columns or []
