"""What a run's archive holds, and scoring it again from that alone: no dataset, no audio, no model, no network.

results.json, samples, the tasks' YAMLs (as written, and merged with their includes), the documents that were asked,
and the cache's rows. Scores, counts, prompts and answers are computed anew and compared bit for bit.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
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
from marathon_eval.files import canonical_json, sha256_of
from marathon_eval.results.files import newest_run, read_results, read_samples
from marathon_eval.task.task import Group, Task, load_task
from marathon_eval.task.yaml.loader import files_of, load_document

_DOC = ("doc_id", "fields", "error", "choices", "target", "audio_names", "examples")


class Verified(NamedTuple):
    """What was found the same, and every difference in one line."""

    n_samples: int
    n_answers: int
    differences: list[str]


def archive_files(run: Path) -> dict[str, bytes]:
    """The archive's files for a finished run. Raises MarathonError."""
    folder = newest_run(run)
    results = read_results(folder)
    config = _config(results)
    _refuse_judged(results, folder)
    registry = Registry(config.include_path)
    tasks, groups = load_tasks(registry, config.tasks)
    expanded = in_orders(tasks, config)
    files = {"results.json": (folder / "results.json").read_bytes()}
    sources: dict[Path, None] = {}
    for name, one in {**tasks, **groups}.items():
        path = one.path if isinstance(one, Task) else registry.task_path(name)
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
        files[f"docs/{name}.jsonl"] = _lines(map(_written, docs_of(task, config).docs))
    cache = cache_folder(config)
    rows = _cache_rows(cache / FILE_NAME, results["fingerprint_sha256"], samples) if cache else []
    files["cache.jsonl"] = _lines(rows)
    return files


def verify_archive(archive: Path) -> Verified:
    """Score an archive's answers again and compare. Raises MarathonError for an archive that cannot be read."""
    files = read_archive(archive)
    try:
        return _verified(files, archive)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise MarathonError(
            f"{archive}: is not as `pack` writes it ({type(error).__name__}: {error})"
        ) from None


def _verified(files: Mapping[str, bytes], archive: Path) -> Verified:
    results = json.loads(files["results.json"])
    config = _config(results)
    _refuse_judged(results, archive)
    loaded = _tasks(files, archive)
    tasks = in_orders({name: one for name, one in loaded.items() if isinstance(one, Task)}, config)
    answers = _answers(files["cache.jsonl"])
    differences: list[str] = []
    found = {}
    count = 0
    for name, task in tasks.items():
        docset = _docset(files[f"docs/{name}.jsonl"], results["manifests"][name])
        rows = {row["doc_id"]: row for row in _rows(files[f"samples_{name}.jsonl"])}
        samples = [_again(task, doc, rows[doc.doc_id], config) for doc in docset.docs]
        count += len(samples)
        for doc, sample in zip(docset.docs, samples, strict=True):
            row = rows[doc.doc_id]
            differences += [
                f"{name} row {doc.doc_id}: {what} differs"
                for what in _row_faults(task, doc, row, sample, results)
            ]
            if _place(row) in answers and not _texts(row) <= answers[_place(row)]:
                differences.append(f"{name} row {doc.doc_id}: the cache holds another answer")
        if docset.manifest_sha256 != results["manifests"][name]["manifest_sha256"]:
            differences.append(f"{name}: the documents are not those that were asked")
        found[name] = task.aggregate(samples, docset)
        differences += _changed(name, found[name].summary(), results["tasks"][name])
    for name, one in loaded.items():
        if isinstance(one, Group):
            differences += _changed(name, one.aggregate(found), results["groups"][name])
    return Verified(
        count, sum(row["key"].startswith(RESPONSE) for row in _rows(files["cache.jsonl"])), differences
    )


def _config(results: Mapping[str, Any]) -> RunConfig:
    known = {field.name for field in fields(RunConfig)}
    kept = {key: value for key, value in results["config"].items() if key in known}
    if not {"model", "tasks"} <= set(kept):
        raise MarathonError("pack: only a run's results can be packed, not scores of a predictions file")
    return RunConfig(**{**kept, "tasks": tuple(kept["tasks"]), "include_path": tuple(kept["include_path"])})


def _refuse_judged(results: Mapping[str, Any], where: Path) -> None:
    judged = [name for name, manifest in results["manifests"].items() if "judge" in manifest]
    if judged:
        raise MarathonError(
            f"{where}: {judged[0]} was judged by a model; its replies are not packed, so that its scores cannot be verified"
        )


def _tasks(files: Mapping[str, bytes], archive: Path) -> dict[str, Task | Group]:
    """Tasks and groups of the archive. One that would run code of the hub is refused: the archive is a stranger's."""
    found: dict[str, Task | Group] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            kind, _, file = name.partition("/")
            if kind != "tasks":
                continue
            if "trust_remote_code" in content.decode():
                raise MarathonError(
                    f"{archive}: {name} asks for trust_remote_code; nothing of an archive is run"
                )
            path = Path(folder) / Path(file).name
            path.write_bytes(content)
            found[path.stem] = load_task(path, lambda included: _no_include(included, archive))
    return found


def _no_include(name: str, archive: Path) -> Path:
    raise MarathonError(f"{archive}: a task includes {name}; `pack` writes tasks without includes")


def _written(doc: Doc) -> dict[str, Any]:
    return {key: getattr(doc, key) for key in _DOC}


def _docset(content: bytes, manifest: Mapping[str, Any]) -> DocSet:
    docs = []
    for row in _rows(content):
        target = tuple(row["target"]) if isinstance(row["target"], list) else row["target"]
        lists = {key: tuple(row[key]) for key in ("choices", "audio_names", "examples")}
        docs.append(Doc(row["doc_id"], row["fields"], (), row["error"], target=target, **lists))
    counts = {key: manifest[key] for key in ("n_meta", "n_missing", "n_filtered", "source", "subset")}
    return DocSet(docs, **counts)


def _again(task: Task, doc: Doc, row: Mapping[str, Any], config: RunConfig) -> Sample:
    """The sample, scored anew from the stored texts; what was measured is taken as it stands."""
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


def _changed(name: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    keys = [key for key in {**new, **old} if canonical_json(new.get(key)) != canonical_json(old.get(key))]
    return [
        f"{name}: {key} was {canonical_json(old.get(key))[:80]}, is {canonical_json(new.get(key))[:80]}"
        for key in keys
    ]


# -- the cache's rows ----------------------------------------------------------------------------------------------

_Place = tuple[str | None, tuple[str | None, ...]]


def _place(row: Mapping[str, Any]) -> _Place:
    """What a sample was asked: its prompt's hash, and its sounds'."""
    return row["prompt_sha256"], tuple(one["sha256"] for one in row["audio"])


def _texts(row: Mapping[str, Any]) -> set[str]:
    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    return {text or "" for text in texts} if row["status"] in ("ok", "unverified") else set()


def _asked(value: Mapping[str, Any]) -> _Place:
    request = value["request"]
    return sha256_of([request["system"], request["prompt"]]), tuple(request["audio"])


def _cache_rows(path: Path, fingerprint: str, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """This run's answers as `cache export` writes them, and the model's fingerprint."""
    if not path.is_file():
        return []
    wanted = {_place(row) for row in samples}
    with opened_read_only(path) as connection:
        known = fingerprints(connection)
        rows = [
            entry._asdict()
            for entry in stored(connection, RESPONSE)
            if entry.value["fingerprint"] == fingerprint and _asked(entry.value) in wanted
        ]
    own = [Entry(FINGERPRINT + fingerprint, known[fingerprint])._asdict()] if fingerprint in known else []
    return [*own, *rows]


def _answers(content: bytes) -> dict[_Place, set[str]]:
    """The texts that the packed cache holds for each question. Raises MarathonError for a row that is not whole."""
    found: dict[_Place, set[str]] = {}
    for row in _rows(content):
        entry = Entry(**row)
        if not belongs(entry):
            raise MarathonError(
                f"cache.jsonl: {entry.key[:40]}: the key is not the hash of what stands beside it"
            )
        if entry.key.startswith(RESPONSE):
            found.setdefault(_asked(entry.value), set()).add(entry.value["response"]["text"])
    return found


def _lines(rows: Any) -> bytes:
    return "".join(f"{storable(row)}\n" for row in rows).encode()


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
