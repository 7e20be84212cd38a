"""Tests comparisons where a metric has no value on some rows of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from marathon_eval.results.gate import BEYOND, Limit, gate
from marathon_eval.results.paired import TaskRows, paired_metrics

OWN_CODE = {"metrics/off.py": "0" * 64}
SPECS: dict[str, Mapping[str, Any]] = {
    "shipped": {"metric": "mae"},
    "own": {"metric": "off", "higher_is_better": False, "code": OWN_CODE},
    "process_results": {"metric": "off", "higher_is_better": False, "code": OWN_CODE},
    "evaluate": {"metric": "evaluate:off", "higher_is_better": False},
    "hf_evaluate": {"metric": "off", "higher_is_better": False, "hf_evaluate": True},
}


def side(answers: list[str | None], spec: Mapping[str, Any], name: str = "mae") -> TaskRows:
    """Build a run whose rows have the targets 0, 1, ... and these answers; None is an answer without a number."""
    errors = [
        None if answer is None else abs(target - float(answer)) for target, answer in enumerate(answers)
    ]
    known = [error for error in errors if error is not None]
    rows = {
        doc: {
            "doc_id": doc,
            "status": "ok",
            "target": str(doc),
            "audio": [{"path": f"{doc}.wav"}],
            "fields": {},
            "response": answer,
            "readings": {"read": {"answer": answer or "no idea", "rule": None, "scores": {name: error}}},
        }
        for doc, (answer, error) in enumerate(zip(answers, errors, strict=True))
    }
    summary = {
        "readings": ["read"],
        "read": {name: {"value": sum(known) / len(known) if known else None}},
        "headline": {"reading": "read", "metric": name},
        "metrics": {"read": {name: dict(spec)}},
    }
    return TaskRows(summary, rows)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_rows_without_a_value_in_one_run_are_left_out_of_both(spec: Mapping[str, Any]) -> None:
    """One run gives no number on the hard rows: it must not look better for that."""
    whole, shy = side(["10"] * 40, spec), side([*["10"] * 24, *[None] * 16], spec)
    found = paired_metrics("own", whole, shy).readings["read"].metrics["mae"]
    assert (found.difference, found.n_unscored, found.reason) == (0.0, 16, None)
    assert found.a == found.b
    assert paired_metrics("own", whole, shy).n_paired == 40


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_gate_does_not_pass_a_run_that_is_worse_on_every_row_that_both_answer(
    spec: Mapping[str, Any],
) -> None:
    first = [str(doc + 1) if doc < 30 else str(doc + 9) for doc in range(60)]
    second = [str(doc + 2 + doc % 3 / 10) if doc < 30 else None for doc in range(60)]
    (verdict,) = gate([Limit("own", -0.5)], {"own": [side(first, spec), side(second, spec)]})
    assert verdict.difference == pytest.approx(-1.1)
    assert verdict.verdict == BEYOND


def test_a_metric_without_a_value_in_either_run_says_so() -> None:
    nothing = side([None] * 8, SPECS["own"])
    found = paired_metrics("own", nothing, nothing).readings["read"].metrics["mae"]
    assert found.reason == "no document has a value in both runs"
