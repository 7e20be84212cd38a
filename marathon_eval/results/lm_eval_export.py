"""A run in the files of lm-evaluation-harness 0.4.13, for tools that read those: `--export lm_eval`.

`results_<time>.json` and `samples_<task>_<time>.jsonl` (one row per document and reading, as there per filter):
https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/loggers/evaluation_tracker.py. A standard error is
the width of our bootstrap's interval over clips divided by 2 x 1.96. A row has no prompt, as ours has none: its hash is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marathon_eval.api.results import MetricValue, RunResult, Sample, TaskResult
from marathon_eval.files import json_line, sha256_of, write_atomically

#: Standard errors in a 95 % interval.
WIDTH = 2 * 1.96


def write(result: RunResult, folder: Path) -> Path:
    """Both kinds of files below `folder`; the path of the results. Raises MarathonError."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = result.started.replace(":", "-").rstrip("Z")
    for task, samples in result.samples.items():
        rows = (json_line(row) for sample in samples for row in sample_rows(sample))
        write_atomically(folder / f"samples_{task}_{stamp}.jsonl", rows)
    path = folder / f"results_{stamp}.json"
    write_atomically(path, [json.dumps(results(result), indent=2), "\n"])
    return path


def results(result: RunResult) -> dict[str, Any]:
    """The content of results_<time>.json: the keys that lm-eval writes and that a run here can answer."""
    config = result.config
    return {
        "results": {name: scores(task) for name, task in result.tasks.items()},
        "group_subtasks": {name: list(group.get("tasks", ())) for name, group in result.groups.items()},
        "configs": {name: task_config(task) for name, task in result.tasks.items()},
        "versions": {name: task.version for name, task in result.tasks.items()},
        "n-shot": dict.fromkeys(result.tasks, 0),
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
    """`<metric>,<reading>` and its standard error, which is "N/A" where there is no interval."""
    found: dict[str, Any] = {"name": task.task, "alias": task.task, "sample_len": task.n_loaded}
    for reading, metrics in task.readings.items():
        for metric, value in metrics.items():
            found[f"{metric},{reading}"] = value.value
            found[f"{metric}_stderr,{reading}"] = standard_error(value)
    return found


def standard_error(value: MetricValue) -> float | str:
    return "N/A" if value.ci95 is None else (value.ci95[1] - value.ci95[0]) / WIDTH


def task_config(task: TaskResult) -> dict[str, Any]:
    """What of a task's YAML a result keeps."""
    metrics = [
        {**entry, "filter_list": reading}
        for reading, named in task.metrics.items()
        for entry in named.values()
    ]
    return {"task": task.task, "metric_list": metrics, "metadata": {"version": task.version}}


def directions(task: TaskResult) -> dict[str, bool]:
    """Whether more is better, by metric, as its entry in the YAML builds it."""
    from marathon_eval.scoring.metrics.build import build_metric

    built = {
        name: build_metric({key: value for key, value in entry.items() if key != "filter_list"}, task.task)
        for named in task.metrics.values()
        for name, entry in named.items()
    }
    return {name: metric.higher_is_better for name, metric in built.items()}


def sample_rows(sample: Sample) -> Iterator[dict[str, Any]]:
    """One row per reading; a failed answer has no reading and so no row, as nothing was scored."""
    texts = sample.response if isinstance(sample.response, list) else [sample.response]
    doc = {"doc_id": sample.doc_id, **sample.fields, "choices": sample.choices, "audio": sample.audio}
    for name, reading in sample.readings.items():
        yield {
            "doc_id": sample.doc_id,
            "doc": doc,
            "target": sample.target,
            "arguments": {},
            "resps": [texts],
            "filtered_resps": [reading.answer],
            "filter": name,
            "metrics": list(reading.scores),
            "doc_hash": sha256_of(doc),
            "prompt_hash": sample.prompt_sha256,
            "target_hash": hashlib.sha256(str(sample.target).encode(errors="surrogatepass")).hexdigest(),
            **reading.scores,
        }
