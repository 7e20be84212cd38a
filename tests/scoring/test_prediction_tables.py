"""Tests the tables of the released rules through predictions files: the command gives each row the same verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import test_released_air_bench
import test_released_mmar
import test_released_mmau

from marathon_eval.evaluator.rescore.score_predictions import score_predictions


def scores(path: Path, task: str) -> dict[int, Any]:
    result = score_predictions([task], path).result
    assert result.whole
    return {
        sample.doc_id: sample.readings["paper"].scores["accuracy"]
        for samples in result.samples.values()
        for sample in samples
    }


def test_mmar(tmp_path: Path) -> None:
    meta = {"modality": "sound", "category": "Signal Layer", "sub-category": "x", "question": "?"}
    # a question without a single option, or with a blank one, is refused as a row, whatever the released rule says of it
    cases = [row.values for row in test_released_mmar.ROWS if row.values[1]]
    cases = [case for case in cases if all(map(str.strip, case[1]))]
    rows = [
        {**meta, "id": str(n), "answer": answer, "choices": choices, "answer_prediction": prediction}
        for n, (answer, choices, prediction, _) in enumerate(cases)
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert len(rows) >= 150
    assert scores(path, "mmar") == {n: float(case[3]) for n, case in enumerate(cases)}


def test_mmau(tmp_path: Path) -> None:
    meta = {"task": "sound", "difficulty": "easy", "category": "c", "sub-category": "x", "question": "?"}
    cases = [row.values for row in test_released_mmau.ROWS]
    rows = [
        {**meta, "id": str(n), "answer": answer, "choices": choices, "model_output": prediction}
        for n, (answer, choices, prediction, _) in enumerate(cases)
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(rows))
    assert len(rows) >= 150
    assert scores(path, "mmau") == {n: float(case[3] == "right") for n, case in enumerate(cases)}


def test_air_bench(tmp_path: Path) -> None:
    cases = [row.values for row in test_released_air_bench.ROWS]
    rows = [
        {**test_released_air_bench.row(response), "path": "x.wav", "question": "?", "uniq_id": n}
        for n, (response, _) in enumerate(cases)
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert len(rows) >= 150
    # gold is the second option; a row without a letter leaves the denominator
    wanted = {n: None if letter is None else float(letter == "B") for n, (_, letter) in enumerate(cases)}
    assert scores(path, "air_bench_foundation") == wanted


def test_the_shortest_rows_will_do(tmp_path: Path) -> None:
    row = {"answer": "kettle", "choices": ["zip", "kettle"], "answer_prediction": "a kettle"}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row))
    assert scores(path, "mmar") == {0: 1.0}
