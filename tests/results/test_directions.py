"""Tests which metrics count as better when lower, from the entries that runs record."""

from __future__ import annotations

from marathon_eval.results.directions import falling_metrics


def test_metrics_of_which_lower_is_better_are_told_without_the_hub_s_code() -> None:
    entries = {
        "none": {
            "wer": {"metric": "wer", "language": "en"},
            "ter": {"metric": "evaluate:ter", "trust_remote_code": True, "higher_is_better": False},
            "other": {"metric": "evaluate:./stolen.py", "trust_remote_code": True},
            "unknown": {"metric": "of_a_later_version"},
        },
        "strict": {"accuracy": {"metric": "accuracy"}},
    }
    assert falling_metrics("own", entries) == {"none": ["wer", "ter"]}
