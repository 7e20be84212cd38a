"""Collects the files of a run's archive, and verifies an archive by scoring it again.

An archive holds results.json, the samples, the tasks' YAMLs (as written, and merged with their includes), the
documents, and the run's cache entries. Verifying needs no dataset, audio, model or network: it recomputes scores,
counts, prompts and answers and compares them exactly.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.model import Entry, Response, Usage
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import Sample
from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cache.entries import fingerprints, opened_read_only, stored
from marathon_eval.cache.entry import FINGERPRINT, RESPONSE, belongs, storable
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import in_orders, load_tasks
from marathon_eval.evaluator.requests import cache_folder, docs_of
from marathon_eval.evaluator.rescore.archive import read_archive
from marathon_eval.evaluator.rescore.stored_config import stored_config
from marathon_eval.files import canonical_json, sha256_of
from marathon_eval.results.files import newest_run, read_results, read_samples
from marathon_eval.results.shape import fault_of_results, parsed_sample, whole_number
from marathon_eval.scoring.intervals import OF_NO_ANSWER
from marathon_eval.task.task import Group, Task, load_task
from marathon_eval.task.yaml.loader import files_of, load_document

#: Fields of a document that docs/<task>.jsonl stores.
_DOC = ("doc_id", "fields", "error", "choices", "target", "audio_names", "examples")


class Verified(NamedTuple):
    """Holds the numbers of samples and cached responses that were compared, and one line for each difference."""

    n_samples: int
    n_answers: int
    differences: list[str]


def archive_files(run: Path, typed: Mapping[str, Any]) -> tuple[dict[str, bytes], str | None]:
    """Return the archive's files, by name, for a finished run, and a line about what its config asks for.

    `typed` holds the user's data_dir, include_path and use_cache; the run's own are not used. Raises MarathonError.
    """
    folder = newest_run(run)
    results = read_results(folder)
    _refuse_predictions(results)
    config, unused = stored_config(
        results["config"], typed, folder / "results.json", ("data_dir", "include_path", "use_cache")
    )
    _refuse_judged(results, folder)
    registry = Registry(config.include_path)
    tasks, groups = load_tasks(registry, config.tasks, config.num_fewshot)
    _refuse_dialogues(tasks)
    expanded = in_orders(tasks, config)
    files = {"results.json": (folder / "results.json").read_bytes()}
    sources: dict[Path, None] = {}
    for name, item in {**tasks, **groups}.items():
        path = item.path if isinstance(item, Task) else registry.task_path(name)
        sources.update(dict.fromkeys(files_of(path, registry.task_path)))
        values = load_document(path, registry.task_path).values
        files[f"tasks/{name}.yaml"] = yaml.safe_dump(values, allow_unicode=False, sort_keys=False).encode()
    for number, path in enumerate(sources):
        files[f"sources/{number:02}_{path.name.lstrip('_')}"] = path.read_bytes()
    samples: list[Mapping[str, Any]] = []
    for name, task in expanded.items():
        rows = list(read_samples(folder, name))
        samples += rows
        files[f"samples_{name}.jsonl"] = (folder / f"samples_{name}.jsonl").read_bytes()
        files[f"docs/{name}.jsonl"] = _lines(map(_doc_row, docs_of(task, config).docs))
    cache = cache_folder(config)
    rows = _cache_rows(cache / FILE_NAME, results["fingerprint_sha256"], samples) if cache else []
    files["cache.jsonl"] = _lines(rows)
    return files, unused


def verify_archive(archive: Path) -> Verified:
    """Score an archive's responses again and compare. Raises MarathonError for an archive that cannot be read."""
    files = read_archive(archive)
    try:
        return _verified(files, archive)
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        raise MarathonError(
            f"{archive}: is not as `pack` writes it ({type(error).__name__}: {error})"
        ) from None


def _verified(files: Mapping[str, bytes], archive: Path) -> Verified:
    results = _results(files["results.json"], archive)
    _refuse_predictions(results)
    # the archive brings its tasks and documents, so that no folder is needed
    config, _ = stored_config({**results["config"], "tasks": ["-"]}, {}, archive, ())
    _refuse_judged(results, archive)
    loaded = _tasks(files, archive)
    tasks = in_orders({name: item for name, item in loaded.items() if isinstance(item, Task)}, config)
    cached_texts = _texts_by_request(files["cache.jsonl"])
    differences: list[str] = []
    task_results = {}
    n_samples = 0
    for name, task in tasks.items():
        docset = _docset(files[f"docs/{name}.jsonl"], results["manifests"][name])
        rows = {row["doc_id"]: row for row in map(parsed_sample, files[f"samples_{name}.jsonl"].splitlines())}
        samples = [_rescored(task, doc, rows[doc.doc_id], config) for doc in docset.docs]
        n_samples += len(samples)
        for doc, sample in zip(docset.docs, samples, strict=True):
            row = rows[doc.doc_id]
            differences += [
                f"{name} row {doc.doc_id}: {what} differs"
                for what in _row_faults(task, doc, row, sample, results)
            ]
            request = _request_of_sample(row)
            if not _in_windows(row) and request in cached_texts and not _texts(row) <= cached_texts[request]:
                differences.append(f"{name} row {doc.doc_id}: the cache holds another answer")
        if docset.manifest_sha256 != results["manifests"][name]["manifest_sha256"]:
            differences.append(f"{name}: the documents are not those that were asked")
        task_results[name] = task.aggregate(samples, docset)
        differences += _changed(name, task_results[name].summary(), results["tasks"][name])
    for name, item in loaded.items():
        if isinstance(item, Group):
            differences += _changed(
                name, _numbers(item.aggregate(task_results)), _numbers(results["groups"][name])
            )
    n_answers = sum(row["key"].startswith(RESPONSE) for row in _rows(files["cache.jsonl"]))
    return Verified(n_samples, n_answers, differences)


def _results(content: bytes, archive: Path) -> Mapping[str, Any]:
    """Return an archive's results.json, whose values have the types that a run writes. Raises MarathonError."""
    results = json.loads(content, parse_int=whole_number)
    fault = fault_of_results(results)
    if fault is not None:
        raise MarathonError(f"{archive}: results.json: {fault}: is missing or has the wrong type")
    checked: Mapping[str, Any] = results
    return checked


def _refuse_predictions(results: Mapping[str, Any]) -> None:
    if not {"model", "tasks"} <= set(results["config"]):
        raise MarathonError("pack: only a run's results can be packed, not scores of a predictions file")


def _refuse_dialogues(tasks: Mapping[str, Task]) -> None:
    if turned := [name for name, task in tasks.items() if task.has_turns]:
        raise MarathonError(f"pack: {turned[0]} has doc_to_messages; runs of dialogues cannot be packed")


def _refuse_judged(results: Mapping[str, Any], where: Path) -> None:
    judged = [name for name, manifest in results["manifests"].items() if "judge" in manifest]
    if judged:
        raise MarathonError(
            f"{where}: {judged[0]} was judged by a model; its replies are not packed, so that its scores cannot be verified"
        )


def _tasks(files: Mapping[str, bytes], archive: Path) -> dict[str, Task | Group]:
    """Load the archive's tasks and groups. Refuses `trust_remote_code`, because an archive is untrusted."""
    loaded: dict[str, Task | Group] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            kind, _, file = name.partition("/")
            if kind != "tasks":
                continue
            if "trust_remote_code" in content.decode():
                raise MarathonError(
                    f"{archive}: {name} asks for trust_remote_code; code of an archive is never run"
                )
            path = Path(folder) / Path(file).name
            path.write_bytes(content)
            loaded[path.stem] = load_task(path, lambda included: _no_include(included, archive))
    return loaded


def _no_include(name: str, archive: Path) -> Path:
    raise MarathonError(f"{archive}: a task includes {name}; `pack` writes tasks without includes")


def _doc_row(doc: Doc) -> dict[str, Any]:
    return {key: getattr(doc, key) for key in _DOC}


def _docset(content: bytes, manifest: Mapping[str, Any]) -> DocSet:
    docs = []
    for row in _rows(content):
        target = tuple(row["target"]) if isinstance(row["target"], list) else row["target"]
        lists = {key: tuple(row[key]) for key in ("choices", "audio_names", "examples")}
        docs.append(Doc(row["doc_id"], row["fields"], (), row["error"], target=target, **lists))
    counts = {key: manifest[key] for key in ("n_meta", "n_missing", "n_filtered", "source", "subset")}
    return DocSet(docs, **counts)


def _rescored(task: Task, doc: Doc, row: Mapping[str, Any], config: RunConfig) -> Sample:
    """Score the stored texts of a sample again; the measured usage is copied."""
    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    usage = Usage()
    responses = [
        Response(text or "", status=row["status"], error=row["error"], usage=usage) for text in texts
    ]
    sample = task.score(doc, responses, predict_only=config.predict_only)
    return Sample(**{**vars(sample), "usage": row["usage"]})


def _row_faults(
    task: Task, doc: Doc, row: Mapping[str, Any], sample: Sample, results: Mapping[str, Any]
) -> Iterator[str]:
    new = asdict(sample)
    yield from (
        key
        for key in ("readings", "status", "error", "target", "fields")
        if canonical_json(new[key]) != canonical_json(row[key])
    )
    if row["prompt_sha256"] is not None:
        request = task.requests(doc, results["model"], seed=results["config"]["seed"])[0]
        if sha256_of([request.system, request.prompt]) != row["prompt_sha256"]:
            yield "the prompt"


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's entry without the words that archives of earlier versions lack: what it averages, or why it does not."""
    kept = {key: value for key, value in group.items() if key not in ("averaged", "unlike")}
    return {**kept, "groups": {name: _numbers(inner) for name, inner in (group.get("groups") or {}).items()}}


def _changed(name: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    # an archive of an earlier version lacks the counts that were added since; they are no difference where they are zero,
    # nor are the accuracy of guessing and the filters, which were not recorded
    keys = [
        key
        for key in {**new, **old}
        if (key in old or (new[key] and key not in ("chance_level", "filters")))
        and canonical_json(new.get(key)) != canonical_json(_without_intervals(old.get(key), new.get(key)))
    ]
    return [
        f"{name}: {key} was {canonical_json(old.get(key))[:80]}, is {canonical_json(new.get(key))[:80]}"
        for key in keys
    ]


def _without_intervals(old: Any, new: Any) -> Any:
    """Return a reading of an earlier version, which gave baselines such as `chance` an interval, as it is recorded now."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return old
    baselines = {
        name
        for name, value in new.items()
        if isinstance(value, Mapping) and value.get("no_interval") == OF_NO_ANSWER
    }
    return {
        name: {**value, "ci95": None, "no_interval": OF_NO_ANSWER}
        if name in baselines and isinstance(value, Mapping)
        else value
        for name, value in old.items()
    }


# -- the cache's rows ----------------------------------------------------------------------------------------------

#: Identifies a request: the hash of its prompt, and those of its audio.
_RequestId = tuple[str | None, tuple[str | None, ...]]


def _request_of_sample(row: Mapping[str, Any]) -> _RequestId:
    return row["prompt_sha256"], tuple(clip["sha256"] for clip in row["audio"])


def _in_windows(row: Mapping[str, Any]) -> bool:
    """Return whether a row was asked window by window: its response is none to a request about the whole clip."""
    return "windows" in ((row.get("usage") or {}).get("details") or {})


def _texts(row: Mapping[str, Any]) -> set[str]:
    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    return {text or "" for text in texts} if row["status"] in ("ok", "unverified") else set()


def _request_of_entry(value: Mapping[str, Any]) -> _RequestId:
    request = value["request"]
    return sha256_of([request["system"], request["prompt"]]), tuple(request["audio"])


def _cache_rows(path: Path, fingerprint: str, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cache entries of the model's fingerprint and of this run's responses, as `cache export` does."""
    if not path.is_file():
        return []
    requests = {_request_of_sample(row) for row in samples if not _in_windows(row)}
    with opened_read_only(path) as connection:
        model_fingerprints = fingerprints(connection)
        rows = [
            entry._asdict()
            for entry in stored(connection, RESPONSE)
            if entry.value["fingerprint"] == fingerprint and _request_of_entry(entry.value) in requests
        ]
    if fingerprint not in model_fingerprints:
        return rows
    return [Entry(FINGERPRINT + fingerprint, model_fingerprints[fingerprint])._asdict(), *rows]


def _texts_by_request(content: bytes) -> dict[_RequestId, set[str]]:
    """Return the cached texts by request. Raises MarathonError for an entry whose key does not match its content."""
    texts: dict[_RequestId, set[str]] = {}
    for row in _rows(content):
        entry = Entry(**row)
        if not belongs(entry):
            raise MarathonError(
                f"cache.jsonl: {entry.key[:40]}: the key is not the hash of the entry's content"
            )
        if entry.key.startswith(RESPONSE):
            texts.setdefault(_request_of_entry(entry.value), set()).add(entry.value["response"]["text"])
    return texts


def _lines(rows: Any) -> bytes:
    return "".join(f"{storable(row)}\n" for row in rows).encode()


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
