"""Tests comparisons where a metric has no value on some rows of one run."""

from __future__ import annotations

from marathon_eval.results.paired import TaskRows, paired_metrics


def test_rows_without_a_value_in_one_run_are_left_out_of_both() -> None:
    """One run gives no number on the hard rows: it must not look better for that."""

    def side(answers: list[str | None]) -> TaskRows:
        errors = [None if answer is None else abs(target - 10.0) for target, answer in enumerate(answers)]
        known = [error for error in errors if error is not None]
        rows = {
            doc: {
                "doc_id": doc,
                "status": "ok",
                "target": str(doc),
                "audio": [{"path": f"{doc}.wav"}],
                "fields": {},
                "response": answer,
                "readings": {"read": {"answer": answer or "no idea", "rule": None, "scores": {"mae": error}}},
            }
            for doc, (answer, error) in enumerate(zip(answers, errors, strict=True))
        }
        summary = {
            "readings": ["read"],
            "read": {"mae": {"value": sum(known) / len(known)}},
            "headline": {"reading": "read", "metric": "mae"},
            "metrics": {"read": {"mae": {"metric": "mae"}}},
        }
        return TaskRows(summary, rows)

    whole, shy = side(["10"] * 40), side([*["10"] * 24, *[None] * 16])
    found = paired_metrics("own", whole, shy).readings["read"].metrics["mae"]
    assert (found.difference, found.n_unscored, found.reason) == (0.0, 16, None)
    assert found.a == found.b
    assert paired_metrics("own", whole, shy).n_paired == 40
