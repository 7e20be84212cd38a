"""Prints the tables of the benchmarks' official scripts, and writes the input files that these scripts accept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.files import json_line, write_atomically
from marathon_eval.scoring.reasoning import parted
from marathon_eval.scoring.released import air_bench, mmar, mmau

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc, DocSet
    from marathon_eval.api.results import Sample
    from marathon_eval.task.task import Task

#: Columns of AIR-Bench's files: foundation, chat, and both.
FOUNDATION_KEYS = ("path", "question", "choice_a", "choice_b", "choice_c", "choice_d", "answer_gt")
CHAT_KEYS = ("meta_info", "question", "answer_gt", "path")
COMMON_KEYS = ("task_name", "dataset_name")


def benchmark_of_task(task: Task) -> str | None:
    """Return the benchmark whose rules a task follows: `metadata: {benchmark: ...}` in its YAML."""
    benchmark = task.config.metadata.get("benchmark")
    return str(benchmark) if benchmark else None


def released_printout(
    tasks: Mapping[str, Task],
    docs: Mapping[str, DocSet],
    given: Mapping[str, Mapping[int, Any]],
    samples: Mapping[str, Sequence[Sample]],
) -> list[str]:
    """Return what the released scripts would print, per benchmark, with rows in the file's order.

    `given` holds the predictions by task and row number.
    """
    chat = [
        {"doc_id": sample.doc_id, **docs_fields[sample.doc_id], "judge": sample.judge}
        for name, task in tasks.items()
        if benchmark_of_task(task) == "air_bench_chat"
        for docs_fields in [{doc.doc_id: doc.fields for doc in docs[name].docs}]
        for sample in samples[name]
    ]
    lines = _chat_tables(sorted(chat, key=lambda row: int(row["doc_id"])))
    for name in dict.fromkeys(benchmark_of_task(task) for task in tasks.values()):
        if name in ("mmar", "mmau", "air_bench_foundation"):
            rows = sorted(
                (
                    (doc.doc_id, doc.fields, given[key].get(doc.doc_id), doc.doc_id in given[key])
                    for key, task in tasks.items()
                    if benchmark_of_task(task) == name
                    for doc in docs[key].docs
                ),
                key=lambda row: row[0],
            )
            lines += _tables(
                name, [(fields, value) for _, fields, value, has_prediction in rows if has_prediction]
            )
    return lines


def _chat_tables(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Print both passes of cal_score.py over the judge's last replies; nothing without a judge."""
    lines: list[str] = []
    for number, heading in enumerate(("chat_score.json:", "chat_score_cir.json (positions swapped):")):
        replies = [
            (row["task_name"], scores[number]) for row in rows if (scores := chat_scores(row["judge"]))
        ]
        lines += [heading, *air_bench.chat_printout(replies, swapped=number == 1)] if replies else []
    return lines


def chat_scores(judge: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the judge's last reply in the straight and in the swapped pass; None for a row that was not judged."""
    passes = judge.get("pair") or []
    if len(passes) != 2 or not all(passes):
        return None
    straight, swapped = (parted(tries[-1]).answer or "" for tries in passes)
    return straight, swapped


def _tables(name: str, rows: Sequence[tuple[Mapping[str, Any], Any]]) -> list[str]:
    if name == "air_bench_foundation":
        answered = [{**fields, "response": value} for fields, value in rows]
        return air_bench.air_bench_printout(answered, [air_bench.air_bench_verdict(row) for row in answered])
    if name == "mmau":
        answered = [{**fields, "model_output": value} for fields, value in rows]
        return mmau.mmau_printout(answered, [mmau.mmau_verdict(row) for row in answered])
    answered = [{**fields, "answer_prediction": value} for fields, value in rows]
    return mmar.mmar_printout(answered, [mmar.mmar_verdict(row) for row in answered])


def write_official(
    tasks: Mapping[str, Task],
    docs: Mapping[str, DocSet],
    samples: Mapping[str, Mapping[int, Mapping[str, Any]]],
    folder: Path,
) -> Iterator[Path]:
    """Write each benchmark's input file into `folder`, with rows in the dataset's order, and yield the files' paths.

    `samples` holds the rows of samples_<task>.jsonl by task and doc_id. Raises MarathonError if a file cannot be
    written.
    """
    rows: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
    for name, task in tasks.items():
        target = FILES.get(benchmark_of_task(task) or "", (f"{name}.jsonl", "jsonl"))
        rows.setdefault(target, []).extend(official_rows(task, docs[name].docs, samples[name]))
    for number, name in enumerate(("chat_score.json", "chat_score_cir.json")):
        scores = [
            {**{key: doc.fields.get(key) for key in COMMON_KEYS}, "gpt-score": passes[number]}
            for key, task in tasks.items()
            if benchmark_of_task(task) == "air_bench_chat"
            for doc in docs[key].docs
            if (passes := chat_scores(samples[key].get(doc.doc_id, {}).get("judge", {})))
        ]
        if scores:
            write_atomically(folder / name, [json.dumps(scores, ensure_ascii=False)])
            yield folder / name
    for (name, form), numbered_rows in rows.items():
        ordered = [row for _, row in sorted(numbered_rows, key=lambda item: item[0])]
        parts = [json.dumps(ordered, ensure_ascii=False)] if form == "json" else map(json_line, ordered)
        write_atomically(folder / name, parts)
        yield folder / name


def official_rows(
    task: Task, docs: Sequence[Doc], samples: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (doc_id, row) as the benchmark's inference script writes rows; rows without a response are left out."""
    for doc in docs:
        sample = samples.get(doc.doc_id, {})
        text = sample.get("response")
        if sample.get("status") in ("ok", "unverified") and text is not None:
            yield (
                doc.doc_id,
                _exported_row(benchmark_of_task(task), doc, text if isinstance(text, str) else text[0]),
            )


def _exported_row(name: str | None, doc: Doc, text: str) -> dict[str, Any]:
    """Build one row: AIR-Bench takes the whole response; MMAR and MMAU take the answer without the reasoning."""
    fields = doc.fields
    response = parted(text)
    if name == "mmar":
        return {
            **fields,
            "thinking_prediction": response.reasoning,
            "answer_prediction": response.answer or "",
        }
    if name == "mmau":
        return {**fields, "model_output": response.answer or ""}
    if name == "air_bench_foundation":
        columns = {key: fields.get(key) for key in (*FOUNDATION_KEYS, *COMMON_KEYS)}
        return {**columns, "response": text, "uniq_id": fields.get("uniq_id")}
    if name == "air_bench_chat":
        columns = {key: fields.get(key) for key in (*CHAT_KEYS, *COMMON_KEYS)}
        return {**columns, "response": text, "uniq_id": fields.get("uniq_id")}
    identity = next((fields[key] for key in ("id", "uniq_id") if key in fields), doc.doc_id)
    return {"id": identity, "response": text}


#: File name of each script's input, and its format: one JSON list (`json`) or one object per line (`jsonl`).
FILES = {
    "mmar": ("mmar_predictions.jsonl", "jsonl"),
    "mmau": ("mmau_predictions.json", "json"),
    "air_bench_foundation": ("Foundation_result_modelx.jsonl", "jsonl"),
    "air_bench_chat": ("Chat_result_modelx.jsonl", "jsonl"),
}
