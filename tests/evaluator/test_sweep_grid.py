"""Tests which grids a sweep refuses, and its table where a headline's scale is negative."""

from __future__ import annotations

import pytest

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.simple import SweepRuns
from marathon_eval.evaluator.sweep_cells import Grid, cells_of, parse_ratios
from marathon_eval.evaluator.sweep_table import SweepTable, TaskCell, table_sections
from marathon_eval.results.paired import Difference, ReadingDifference, TaskDifference
from marathon_eval.scoring.usage import STAGES


def test_a_press_without_a_ratio_is_refused() -> None:
    config = RunConfig(model="qwen_omni", tasks=("race",), model_args={"pretrained": "somewhere"})
    with pytest.raises(MarathonError, match="--ratios: holds no ratio for the press 'knorm'"):
        cells_of(config, Grid(("none", "knorm"), parse_ratios("0.9:0.1:0.2")))


def test_of_a_negative_scale_the_ends_of_intervals_stay_in_order() -> None:
    metric = Difference(0.2, 0.5, 0.25, (0.125, 0.5))
    headline = {"reading": "strict", "metric": "wer", "scale": -100}
    reading = ReadingDifference({"wer": metric}, None, 30, 0)
    difference = TaskDifference("own", 30, 0, 0, headline, {"strict": reading})
    cell = TaskCell(None, dict.fromkeys(STAGES), None, scale=-100, difference=difference)
    table = SweepTable(tasks={"own": {"knorm 0.5": cell}})
    (((_, _, _, *shown),),) = table_sections(table)
    assert shown[:2] == ["-25.00", "-50.00 to -12.50"]
    as_json = {**table.as_json(), "cells": [{"label": "knorm 0.5", "press": "knorm", "ratio": 0.5}]}
    (record,) = SweepRuns(table=as_json).records()
    assert (record["difference_low"], record["difference_high"]) == (-50.0, -12.5)
