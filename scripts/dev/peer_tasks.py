"""Runs tasks of lm-eval and lmms-eval, with their Python functions, here and in their own harness, and compares both.

    python scripts/dev/peer_tasks.py FOLDER [--only NAME]

FOLDER has the packages, which are no dependency of ours and pull torchvision and more with theirs:

    pip install --no-deps --target FOLDER lm-eval==0.4.13 lmms-eval==0.7.3 loguru==0.7.3 pytz tabulate colorama lxml \\
        sacrebleu portalocker editdistance zhconv more-itertools

Each task's YAML is read where the package has it, unchanged. Its rows are a few of our own in the published layout, in a
folder of the data set's name; the answers are given. For each row the prompt is compared, for each metric the figure. The
package that decides is the real one: its task class reads the same rows. Ends with exit code 1 for any difference.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.lmms_task_cases import LMMS_EVAL
from helpers.peer_task_cases import LM_EVAL, Case

#: A row's prompt, or None where the other harness writes none by itself, and the figures by metric.
Outcome = tuple[list[str], dict[str, float]]


@dataclass(frozen=True)
class Compared:
    """Holds how one task went: `problem` is empty where prompts and figures are equal."""

    name: str
    rows: int
    figures: Mapping[str, float]
    problem: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the packages are installed")
    parser.add_argument("--only", default="", help="only tasks whose name has this text")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    sys.path.append(str(folder))
    os.environ["HF_HUB_OFFLINE"] = "1"
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        os.environ["HF_DATASETS_CACHE"] = os.environ["MARATHON_EVAL_CACHE"] = f"{work}/cache"
        os.chdir(work)
        for case in (*LM_EVAL, *LMMS_EVAL):
            if arguments.only in case.yaml:
                compared = _compared(case, folder)
                failed += bool(compared.problem)
                figures = ", ".join(f"{name} {value:.4g}" for name, value in compared.figures.items())
                print(f"{compared.name:44}{compared.rows:>5} rows  {compared.problem or 'equal'}  {figures}")
    return int(failed > 0)


def _compared(case: Case, folder: Path) -> Compared:
    _write_rows(case)
    path = folder / case.yaml
    theirs = (_lmms_eval if case.yaml.startswith("lmms_eval") else _lm_eval)(path, case)
    ours = _ours(path, case)
    problem = "; ".join(_differences(ours, theirs))
    return Compared(f"{case.yaml.partition('/tasks/')[2]}", len(case.answers), ours[1], problem)


def _differences(ours: Outcome, theirs: Outcome) -> Iterator[str]:
    for number, (one, other) in enumerate(zip(ours[0], theirs[0], strict=True)):
        if one != other:
            yield f"row {number}: prompt {one!r}, not {other!r}"
    if set(ours[1]) != set(theirs[1]):
        yield f"metrics {sorted(ours[1])}, not {sorted(theirs[1])}"
    for name in set(ours[1]) & set(theirs[1]):
        one, other = ours[1][name], theirs[1][name]
        both_nan = math.isnan(one) and math.isnan(other)
        if not (both_nan or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)):
            yield f"{name} {one}, not {other}"


def _ours(path: Path, case: Case) -> Outcome:
    from marathon_eval.api.model import Response
    from marathon_eval.api.registry import Registry
    from marathon_eval.task.task import Task, load_task

    registry = Registry(trust_task_code=True)
    task = load_task(path, registry.task_path, registry)
    assert isinstance(task, Task)
    docset = task.docs()
    errors = [doc.error for doc in docset.docs if doc.error]
    assert not errors, errors
    samples = [task.score(doc, [Response(text)]) for doc, text in zip(docset.docs, case.answers, strict=True)]
    assert not any(sample.error for sample in samples), [sample.error for sample in samples]
    (reading,) = task.aggregate(samples, docset).readings.values()
    figures = {name: math.nan if metric.value is None else metric.value for name, metric in reading.items()}
    return [task.requests(doc)[0].prompt for doc in docset.docs], figures


def _lm_eval(path: Path, case: Case) -> Outcome:
    task_class = importlib.import_module("lm_eval.api.task").ConfigurableTask
    config = importlib.import_module("lm_eval.tasks._yaml_loader").load_yaml(path)
    config.pop("tag", None)
    task = task_class(config=config)
    description = config.get("description") or ""
    return _scored(task, case, lambda doc: description + task.doc_to_text(doc))


def _lmms_eval(path: Path, case: Case) -> Outcome:
    _import_torchvision()
    importlib.import_module("lmms_eval.api.metrics")  # registers them
    task_class = importlib.import_module("lmms_eval.api.task").ConfigurableTask
    config = importlib.import_module("lmms_eval.utils").load_yaml_config(yaml_path=str(path), mode="full")
    task = task_class(config=config, model_name="none")
    return _scored(task, case, task.doc_to_text)


def _scored(task: Any, case: Case, prompt: Callable[[Any], Any]) -> Outcome:
    docs = list(task.eval_docs if hasattr(task, "eval_docs") else task.task_docs)
    prompts = [str(prompt(doc)) for doc in docs]
    rows = [task.process_results(doc, [text]) for doc, text in zip(docs, case.answers, strict=True)]
    return prompts, {
        name: float(_combined(combine, [row[name] for row in rows]))
        for name, combine in task.aggregation().items()
    }


def _combined(combine: Callable[..., Any], items: Sequence[Any]) -> Any:
    import inspect

    takes = inspect.signature(combine).parameters
    return combine(items, args=None) if "args" in takes else combine(items)


def _import_torchvision() -> None:
    """Import torchvision, whose CUDA wheel needs two operators declared to load beside CPU torch."""
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        global _SCHEMAS
        _SCHEMAS = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _SCHEMAS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


def _write_rows(case: Case) -> None:
    """Write the rows as parquet to a folder named as the data set, where both harnesses look for it."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    folder = Path(case.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{case.config}-{case.split}"
    rows = [
        {**row, **({case.audio: {"bytes": _wav(number), "path": f"{number}.wav"}} if case.audio else {})}
        for number, row in enumerate(case.rows)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{stem}.parquet")
    # lm-eval also loads the split of few-shot examples
    splits = dict.fromkeys((case.split, "train"))
    files = [{"split": split, "path": f"{stem}.parquet"} for split in splits]
    head = json.dumps({"configs": [{"config_name": case.config, "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{head}\n---\n")


def _wav(number: int) -> bytes:
    import numpy as np
    import soundfile

    tone = 0.1 * np.sin(np.arange(1600) * (0.05 + 0.01 * number)).astype("float32")
    with io.BytesIO() as file:
        soundfile.write(file, tone, 16000, format="WAV", subtype="PCM_16")
        return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
