"""Writes result folders of invented runs, by the real dataclasses, for the report's tests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from marathon_eval.api.results import MetricValue, ReadingScore, RunResult, Sample, TaskResult
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.files import sha256_of
from marathon_eval.results.files import write_run
from marathon_eval.results.label import condition_of, folder_name, selection_of
from marathon_eval.scoring.usage import answer_seconds

LETTERS = "ABCD"
HEADLINE: dict[str, Any] = {"reading": "strict", "metric": "accuracy", "scale": 100.0}
TEXT = "the river ran past an old mill where nobody had lived for years and children said it was haunted"
WORDS = TEXT.split()


@dataclass(frozen=True)
class Made:
    """Describes an invented run; `skill` is the chance of a right answer."""

    model: str = "qwen_omni"
    press: str | None = None
    ratio: float = 0.0
    skill: float = 0.7
    rows: Mapping[str, int] = field(default_factory=lambda: {"gtzan": 12, "race": 20})
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    audio_root: str = "audio"
    #: Fields of RunConfig that differ from their defaults.
    flags: Mapping[str, Any] = field(default_factory=dict)
    #: Which wording of the prompts the run used.
    prompts: str = "as shipped"
    #: Tasks answered by a transcript, graded by word error rate.
    transcribed: Sequence[str] = ("librispeech",)

    @property
    def fingerprint(self) -> dict[str, Any]:
        press = {"press": self.press, "version": 1, "ratio": self.ratio, "seed": 0} if self.press else None
        return {"model": self.model, "adapter_version": 1, **self.settings, "press": press}


def write(made: Made, folder: Path, started: str = "2026-11-21T05:00:00Z") -> Path:
    """Write the run below `folder` as the command line does, and return its own folder."""
    run = fabricate(made, started)
    name = folder_name(run.model, run.fingerprint, run.fingerprint_sha256, run.condition, run.selection)
    path = folder / name / started.replace(":", "-")
    path.mkdir(parents=True)
    write_run(run, path)
    return path


def write_sweep(folder: Path) -> Path:
    """Write one model without a press, and two presses at three ratios, on three tasks."""
    rows = {"gtzan": 30, "race": 60, "librispeech": 5}
    write(Made(rows=rows), folder)
    for press, loss in (("dart", 0.2), ("random", 0.6)):
        for ratio in (0.1, 0.5, 0.9):
            write(Made(press=press, ratio=ratio, skill=0.7 - loss * ratio, rows=rows), folder)
    return folder


def write_released_size(folder: Path, rows: Mapping[str, int]) -> Path:
    """Write 37 cells: the uncompressed model, and four presses at nine ratios."""
    write(Made(rows=rows), folder)
    for press in ("dart", "fastv", "random", "frame"):
        for tenth in range(1, 10):
            write(Made(press=press, ratio=tenth / 10, skill=0.7 - tenth / 30, rows=rows), folder)
    return folder


def fabricate(made: Made, started: str = "2026-11-21T05:00:00Z") -> RunResult:
    samples = {task: list(_samples(made, task, n)) for task, n in made.rows.items()}
    config = RunConfig(made.model, tuple(made.rows), **made.flags).recorded()
    manifests = {task: manifest(task, len(rows), made) for task, rows in samples.items()}
    return RunResult(
        model=made.model,
        fingerprint=made.fingerprint,
        fingerprint_sha256=sha256_of(made.fingerprint),
        tasks={task: task_result(task, rows) for task, rows in samples.items()},
        groups={},
        samples=samples,
        config=config,
        versions={"marathon_eval": "0.1.0"},
        manifests=manifests,
        cache={"hits": 0, "misses": sum(made.rows.values())},
        wall_s=12.5,
        started=started,
        condition=condition_of(config),
        selection=selection_of(config, manifests),
    )


def manifest(task: str, n: int, made: Made) -> dict[str, Any]:
    """Return what a run records of a task's rows, all of which it asked."""
    return {
        "subset": None,
        "n_meta": n,
        "n_loaded": n,
        "n_missing": 0,
        "n_filtered": 0,
        "manifest_sha256": sha256_of([task, n]),
        "prompts_sha256": sha256_of([task, n, made.prompts]),
        "generation": {"max_new_tokens": 16},
    }


def task_result(task: str, rows: list[Sample]) -> TaskResult:
    scored = [row for row in rows if row.status == "ok"]
    headline = HEADLINE
    if scored and "wer" in scored[0].readings["strict"].scores:
        headline = {"reading": "strict", "metric": "wer_accuracy", "scale": 100.0}
    values = [row.readings["strict"].scores[headline["metric"]] or 0.0 for row in scored]
    mean = sum(values) / len(values) if values else None
    interval = None if mean is None else (max(0.0, mean - 0.05), min(1.0, mean + 0.05))
    metric = {headline["metric"]: MetricValue(mean, interval)}
    return TaskResult(
        task=task,
        readings={"strict": metric, "paper": {name: MetricValue(mean) for name in metric}},
        n_meta=len(rows),
        n_loaded=len(rows),
        n_missing=0,
        n_filtered=0,
        n_scored=len(scored),
        n_unanswered={
            "strict": sum(row.readings["strict"].answer is None for row in scored),
            "paper": 0,
        },
        n_errors=len(rows) - len(scored),
        headline=headline,
        breakdown={"source": {}},
        metrics={"strict": {"accuracy": {"metric": "accuracy"}}} if "accuracy" in metric else {},
        version=1,
        answer_s=sum(answer_seconds(row) or 0.0 for row in rows),
    )


def _samples(made: Made, task: str, n: int) -> Iterator[Sample]:
    # the documents are the same for every run; only the answers are a run's own
    documents = random.Random(f"{task} documents")
    answers = random.Random(f"{task} {made.fingerprint} {made.seed}")
    for doc_id in range(n):
        seconds = round(documents.uniform(90, 300), 2)
        make = _transcript if task in made.transcribed else _choice
        yield replace(
            make(made, task, doc_id, documents, answers),
            usage=_usage(made, seconds, answers),
            audio=[
                {
                    "path": f"{made.audio_root}/{task}/{doc_id:05}.wav",
                    "start": 0.0,
                    "stop": None,
                    "seconds": seconds,
                    "sha256": sha256_of([task, doc_id]),
                }
            ],
        )


def _choice(made: Made, task: str, doc_id: int, documents: random.Random, answers: random.Random) -> Sample:
    target = documents.choice(LETTERS)
    fate = answers.random()
    letter = target if fate < made.skill else answers.choice(LETTERS.replace(target, ""))
    if fate > 0.98:
        return _blank(task, doc_id, target, status="error", error="the model ran out of memory")
    if fate > 0.95:
        read = {name: ReadingScore(None, "nothing found", {"accuracy": 0.0}) for name in ("strict", "paper")}
        return _blank(task, doc_id, target, response="I cannot tell from this recording.", readings=read)
    score: dict[str, float | None] = {"accuracy": float(letter == target)}
    read = {
        "strict": ReadingScore(letter, "answer_is", score),
        "paper": ReadingScore(letter, "first_letter", score),
    }
    response = answers.choice(["{}", "The answer is {}.", "({})", "{}. It sounds like it."]).format(letter)
    return _blank(task, doc_id, target, response=response, readings=read)


def _transcript(
    made: Made, task: str, doc_id: int, documents: random.Random, answers: random.Random
) -> Sample:
    words = [documents.choice(WORDS) for _ in range(380)]
    heard = [word if answers.random() < made.skill else answers.choice(WORDS) for word in words]
    wer = sum(a != b for a, b in zip(words, heard, strict=True)) / len(words)
    text = " ".join(heard)
    read = {
        name: ReadingScore(text, "transcript", {"wer_accuracy": 1 - wer, "wer": wer})
        for name in ("strict", "paper")
    }
    return _blank(task, doc_id, " ".join(words), response=text, readings=read)


def _blank(task: str, doc_id: int, target: str, **given: Any) -> Sample:
    filled: dict[str, Any] = {
        "response": None,
        "status": "ok",
        "error": None,
        "readings": {},
        "usage": {},
        "cached": False,
        "prompt_sha256": sha256_of([None, f"prompt of {task}"]),
        "audio": [],
        "fields": {"source": "real" if doc_id % 3 else "synthetic"},
    }
    return Sample(task=task, doc_id=doc_id, target=target, **{**filled, **given})


def _usage(made: Made, seconds: float, answers: random.Random) -> dict[str, Any]:
    tokens = int(seconds * 25)
    kept = max(1, int(tokens * (1 - made.ratio)))
    slow = answers.uniform(0.9, 1.3)
    return {
        "heard_seconds": seconds,
        "audio_tokens": tokens,
        "kept_tokens": kept,
        "input_tokens": kept + 60,
        "output_tokens": 3,
        "encode_s": 0.001 * seconds * slow,
        "prefill_s": (0.1 + 0.00012 * kept) * slow,
        "decode_s": 0.04 * slow,
        "peak_bytes": 2_000_000_000 + kept * 10_000,
        "kv_bytes": kept * 7168,
        "details": {},
    }
