"""Tests the text of the option that a target's letter names."""

from __future__ import annotations

from typing import Any

import pytest

from marathon_eval.api.results import Sample
from marathon_eval.results.evaluation import option_text

OPTIONS = (["hall", "street"], ["A", "B"])


@pytest.mark.parametrize(
    ("target", "options", "text"),
    [
        ("B", OPTIONS, "street"),
        ("street", OPTIONS, None),
        (["A", "B"], OPTIONS, None),
        (None, OPTIONS, None),
        ("B", ([], []), None),
    ],
)
def test_the_text_stands_behind_a_letter_alone(target: Any, options: Any, text: str | None) -> None:
    sample = Sample("t", 0, target, "B", "ok", None, {}, {}, False, None, [])
    sample.choices, sample.letters = options
    assert option_text(sample) == text
