"""Writes a run in the file format of lm-evaluation-harness 0.4.13, for tools that read it: `--export lm_eval`.

The files are `results_<time>.json` and `samples_<task>_<time>.jsonl`, with one row per document and reading (lm-eval:
per document and filter), see
https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/loggers/evaluation_tracker.py.
A standard error is the width of the 95 % interval by clip divided by 2 x 1.96. A row's `arguments` hold its prompt and generation
arguments where the caller has them, since a run's samples contain the prompt's hash alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marathon_eval.api.results import MetricValue, RunResult, Sample, TaskResult
from marathon_eval.files import json_line, sha256_of, write_atomically
from marathon_eval.results.directions import directions

#: Width of a 95 % interval in standard errors.
WIDTH = 2 * 1.96
#: Prompts with their generation arguments, as lm-eval lists the arguments of a request, by prompt_sha256.
PromptArguments = Mapping[str, tuple[str, Mapping[str, Any]]]
_NO_ARGUMENTS: PromptArguments = MappingProxyType({})


def write(result: RunResult, folder: Path, arguments: PromptArguments = _NO_ARGUMENTS) -> Path:
    """Write both kinds of files to `folder` and return the path of the results. Raises MarathonError.

    `arguments` are the prompts of the samples; a sample without one has empty `arguments`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = result.started.replace(":", "-").rstrip("Z")
    for task, samples in result.samples.items():
        rows = (json_line(row) for sample in samples for row in sample_rows(sample, arguments))
        write_atomically(folder / f"samples_{task}_{stamp}.jsonl", rows)
    path = folder / f"results_{stamp}.json"
    write_atomically(path, [json.dumps(results(result), indent=2), "\n"])
    return path


def results(result: RunResult) -> dict[str, Any]:
    """Return the content of results_<time>.json: those of lm-eval's keys for which a run has values."""
    config = result.config
    return {
        "results": {name: scores(task) for name, task in result.tasks.items()},
        "group_subtasks": {name: list(group.get("tasks", ())) for name, group in result.groups.items()},
        "configs": {name: task_config(task) for name, task in result.tasks.items()},
        "versions": {name: task.version for name, task in result.tasks.items()},
        "n-shot": dict.fromkeys(result.tasks, config.get("num_fewshot") or 0),
        "higher_is_better": {name: directions(task) for name, task in result.tasks.items()},
        "n-samples": {
            name: {"original": task.n_meta, "effective": task.n_loaded} for name, task in result.tasks.items()
        },
        "config": {
            **{key: config.get(key) for key in ("model", "model_args", "limit", "gen_kwargs", "use_cache")},
            "random_seed": config.get("seed"),
        },
        "git_hash": result.versions.get("git_commit"),
        "date": result.started,
        "transformers_version": result.versions.get("transformers"),
        "lm_eval_version": None,
        "model_source": result.model,
        "model_name": result.model,
        "model_name_sanitized": f"{result.model}__{result.fingerprint_sha256[:8]}",
        "total_evaluation_time_seconds": str(result.wall_s),
    }


def scores(task: TaskResult) -> dict[str, Any]:
    """Return `<metric>,<reading>` and its standard error, which is "N/A" without an interval."""
    entry: dict[str, Any] = {"name": task.task, "alias": task.task, "sample_len": task.n_loaded}
    for reading, metrics in task.readings.items():
        for metric, value in metrics.items():
            entry[f"{metric},{reading}"] = value.value
            entry[f"{metric}_stderr,{reading}"] = standard_error(value)
    return entry


def standard_error(value: MetricValue) -> float | str:
    """Return the standard error that belongs to the interval, or "N/A" without one."""
    return "N/A" if value.ci95 is None else (value.ci95[1] - value.ci95[0]) / WIDTH


def task_config(task: TaskResult) -> dict[str, Any]:
    """Return the parts of a task's YAML that the results contain."""
    metrics = [
        {**entry, "filter_list": reading}
        for reading, named in task.metrics.items()
        for entry in named.values()
    ]
    return {"task": task.task, "metric_list": metrics, "metadata": {"version": task.version}}


def sample_rows(sample: Sample, arguments: PromptArguments = _NO_ARGUMENTS) -> Iterator[dict[str, Any]]:
    """Yield one row per reading; a failed response has no readings and so no rows."""
    texts = sample.response if isinstance(sample.response, list) else [sample.response]
    doc = {"doc_id": sample.doc_id, **sample.fields, "choices": sample.choices, "audio": sample.audio}
    asked = arguments.get(sample.prompt_sha256 or "")
    listed = {} if asked is None else {"gen_args_0": {"arg_0": asked[0], "arg_1": dict(asked[1])}}
    for name, reading in sample.readings.items():
        yield {
            "doc_id": sample.doc_id,
            "doc": doc,
            "target": sample.target,
            "arguments": listed,
            "resps": [texts],
            "filtered_resps": [reading.answer],
            "filter": name,
            "metrics": list(reading.scores),
            "doc_hash": sha256_of(doc),
            "prompt_hash": sample.prompt_sha256,
            "target_hash": hashlib.sha256(str(sample.target).encode(errors="surrogatepass")).hexdigest(),
            **reading.scores,
        }
