"""Tests the loss that rows can show against simulated runs."""

from __future__ import annotations

import numpy as np
import pytest

from marathon_eval.api.metric import Mean
from marathon_eval.scoring.intervals import paired, paired_interval
from marathon_eval.scoring.power import FLIPPING, least_loss

ACCURACY = Mean("accuracy", lambda row: None, share=True)


@pytest.mark.parametrize("n", [60, 200, 600])
def test_the_loss_is_shown_in_about_four_runs_of_five(n: int) -> None:
    names = [str(row) for row in range(n)]
    loss = least_loss(names)
    assert loss is not None
    flips = max(FLIPPING, loss)
    random, shown = np.random.default_rng(1), 0
    for _ in range(300):
        change = random.choice([-1, 1, 0], n, p=[(flips + loss) / 2, (flips - loss) / 2, 1 - flips])
        first = np.where(change < 0, 1.0, np.where(change > 0, 0.0, 1.0))
        counts = [np.stack([part, np.ones(n)], axis=1) for part in (first, first + change)]
        ends = paired_interval(paired(counts[0], counts[1], names, ACCURACY.value, True, True)).ci95
        shown += ends is not None and ends[1] < 0
    assert 0.72 <= shown / 300 <= 0.9


def test_more_rows_show_less_and_clusters_more() -> None:
    alone = [least_loss([str(row) for row in range(n)]) for n in (20, 100, 1000)]
    assert alone == sorted(alone, key=lambda loss: -(loss or 0))
    assert (least_loss([str(row // 22) for row in range(198)]) or 0) > (
        least_loss([str(row) for row in range(198)]) or 1
    )
    assert least_loss(["a", "b", "c", "d", "e"]) is None
    assert least_loss([str(row % 5) for row in range(500)]) is None
